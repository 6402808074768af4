"""How far a long measurement has come, on a terminal, behind what pytest has written there."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable
from statistics import median
from typing import Any

import pytest

from ..analysis.tolerances import MORE_SINGLES, QUIETEST, SINGLES, SMALL_BURST
from ..clocks import CLOCKS
from ..model import Evidence, Limits
from .columns import width
from .units import plural

_AFTER = 1.0
"""Seconds after which a measurement shows its progress."""


def rounds_left(evidence: Evidence, level: int, limits: Limits) -> list[int]:
    """Return how many copies each round will have that is left, if all goes on as it began.

    The next one has ``level`` copies; bursts that do not agree make it longer.
    """
    if level == 1 and evidence.bursts:  # a wait that is to convict asks for more of them
        return [1] * max(1, MORE_SINGLES - len(evidence.singles))
    if level == 1:
        bursts = [min(SMALL_BURST, limits.concurrency), limits.concurrency]
        return [1] * (SINGLES - len(evidence.singles)) + sorted(set(bursts))
    seen = sum(run.concurrency == level for run in evidence.bursts)
    if seen:  # it is made again, so the first one has not decided
        return [level] * max(1, QUIETEST - seen)
    return [level] if level == limits.concurrency else [level, limits.concurrency]


def seconds_left(evidence: Evidence, level: int, limits: Limits) -> float | None:
    """Return how long these rounds will take in seconds, None before the first round has ended.

    A level that has not been run yet is taken to go on as the largest one that has.
    """
    runs = (*evidence.singles, *evidence.bursts)
    if not runs:
        return None
    took = {
        size: median(run.makespan for run in runs if run.concurrency == size)
        for size in {run.concurrency for run in runs}
    }
    alone, largest = took.get(1, 0.0), max(took)
    slope = (took[largest] - alone) / (largest - 1) if largest > 1 else 0.0
    return sum(
        took.get(size, took[largest] + max(0.0, slope) * (size - largest))
        for size in rounds_left(evidence, level, limits)
    )


def progress_text(evidence: Evidence, level: int, limits: Limits, room: int = 100) -> str:
    """Return the copies done, those of the next round, and the time left: what fits into ``room``.

    It begins with a space: before it stands the letter of another test.
    """
    runs = (*evidence.singles, *evidence.bursts)
    done = sum(run.concurrency for run in runs)
    what = "running 1 alone" if level == 1 else f"running {level} at once"
    left = seconds_left(evidence, level, limits)
    time = "" if left is None else f", about {max(1, round(left))} s left"
    forms = (
        f" [{plural(done, 'copy', 'copies')} done, {what}{time}]",
        f" [{what}{time}]",
        f" [{time.removeprefix(', about ')}]" if time else "",
    )
    return next((form for form in forms if width(form) <= room), "")


class Progress:
    """Shows progress from the first round on that begins after a second; erases it at the end.

    It is a context manager around one measurement. Call it between two rounds: nothing is written
    while one runs.
    """

    def __init__(self, config: pytest.Config, limits: Limits) -> None:
        self._limits = limits
        self._capture: Any = config.pluginmanager.get_plugin("capturemanager")
        self._writer = config.get_terminal_writer() if _is_wanted(config) else None
        self._began_ns = CLOCKS.wall_ns()
        self._shown = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self._show(None)

    def __call__(self, evidence: Evidence, level: int) -> None:
        """Tell that a round of ``level`` copies begins now."""
        if self._writer is not None and CLOCKS.wall_ns() - self._began_ns > _AFTER * 1e9:
            self._show(functools.partial(progress_text, evidence, level, self._limits))

    def _show(self, text_in: Callable[[int], str] | None) -> None:
        if self._writer is None or not (text_in or self._shown):
            return
        text = ""
        erased = "\b" * self._shown + " " * self._shown + "\b" * self._shown
        # A terminal that is gone, or its stream, is no reason to fail a test.
        with contextlib.suppress(OSError, ValueError), self._capture.global_and_fixture_disabled():
            # The width is not known while output is captured. The last column stays free: a
            # terminal that wraps there could not go back.
            room = self._writer.fullwidth - self._writer.width_of_current_line - 2
            text = text_in(room) if text_in else ""
            _write_raw(self._writer, erased + text)
        self._shown = width(text)


def _write_raw(writer: Any, text: str) -> None:
    """Write past the writer's idea of its line, to which pytest aligns its own."""
    if hasattr(writer, "write_raw"):  # new in pytest 9
        writer.write_raw(text, flush=True)
    else:
        writer._file.write(text)
        writer._file.flush()


def _is_wanted(config: pytest.Config) -> bool:
    """Return whether the line on the screen is pytest's own and nobody else writes to it."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if type(reporter) is not pytest.TerminalReporter or not reporter.isatty:
        return False  # a log, a worker of xdist's, another plugin's display
    if reporter.verbosity < 0 or os.environ.get("TERM") == "dumb":
        return False
    if os.environ.get("CI") or os.environ.get("BUILD_NUMBER"):  # a terminal that is kept as a log
        return False
    # Else a test's own output or its log would come in between.
    option: Any = config.option
    logs = config.pluginmanager.has_plugin("logging-plugin") and config.getini("log_cli")
    return (
        getattr(option, "capture", None) == "fd"
        and not logs
        and getattr(option, "log_cli_level", None) is None
    )
