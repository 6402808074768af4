"""For how long the machine keeps tasks waiting for a processor: a ceiling on what noise can do.

The kernel's pressure counter (PSI) counts in microseconds for how long any task waited. Where
there is none, processors that were not idle bound it more coarsely.
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
    """The counters at one instant, in seconds; ``waiting`` is None where nothing tells it."""

    waiting: float | None
    idle: float
    stolen: float
    wall: float


class Gauge:
    """Reads the counters; close it when it is not needed any more."""

    def __init__(self) -> None:
        self._files = [] if forced_fallback() else [f for f in map(_opened, _FILES) if f >= 0]
        self._read = reader()

    @classmethod
    def closed(cls) -> Gauge:
        """Return one that reads no pressure counter and holds nothing open."""
        gauge = cls.__new__(cls)
        gauge._files = []
        return gauge

    def read(self) -> Counters:
        """Return the counters now; about 60 microseconds, most of it for ``/proc/stat``."""
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
        os.pread(file, 1, 0)  # where PSI is switched off the file is there and cannot be read
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
    """Return for how long any task can have waited between two readings, in seconds.

    The counter is an average over the processors, weighted by how busy each was: a task may have
    waited on one of them for as many times as long. Without the counter, a task can have waited
    whenever no processor was idle.
    """
    wall = after.wall - before.wall
    if before.waiting is not None and after.waiting is not None:
        return min(wall, max(0.0, after.waiting - before.waiting) * processors)
    if after.idle:
        return max(0.0, min(wall, processors * wall - (after.idle - before.idle)))
    return 0.0
