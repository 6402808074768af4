"""Totals over stretches of time that need not be adjacent. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ..model import CopyEnd, Looks, Pressure
from ..originals import os
from .system.pressure import Counters, waited


class Mark(NamedTuple):
    """The totals at the end of one stretch and at the start of the next, in nanoseconds.

    Taking the mark itself falls between the two and counts in neither; ``gil_ns`` is how long that
    waited for the GIL. ``ended_cpu_ns`` and ``began_cpu_ns`` are the CPU time of other threads.
    """

    ended_ns: int
    ended: dict[str, int]
    began_ns: int
    began: dict[str, int]
    gil_ns: int
    ended_cpu_ns: int
    began_cpu_ns: int
    driver_cpu_ns: int
    pressure: Counters
    looks: Looks

    def with_wait(self) -> Mark:
        """Return the mark for a stretch that begins with the wait for the GIL.

        Reading files gives up the GIL: after a burst, background work in threads ran for 470 ms in
        neither stretch.
        """
        waited = {name: self.began[name] - self.gil_ns for name in ("gil", "gil_cpu")}
        return self._replace(
            began_ns=self.began_ns - self.gil_ns,
            began=self.began | waited,
            began_cpu_ns=self.ended_cpu_ns,
        )


@dataclass(frozen=True, slots=True)
class Stretch:
    """Totals over stretches of one kind; ``parts`` are those of ``Budget`` in nanoseconds.

    ``other_cpu_ns`` excludes the driver's CPU.
    """

    wall_ns: int
    parts: dict[str, int]
    other_cpu_ns: int
    driver_cpu_ns: int
    pressure: Pressure
    looks: Looks

    @staticmethod
    def between(before: Mark, after: Mark) -> Stretch:
        """Return the stretch between two marks."""
        driver = max(0, after.driver_cpu_ns - before.driver_cpu_ns)
        return Stretch(
            wall_ns=after.ended_ns - before.began_ns,
            parts={name: after.ended[name] - ns for name, ns in before.began.items()},
            other_cpu_ns=max(0, after.ended_cpu_ns - before.began_cpu_ns - driver),
            driver_cpu_ns=driver,
            pressure=Pressure(
                waited(before.pressure, after.pressure, os.cpu_count() or 1),
                max(0.0, after.pressure.stolen - before.pressure.stolen),
            ),
            looks=after.looks.since(before.looks),
        )

    def plus(self, other: Stretch) -> Stretch:
        """Return the sum of both."""
        return Stretch(
            self.wall_ns + other.wall_ns,
            {name: ns + self.parts.get(name, 0) for name, ns in other.parts.items()},
            self.other_cpu_ns + other.other_cpu_ns,
            self.driver_cpu_ns + other.driver_cpu_ns,
            Pressure(
                self.pressure.waiting + other.pressure.waiting,
                self.pressure.stolen + other.pressure.stolen,
            ),
            self.looks.plus(other.looks),
        )

    def seconds(self) -> dict[str, float]:
        """Return the parts in seconds; ``idle_cpu`` excludes the driver's CPU."""
        seconds = {name: ns / 1e9 for name, ns in self.parts.items()}
        if "idle_cpu" in seconds:
            seconds["idle_cpu"] = max(0.0, seconds["idle_cpu"] - self.driver_cpu_ns / 1e9)
        return seconds


_NOTHING = Stretch(0, {}, 0, 0, Pressure(), Looks())


def taken_of(parts: Mapping[str, int]) -> int:
    """Return the nanoseconds of ``parts`` that the machine and the plugin took from the loop."""
    return parts.get("descheduled", 0) + parts.get("own", 0)


class Stretches:
    """Adds up named stretches, such as the time in which requests are in the app.

    ``mark`` reads the current totals on the loop's thread, at a constant cost. ``parts`` returns
    those of the last reading, and reads none.
    """

    def __init__(self, mark: Callable[[], Mark], parts: Callable[[], Mapping[str, int]]) -> None:
        self._mark = mark
        self._parts = parts
        self._totals: dict[str, Stretch] = {}
        self._name: str | None = None
        self._since: Mark | None = None

    def turn(self, name: str | None) -> None:
        """End the current stretch and start one named ``name``; None starts none."""
        if name == self._name:
            return
        mark = self._mark()
        if self._name is not None and self._since is not None:
            ended = Stretch.between(self._since, mark)
            self._totals[self._name] = self.total(self._name).plus(ended)
        self._name, self._since = name, mark if self._name is None else mark.with_wait()

    def total(self, name: str) -> Stretch:
        """Return the total of all finished stretches named ``name``."""
        return self._totals.get(name, _NOTHING)

    def end_at(self, name: str, now_ns: int) -> CopyEnd:
        """Return the end at ``now_ns`` of a copy released with the first stretch named ``name``."""
        total = self.total(name)
        lasted, taken = total.wall_ns, taken_of(total.parts)
        if self._name == name and self._since is not None:
            lasted += now_ns - self._since.began_ns
            taken += taken_of(self._parts()) - taken_of(self._since.began)
        return CopyEnd(lasted / 1e9, taken / 1e9)
