"""Scheduler statistics of threads and processes."""

from __future__ import annotations

import functools
import sys
from contextlib import suppress
from typing import NamedTuple

from ...clocks import CLOCKS
from ...originals import os
from .procfs import names_in, opened, read_small, reader

if sys.platform == "linux":
    import resource

_TASKS = "/proc/self/task"

_FALLBACK = os.environ.get("PYTEST_NONBLOCKING_CLOCK") == "fallback"
"""A switch for tests: measure as on systems without scheduler statistics."""

# The kernel's encoding of the CPU-time clock of a process or thread (clock_getres(2)).
_PROCESS_CLOCK, _THREAD_CLOCK = 2, 6


class Usage(NamedTuple):
    """CPU time and run-queue delay in nanoseconds."""

    cpu: int
    delay: int


class Times(NamedTuple):
    """CPU time and run-queue delay of a thread, and CPU time of its process, in nanoseconds.

    ``sleeps`` is the number of voluntary context switches, None if the system does not report it.
    A thread without one has not waited for anything.
    """

    cpu: int
    delay: int
    process: int
    sleeps: int | None = None


class _Delay:
    """The run-queue delay of a thread of this process, from an open schedstat file."""

    def __init__(self, thread_id: int) -> None:
        self._file = opened(f"{_TASKS}/{thread_id}/schedstat")
        self._read = reader()

    def read_ns(self) -> int:
        """Return the delay so far; raises IndexError or OSError if the thread is gone."""
        return int(self._read(self._file).split()[1])

    def close(self) -> None:
        """Close the descriptor; may be called twice."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)


class ThreadClock:
    """Exact CPU time and run-queue delay of the calling thread, on Linux.

    CPU time is ``CLOCK_THREAD_CPUTIME_ID``: the kernel updates the first field of schedstat only at
    ticks and context switches, so it lags by up to 4 ms (CONFIG_HZ=250). The second field, the
    run-queue delay, is written when the thread gets the CPU back, so it is exact whenever the
    thread itself reads it.

    To read a CPU time, the kernel updates it, and takes the core away at once if the time slice is
    over. That turn of others comes after the reading, so what grows during it is read first: the
    delay, and the CPU time of the process. Read last, the delay had 250 of 900 ms charged to the
    plugin beside eight busy processes.
    """

    name = "schedstat"
    worst_ns = 0

    def __init__(self, thread_id: int) -> None:
        self._delay = _Delay(thread_id)
        self._cpu_ns, self._process_ns = CLOCKS.thread_cpu_ns, CLOCKS.process_cpu_ns
        self._getrusage = resource.getrusage
        self._who = resource.RUSAGE_THREAD

    def read(self) -> Times:
        """Return the times so far; on the clock's thread only."""
        delay, process = self._delay.read_ns(), self._process_ns()
        return Times(self._cpu_ns(), delay, process, self._getrusage(self._who).ru_nvcsw)

    def close(self) -> None:
        """Close the descriptor; may be called twice. The clock cannot be read any more."""
        self._delay.close()


class FallbackThreadClock:
    """CPU time and estimated run-queue delay of the calling thread, without schedstat.

    The delay is that of a canary, the watchdog thread: when it wakes up late, the loop's thread is
    assumed to have been delayed as long. ``worst_ns`` is the canary's longest delay.
    """

    name = "thread_time"

    def __init__(self, thread_id: int) -> None:
        self._cpu_ns, self._process_ns = CLOCKS.thread_cpu_ns, CLOCKS.process_cpu_ns
        self.canary_delay_ns = 0
        self.worst_ns = 0

    def late(self, delay_ns: int) -> None:
        """Add a delay of the canary; called by the canary itself."""
        self.canary_delay_ns += delay_ns
        self.worst_ns = max(self.worst_ns, delay_ns)

    def read(self) -> Times:
        """Return the times so far; on the clock's thread only."""
        delay, process = self.canary_delay_ns, self._process_ns()
        return Times(self._cpu_ns(), delay, process)

    def close(self) -> None:
        """Do nothing: there is no descriptor to close."""


