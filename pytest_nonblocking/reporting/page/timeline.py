"""One burst, a bar for each of its copies, over an axis of time."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .. import record
from ..units import milliseconds

WIDTH = 1000
_TICKS = 8
_LEAST_MS = 0.001
_VISIBLE = 0.005
_LAST_TEXT = 86.0
"""Percent of the width from which the text of a mark would be cut off on a phone."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One copy: when it ended, its steps as (x, loop's width, x, blocked width), and a label."""

    end: float
    steps: list[tuple[float, float, float, float]]
    label: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """A burst as it is drawn."""

    concurrency: int
    makespan_ms: float
    bars: list[Bar]
    ticks: list[tuple[float, str]]
    """Positions in percent, with their times."""
    kinds: tuple[str, ...]
    """What occurs in it."""


def drawn(shown: record.Timeline | None) -> Timeline | None:
    """Return the burst as it is drawn, None where there is nothing to draw."""
    if shown is None or not shown.copies or shown.makespan_ms < _LEAST_MS:
        return None
    scale = WIDTH / shown.makespan_ms
    bars = [_bar(n, copy, shown.makespan_ms, scale) for n, copy in enumerate(shown.copies)]
    kinds = ["waiting"]
    for kind, width in (("cpu", 1), ("blocked", 3)):
        if sum(step[width] for bar in bars for step in bar.steps) > _VISIBLE * WIDTH:
            kinds.append(kind)
    return Timeline(
        shown.concurrency, shown.makespan_ms, bars, _ticks(shown.makespan_ms), tuple(kinds)
    )


def _bar(number: int, copy: record.Copy, makespan: float, scale: float) -> Bar:
    end = makespan if copy.end_ms is None else copy.end_ms
    steps = []
    for start, length, blocked in copy.steps_ms:
        loop = max(0.0, length - blocked)
        steps.append((start * scale, loop * scale, (start + loop) * scale, blocked * scale))
    held = sum(length for _, length, _ in copy.steps_ms)
    off = sum(blocked for _, _, blocked in copy.steps_ms)
    ended = "did not end" if copy.end_ms is None else f"ended after {milliseconds(end / 1000)}"
    label = f"copy {number}: {ended}; long steps {milliseconds(held / 1000)}"
    return Bar(end * scale, steps, f"{label}, of which blocked {milliseconds(off / 1000)}")


def _ticks(makespan: float) -> list[tuple[float, str]]:
    """Return round times from 0 on, few enough to be read side by side on a phone."""
    power = 10.0 ** math.floor(math.log10(makespan / _TICKS))
    step = next(power * n for n in (1, 2, 5, 10, 20) if makespan / (power * n) <= _TICKS)
    count = int(makespan / step)
    marks = [(100 * n * step / makespan, _time(n * step)) for n in range(count + 1)]
    return [(x, text if x < _LAST_TEXT else "") for x, text in marks]


def _time(ms: float) -> str:
    return f"{ms / 1000:g} s" if ms >= 1000 else f"{ms:g} ms"
