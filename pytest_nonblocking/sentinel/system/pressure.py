"""CPU pressure: how long tasks on the machine waited for a core, an upper bound of noise.

The kernel's pressure counter (PSI) is the time in microseconds in which any task waited. Without
it, the time in which no core was idle is a coarser bound.
"""

from __future__ import annotations

from typing import NamedTuple

from ...clocks import CLOCKS
from ...originals import os
from .clock import forced_fallback
from .procfs import opened, read_small, reader

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
        self._files: list[int] = []
        self._read = reader()
        try:
            for path in () if forced_fallback() else _FILES:
                self._open(path)
        except BaseException:
            self.close()
            raise

    @classmethod
    def closed(cls) -> Gauge:
        """Return a gauge without open files, which reads no pressure counter."""
        gauge = cls.__new__(cls)
        gauge._files = []
        return gauge

    def _open(self, path: str) -> None:
        """Open ``path``, unless it cannot be read: with PSI disabled, it may exist all the same."""
        file = opened(path)
        if file < 0:
            return
        if self._read(file):
            self._files.append(file)
        else:
            os.close(file)

    @property
    def has_pressure(self) -> bool:
        """Whether the kernel counts CPU pressure (PSI)."""
        return bool(self._files)

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


def _idle_and_stolen() -> tuple[float, float]:
    try:
        fields = read_small(_STAT).partition(b"\n")[0].split()
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
