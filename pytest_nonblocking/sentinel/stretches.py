"""What is measured in stretches of time that need not follow one another. Pure."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ..model import Looks, Pressure
from .system.pressure import Counters, waited


class Mark(NamedTuple):
    """The totals where one stretch ends and where the next begins, in nanoseconds.

    In between the mark itself was made, which falls into neither.
    """

    ended_ns: int
    ended: dict[str, int]
    began_ns: int
    began: dict[str, int]
    other_cpu_ns: int
    driver_cpu_ns: int
    pressure: Counters
    looks: Looks


@dataclass(frozen=True, slots=True)
class Stretch:
    """The sums over stretches of one kind; ``parts`` are those of the budget, in nanoseconds.

    The driver's CPU is not part of ``other_cpu_ns``.
    """

    wall_ns: int
    parts: dict[str, int]
    other_cpu_ns: int
    driver_cpu_ns: int
    pressure: Pressure
    looks: Looks

    @staticmethod
    def between(before: Mark, after: Mark) -> Stretch:
        """Return what gathered between two marks."""
        driver = max(0, after.driver_cpu_ns - before.driver_cpu_ns)
        return Stretch(
            wall_ns=after.ended_ns - before.began_ns,
            parts={name: after.ended[name] - ns for name, ns in before.began.items()},
            other_cpu_ns=max(0, after.other_cpu_ns - before.other_cpu_ns - driver),
            driver_cpu_ns=driver,
            pressure=Pressure(
                waited(before.pressure, after.pressure, os.cpu_count() or 1),
                max(0.0, after.pressure.stolen - before.pressure.stolen),
            ),
            looks=after.looks.since(before.looks),
        )

    def plus(self, other: Stretch) -> Stretch:
        """Return the sums of both."""
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
        """Return the parts in seconds, without what the driver used while the loop was idle."""
        seconds = {name: ns / 1e9 for name, ns in self.parts.items()}
        if "idle_cpu" in seconds:
            seconds["idle_cpu"] = max(0.0, seconds["idle_cpu"] - self.driver_cpu_ns / 1e9)
        return seconds


_NOTHING = Stretch(0, {}, 0, 0, Pressure(), Looks())


class Stretches:
    """Adds up what is measured while requests are in the application, by what they do there.

    ``mark`` reads the totals of now, on the loop's thread, at a cost that does not grow.
    """

    def __init__(self, mark: Callable[[], Mark]) -> None:
        self._mark = mark
        self._totals: dict[str, Stretch] = {}
        self._name: str | None = None
        self._since: Mark | None = None

    def turn(self, name: str | None) -> None:
        """End the stretch that goes on, and begin one of the kind ``name``; None for none."""
        if name == self._name:
            return
        mark = self._mark()
        if self._name is not None and self._since is not None:
            ended = Stretch.between(self._since, mark)
            self._totals[self._name] = self.total(self._name).plus(ended)
        self._name, self._since = name, mark

    def total(self, name: str) -> Stretch:
        """Return the sums of the stretches of one kind that have ended."""
        return self._totals.get(name, _NOTHING)

    def lasted_ns(self, name: str, now_ns: int) -> int:
        """Return for how long stretches of one kind have lasted up to now."""
        going_on = 0
        if self._name == name and self._since is not None:
            going_on = now_ns - self._since.began_ns
        return self.total(name).wall_ns + going_on