def forced_fallback() -> bool:
    """Return whether tests have disabled the scheduler statistics of this system."""
    return _FALLBACK


@functools.cache
def has_schedstat() -> bool:
    """Return whether this kernel reports the run-queue delay of threads.

    One built without these statistics prints "0 0 0"; this process has used the CPU by now.
    """
    if _FALLBACK:
        return False
    fields = read_small(f"{_TASKS}/{os.getpid()}/schedstat").split()
    return len(fields) == 3 and fields[0] != b"0"


def thread_clock(thread_id: int) -> ThreadClock | FallbackThreadClock:
    """Return the best clock for the calling thread, whose native id is ``thread_id``."""
    return ThreadClock(thread_id) if has_schedstat() else FallbackThreadClock(thread_id)


def cores() -> float:
    """Return the number of cores that this process may use, by its affinity and cgroup quota."""
    try:
        usable = float(len(os.sched_getaffinity(0)))
    except AttributeError:  # not on Linux
        usable = float(os.cpu_count() or 1)
    try:
        quota, period = read_small("/sys/fs/cgroup/cpu.max").split()
        usable = min(usable, int(quota) / int(period))
    except ValueError:  # no cgroup v2, or no quota
        pass
    return max(usable, 0.1)


def cpu_of_thread(thread_id: int) -> int:
    """Return the CPU time of a thread of this process in nanoseconds; raises OSError if it is gone.

    It is exact even while the thread runs.
    """
    return CLOCKS.clock_ns(~thread_id << 3 | _THREAD_CLOCK)


def cpu_of_other_thread(thread_id: int) -> int:
    """Return the CPU time of a thread in nanoseconds; 0 if it is gone, or not on Linux."""
    try:
        return cpu_of_thread(thread_id) if sys.platform == "linux" else 0
    except OSError:
        return 0


class RunnableTime:
    """The time for which another thread of this process was runnable: its CPU and its delay."""

    def __init__(self, thread_id: int) -> None:
        self._thread_id = thread_id
        self._delay = _Delay(thread_id) if has_schedstat() else None

    def read_ns(self) -> int:
        """Return the time so far in nanoseconds, without a delay that still goes on.

        Of a thread that has ended, or on a system that reports neither, it is 0.
        """
        delay = 0
        if self._delay is not None:
            with suppress(IndexError, OSError):
                delay = self._delay.read_ns()
        return cpu_of_other_thread(self._thread_id) + delay

    def close(self) -> None:
        """Close the descriptor; may be called twice."""
        if self._delay is not None:
            self._delay.close()


def cpu_of_process(pid: int) -> int:
    """Return the CPU time of a process in nanoseconds; raises OSError if it is gone.

    It includes threads that have ended, and lags by up to one tick.
    """
    return CLOCKS.clock_ns(~pid << 3 | _PROCESS_CLOCK)


def schedstat(path: str) -> Usage:
    """Return the usage in a schedstat file, zero if it cannot be read."""
    try:
        fields = read_small(path).split()
        return Usage(int(fields[0]), int(fields[1]))
    except (IndexError, ValueError):
        return Usage(0, 0)


def thread_ids() -> list[int]:
    """Return the native ids of all threads of this process."""
    return [int(name) for name in names_in(_TASKS)]


def number_of_threads() -> int:
    """Return the number of threads of this process, Python's or not; 0 if it is not known."""
    try:
        return os.stat(_TASKS).st_nlink - 2
    except OSError:
        return 0


def other_threads(excluded: set[int]) -> dict[str, Usage]:
    """Return the usage of this process's threads, except those with native ids in ``excluded``."""
    if not has_schedstat():
        return {}
    return {str(i): schedstat(f"{_TASKS}/{i}/schedstat") for i in thread_ids() if i not in excluded}


def grown(before: dict[str, Usage], after: dict[str, Usage]) -> Usage:
    """Return the total growth of usage; threads that started in between count from zero."""
    zero = Usage(0, 0)
    pairs = [(before.get(key, zero), now) for key, now in after.items()]
    return Usage(
        sum(max(0, now.cpu - old.cpu) for old, now in pairs),
        sum(max(0, now.delay - old.delay) for old, now in pairs),
    )
