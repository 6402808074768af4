"""The charts of the page: from levels to scales and positions, which its template draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .record import Level

PARTS = {
    "cpu": "on the CPU",
    "blocked": "blocked",
    "gil": "waiting for the GIL",
    "gc": "garbage collector",
    "descheduled": "kept waiting by the machine",
    "idle": "idle",
}
"""The parts of a bar from the bottom up: title by name, which is the name of its colour too."""

LATENCIES = {
    "blocked": "slowest copy",
    "cpu": "median copy",
    "pass": "if none waits (ideal)",
    "soft": "if all wait in line",
}
"""The lines of the latency chart: title by colour."""

# A drawing in pixels, and where its axes cross and end.
WIDTH, HEIGHT = 440, 260
LEFT, TOP, RIGHT, BOTTOM = 64.0, 10.0, 420.0, 214.0
_MOST_STEPS = 6
_LEAST = 0.1
"""Milliseconds that an axis shows at least."""
_LEAST_GAP = 18.0
"""Two labels of the horizontal axis that are nearer than this overlap."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A value on an axis and its position."""

    position: float
    label: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One part of a bar."""

    x: float
    y: float
    width: float
    height: float
    colour: str


@dataclass(frozen=True, slots=True)
class Line:
    """Points that are joined; without ``dots`` they were not measured."""

    points: list[tuple[float, float]]
    colour: str
    dots: bool


@dataclass(frozen=True, slots=True)
class Chart:
    """What is drawn, and in ``shown`` the same in words."""

    shown: str
    y_title: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    bars: Sequence[Bar] = ()
    lines: Sequence[Line] = ()


def budget(levels: Sequence[Level]) -> Chart:
    """Return the parts of the loop's time, a bar for each level of concurrency."""
    sums = [sum(getattr(level.budget_ms, name) for name in PARTS) for level in levels]
    top, y_ticks = _y_axis(max(sums))
    scale = (BOTTOM - TOP) / top
    slot = (RIGHT - LEFT) / len(levels)
    bars = []
    for number, level in enumerate(levels):
        y = BOTTOM
        for name in PARTS:
            height = max(0.0, getattr(level.budget_ms, name) * scale)
            y -= height
            bars.append(Bar(LEFT + slot * (number + 0.2), y, slot * 0.6, height, name))
    x_ticks = [
        Tick(LEFT + slot * (number + 0.5), str(level.concurrency))
        for number, level in enumerate(levels)
    ]
    shown = f"Where the loop's time goes, {_in_words(levels)}"
    return Chart(shown, "Milliseconds of the loop's time", x_ticks, y_ticks, bars=bars)


def latency(levels: Sequence[Level]) -> Chart:
    """Return the latency against the concurrency, beside the ideal and the worst.

    The first of the ``levels`` is a single copy.
    """
    alone, most = levels[0].makespan_ms, levels[-1].concurrency
    slowest, median = (
        [
            (level.concurrency, value)
            for level in levels
            if (value := getattr(level.latency_ms, name)) is not None
        ]
        for name in ("max", "p50")
    )
    ideal, worst = [(1, alone), (most, alone)], [(1, alone), (most, most * alone)]
    measured = (slowest, median, ideal, worst)
    top, y_ticks = _y_axis(max(value for points in measured for _, value in points))

    def x(copies: int) -> float:
        return LEFT + (RIGHT - LEFT) * copies / most

    def y(value: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * value / top

    lines = [
        Line([(x(copies), y(value)) for copies, value in points], colour, dots)
        for points, colour, dots in zip(
            measured, LATENCIES, (True, True, False, False), strict=True
        )
    ]
    x_ticks = _apart([Tick(x(level.concurrency), str(level.concurrency)) for level in levels])
    shown = f"Latency against concurrency, {_in_words(levels)}"
    return Chart(shown, "Milliseconds from the release", x_ticks, y_ticks, lines=lines)


def _y_axis(most: float) -> tuple[float, list[Tick]]:
    """Return the end of an axis that holds ``most``, and ticks at round values from 0 to there."""
    rough = max(most, _LEAST) / _MOST_STEPS
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    count = math.ceil(max(most, _LEAST) / step - 1e-9)  # a quotient of 6 may be a little more
    height = (BOTTOM - TOP) / count
    ticks = [Tick(BOTTOM - height * number, f"{step * number:g}") for number in range(count + 1)]
    return step * count, ticks


def _apart(ticks: Sequence[Tick]) -> list[Tick]:
    """Leave out each tick whose label would overlap the next one that is kept, from the right."""
    kept: list[Tick] = []
    for tick in reversed(ticks):
        if not kept or kept[0].position - tick.position >= _LEAST_GAP:
            kept.insert(0, tick)
    return kept


def _in_words(levels: Sequence[Level]) -> str:
    took = ((level.concurrency, level.makespan_ms) for level in levels)
    return ", ".join(f"{copies} at once: {makespan:.1f} ms" for copies, makespan in took)
