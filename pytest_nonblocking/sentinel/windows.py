"""Windows of a measurement: the totals of the loop and of its process between two readings."""

from __future__ import annotations

from typing import NamedTuple

from ..model import Budget, Looks, Pressure
from .stretches import Mark, Stretch
from .system.clock import Usage, grown


class Reading:
    """The totals at the start of a window.

    ``children`` and ``threads`` hold the usage of child processes and of other threads, ``reaped``
    the CPU seconds of reaped children. They are slow to read, so they are read outside of windows;
    ``mark`` is taken afterwards.
    """

    __slots__ = ("children", "mark", "reaped", "threads")

    def __init__(
        self, children: dict[str, Usage], reaped: float, threads: dict[str, Usage]
    ) -> None:
        self.children = children
        self.reaped = reaped
        self.threads = threads
        self.mark: Mark

    @property
    def wall_ns(self) -> int:
        """The start of the window (``perf_counter_ns``)."""
        return self.mark.began_ns


class Window(NamedTuple):
    """The measurements between two readings."""

    budget: Budget
    wall: float
    pressure: Pressure
    looks: Looks
    closed: Reading


def window_between(opened: Reading, closed: Reading, within: Stretch | None) -> Window:
    """Return the window between two readings; ``within`` restricts it to some stretches."""
    stretch = Stretch.between(opened.mark, closed.mark) if within is None else within
    parts, other = stretch.seconds(), stretch.other_cpu_ns
    threads = grown(opened.threads, closed.threads)
    children = grown(opened.children, closed.children)
    # The CPU that a child used before the window is part of its total when it is reaped.
    gone = sum(use.cpu for key, use in opened.children.items() if key not in closed.children)
    reaped = max(0.0, closed.reaped - opened.reaped - gone / 1e9)
    # The delay of a thread that has ended is unknown (aiosqlite starts one per connection). Per
    # CPU second, assume the loop thread's.
    ended_cpu = max(0, other - threads.cpu) / 1e9
    ended_delay = ended_cpu * parts.get("descheduled", 0.0) / max(parts.get("cpu", 0.0), 1e-6)
    budget = Budget(
        **parts,
        other_cpu=other / 1e9,
        driver_cpu=stretch.driver_cpu_ns / 1e9,
        other_delay=threads.delay / 1e9 + ended_delay,
        child_cpu=children.cpu / 1e9 + reaped,
        child_delay=children.delay / 1e9,
    )
    return Window(budget, stretch.wall_ns / 1e9, stretch.pressure, stretch.looks, closed)
