"""What the copies of a test print and log: a reader needs that of one copy, not of a hundred."""

from __future__ import annotations

import logging
import sys
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from ..sentinel import COPY
from .units import plural

_OWN_CAPTURE = {"capsys", "capsysbinary", "capfd", "capfdbinary", "capteesys"}
Between = Callable[[Any, int], None]


class Output:
    """Leaves out what copies print and log, except the warm-up and the first burst's first copy.

    It is a context manager around one measurement. What belongs to no copy, what ``-s`` or a live
    log shows, and what the test's own fixtures capture is never left out.
    """

    def __init__(self, item: pytest.Item) -> None:
        self._item = item
        self._shows = True
        self._bursts = 0
        self._left_out = 0
        self._of_copies: defaultdict[int, list[str]] = defaultdict(list)
        self._streams: dict[str, tuple[Any, _Stream]] = {}
        self._handler: Any = None

    def between(self, progress: Between) -> Between:
        """Return what to call before each round; ``progress`` is called with the same."""

        def begin(evidence: Any, level: int) -> None:
            self._shows = False
            self._bursts += level > 1 or self._bursts > 0
            self._of_copies.clear()
            progress(evidence, level)

        return begin

    def keep(self, text: str) -> bool:
        """Return whether the running copy's ``text`` is left out; it is kept for a failure."""
        copy = COPY.get()
        if self._shows or copy is None or (self._bursts == 1 and copy == 0):
            return False
        self._left_out += text.count("\n")
        self._of_copies[copy].append(text)
        return True

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the handler takes a record of the log."""
        return self._shows or not self.keep(f"{self._handler.format(record)}\n")

    def failed(self, copy: int) -> None:
        """Show what ``copy`` printed and logged, in which the body failed."""
        if text := "".join(self._of_copies[copy]):
            self._left_out -= text.count("\n")
            self._item.add_report_section("call", f"output of copy {copy}", text)

    def __enter__(self) -> Output:
        config: Any = self._item.config
        names = set(getattr(self._item, "fixturenames", ()))
        for name in ("stdout", "stderr"):
            real = getattr(sys, name)
            if type(real).__module__ == "_pytest.capture" and not names & _OWN_CAPTURE:
                self._streams[name] = real, _Stream(real, self)
                setattr(sys, name, self._streams[name][1])
        plugin = config.pluginmanager.get_plugin("logging-plugin")
        self._handler = getattr(plugin, "report_handler", None)
        if self._handler is not None:
            self._handler.addFilter(self)
        return self

    def __exit__(self, *error: object) -> None:
        self._shows = True
        if self._handler is not None:
            self._handler.removeFilter(self)
        for name, (real, ours) in self._streams.items():
            if getattr(sys, name) is ours:
                setattr(sys, name, real)
        if self._left_out > 0:
            self._item.add_report_section(
                "call",
                "nonblocking",
                f"{plural(self._left_out, 'line')} of other copies left out: shown is what the "
                "warm-up and the first burst's first copy print and log. -s and --log-cli-level "
                "show everything.",
            )


class _Stream:
    """A captured stream, to which copies that are left out do not write."""

    def __init__(self, real: Any, output: Output) -> None:
        self._real = real
        self._output = output

    def write(self, text: str) -> int:
        """Write ``text``, unless it is left out."""
        return len(text) if self._output.keep(text) else self._real.write(text)

    def writelines(self, lines: Any) -> None:
        """Write each of ``lines``."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)
