"""CPU pressure: how long tasks on the machine waited for a core, an upper bound of noise.

The kernel's pressure counter (PSI) is the time in microseconds in which any task waited. Without
it, the time in which no core was idle is a coarser bound.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from ...clocks import CLOCKS
from .clock import forced_fallback
from .procfs import reader

_FILES = ("/proc/pressure/cpu", "/sys/fs/cgroup/cpu.pressure")
_STAT = "/proc/stat"
_IDLE, _IOWAIT, _STEAL = 4, 5, 8


class Counters(NamedTuple):
    """The counters at one instant, in seconds; ``waiting`` is None without PSI."""

    waiting: float | None
    idle: float
    stolen: float
    wall: float


class Gauge:
    """Reads the counters from open files; must be closed."""

    def __init__(self) -> None:
        self._files = [] if forced_fallback() else [f for f in map(_opened, _FILES) if f >= 0]
        self._read = reader()

    @classmethod
    def closed(cls) -> Gauge:
        """Return a gauge without open files, which reads no pressure counter."""
        gauge = cls.__new__(cls)
        gauge._files = []
        return gauge

    def read(self) -> Counters:
        """Return the current counters; takes about 60 us, mostly for ``/proc/stat``."""
        waiting = max(map(self._waiting, self._files), default=None)
        idle, stolen = (0.0, 0.0) if forced_fallback() else _idle_and_stolen()
        return Counters(waiting, idle, stolen, CLOCKS.wall_ns() / 1e9)

    def _waiting(self, file: int) -> float:
        try:
            return int(self._read(file).split(b"total=")[1].split()[0]) / 1e6
        except (OSError, IndexError, ValueError):
            return 0.0

    def close(self) -> None:
        """Close the descriptors; may be called twice."""
        files, self._files = self._files, []
        for file in files:
            os.close(file)


def _opened(path: str) -> int:
    try:
        file = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return -1
    try:
        os.pread(file, 1, 0)  # with PSI disabled, the file exists but cannot be read
    except OSError:
        os.close(file)
        return -1
    return file


def _idle_and_stolen() -> tuple[float, float]:
    try:
        with Path(_STAT).open("rb") as file:
            fields = file.readline().split()
        ticks = os.sysconf("SC_CLK_TCK")
        return (int(fields[_IDLE]) + int(fields[_IOWAIT])) / ticks, int(fields[_STEAL]) / ticks
    except (OSError, IndexError, ValueError):
        return 0.0, 0.0


def waited(before: Counters, after: Counters, processors: int) -> float:
    """Return an upper bound of the time that a task waited between two readings, in seconds.

    PSI is an average over the ``processors``, weighted by their load: on a single one, a task may
    have waited ``processors`` times as long. Without PSI, a task may have waited whenever no
    processor was idle.
    """
    wall = after.wall - before.wall
    if before.waiting is not None and after.waiting is not None:
        return min(wall, max(0.0, after.waiting - before.waiting) * processors)
    if after.idle:
        return max(0.0, min(wall, processors * wall - (after.idle - before.idle)))
    return 0.0
