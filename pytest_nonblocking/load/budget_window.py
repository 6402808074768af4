"""What one burst is measured in: from its release to the end of its last copy."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from ..asgi.door import Door
from ..clocks import CLOCKS
from ..model import Budget, CopyEnd, Sample
from ..sentinel import LoopUnreachableError, Reading, Sentinel, Stretch, Stretches, taken_of


class BudgetWindow:
    """The window of one burst's budget, from the release to the end of the last copy.

    ``figures`` holds the fields of ``Run`` that are measured in it and after it, ``ends``
    those of the copies by the door, if it has admitted requests.
    """

    def __init__(self, sentinel: Sentinel, door: Door | None) -> None:
        self._sentinel = sentinel
        self._door = door
        self._stretches: Stretches | None = None
        self._opened: Reading | None = None
        self._closed: Reading | None = None
        self.began_ns = 0
        self.figures: dict[str, Any] = {}
        self.ends: dict[int, CopyEnd] | None = None

    @property
    def age(self) -> float:
        """Seconds since the window was opened."""
        return (CLOCKS.wall_ns() - self.began_ns) / 1e9

    def end_now(self) -> CopyEnd:
        """Return the end of a copy that ends now, on the loop's thread."""
        assert self._opened is not None
        parts = self._sentinel.probe.parts.snapshot()
        taken = taken_of(parts) - taken_of(self._opened.mark.began)
        return CopyEnd(self.age, taken / 1e9)

    def stretches(self) -> Stretches:
        """Return a new record of the times in which requests are in the app, kept by the door."""
        self._stretches = self._sentinel.stretches()
        return self._stretches

    def open(self, begin: Callable[[], None]) -> None:
        """Open the window and call ``begin`` on the loop's thread."""
        self._opened = self._sentinel.reading()
        self._sentinel.loop.call(begin)
        self.began_ns = self._opened.wall_ns

    def close(self, timed_out: bool) -> None:
        """Close the window, unless it is closed; background work comes after it."""
        assert self._opened is not None
        if self.figures:
            return
        makespan = self.age
        try:
            within = self._within(timed_out)
            window = self._sentinel.close_window(self._opened, within)
        except LoopUnreachableError:
            samples = self._sentinel.probe.callbacks.take_samples()
            self.figures |= {"makespan": makespan, "budget": budget_of_held(samples, makespan)}
            return
        self._closed = window.closed
        self.figures |= {
            "makespan": window.wall,
            "budget": window.budget,
            "pressure": window.pressure,
            "looks": window.looks,
        }

    def _within(self, timed_out: bool) -> Stretch | None:
        """Return what was measured while requests were in the app, None without a door."""
        door, stretches = self._door, self._stretches
        if door is None or stretches is None or not door.has_begun:
            return None
        if timed_out:
            self._sentinel.loop.call(lambda: stretches.turn(None))
        within = self._sentinel.loop.call(lambda: stretches.total("window"))
        self.ends = door.ends
        return within

    def measure_after(self) -> None:
        """Measure the time from the last response until now, if the window could be closed."""
        if self._closed is None:
            return
        with contextlib.suppress(LoopUnreachableError):
            stretch = self._stretch_after()
            if stretch is not None:
                other_cpu = stretch.other_cpu_ns / 1e9
                budget, looks = Budget(**stretch.seconds(), other_cpu=other_cpu), stretch.looks
            else:
                window = self._sentinel.close_window(self._closed)
                budget, looks = window.budget, window.looks
            self.figures |= {"after": budget, "after_looks": looks}

    def _stretch_after(self) -> Stretch | None:
        if self._door is None or self._stretches is None or not self._door.has_begun:
            return None
        stretches = self._stretches
        return self._sentinel.loop.call(lambda: stretches.total("after"))


def budget_of_held(samples: Sequence[Sample], seconds: float) -> Budget:
    """Return the budget of a loop held for ``seconds``, by the samples of its thread."""
    computing = sum(sample.weight for sample in samples if sample.state in ("running", "gil"))
    cpu = seconds * computing / (sum(sample.weight for sample in samples) or 1.0)
    return Budget(cpu=cpu, blocked=seconds - cpu)
