"""What the scheduler knows of threads and processes."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import NamedTuple

from ...clocks import CLOCKS
from .procfs import reader

if sys.platform == "linux":
    import resource

_TASKS = "/proc/self/task"

_FALLBACK = os.environ.get("PYTEST_NONBLOCKING_CLOCK") == "fallback"
"""A switch for tests: measure on Linux as on systems that tell nothing of their scheduler."""

# The kernel's own encoding of a process's or a thread's processor-time clock (clock_getres(2)).
_PROCESS_CLOCK, _THREAD_CLOCK = 2, 6


class Usage(NamedTuple):
    """Processor time and run-queue delay in nanoseconds.

    ``sleeps`` counts how often the thread gave up the processor of its own accord, None where
    the system does not tell. A thread that never did so has not waited for anything.
    """

    cpu: int
    delay: int
    sleeps: int | None = None


class ThreadClock:
    """Processor time and run-queue delay of the thread that made the clock; exact on Linux.

    The processor time is ``CLOCK_THREAD_CPUTIME_ID``, not the first field of schedstat: the
    kernel brings that field up to date only at a tick or a context switch, so it was seen to be
    4 ms behind (CONFIG_HZ=250). The second field, the run-queue delay, is written when the
    thread gets the processor back and is therefore exact whenever the thread reads it.
    """

    name = "schedstat"
    worst_ns = 0

    def __init__(self, thread_id: int) -> None:
        self._file = os.open(f"{_TASKS}/{thread_id}/schedstat", os.O_RDONLY)
        self._cpu_ns = CLOCKS.thread_cpu_ns
        self._read = reader()
        self._getrusage = resource.getrusage
        self._who = resource.RUSAGE_THREAD

    def read(self) -> Usage:
        """Return the usage so far; call it from the thread itself."""
        return Usage(
            self._cpu_ns(),
            int(self._read(self._file).split()[1]),
            self._getrusage(self._who).ru_nvcsw,
        )

    def close(self) -> None:
        """Close the descriptor; the clock cannot be read afterwards."""
        os.close(self._file)


class FallbackThreadClock:
    """Where there is no schedstat: the run-queue delay is a canary's own lateness.

    The canary is the watchdog thread, which does nothing but sleep: by what it is late, the
    machine is taken to have been late for the loop thread too. ``worst_ns`` is its longest delay.
    """

    name = "thread_time"

    def __init__(self, thread_id: int) -> None:
        self._cpu_ns = CLOCKS.thread_cpu_ns
        self.canary_delay_ns = 0
        self.worst_ns = 0

    def late(self, delay_ns: int) -> None:
        """Take it that the canary was late; called by the canary itself."""
        self.canary_delay_ns += delay_ns
        self.worst_ns = max(self.worst_ns, delay_ns)

    def read(self) -> Usage:
        """Return the usage so far; call it from the thread itself."""
        return Usage(self._cpu_ns(), self.canary_delay_ns)

    def close(self) -> None:
        """Do nothing: there is no descriptor to close."""


def forced_fallback() -> bool:
    """Return whether Linux is to measure as systems do that tell nothing of their scheduler."""
    return _FALLBACK


@functools.cache
def has_schedstat() -> bool:
    """Return whether this kernel tells the run-queue delay of a thread."""
    if _FALLBACK:
        return False
    try:
        return len(Path(f"{_TASKS}/{os.getpid()}/schedstat").read_bytes().split()) == 3
    except OSError:
        return False


def thread_clock(thread_id: int) -> ThreadClock | FallbackThreadClock:
    """Return the best clock for the calling thread, whose native id is ``thread_id``."""
    return ThreadClock(thread_id) if has_schedstat() else FallbackThreadClock(thread_id)


def clock_name() -> str:
    """Return what the clock of this system rests on, in words."""
    return "schedstat" if has_schedstat() else "thread_time with a canary thread"


def cores() -> float:
    """Return how many processors this process may use, by its affinity and its quota."""
    try:
        usable = float(len(os.sched_getaffinity(0)))
    except AttributeError:  # not on Linux
        usable = float(os.cpu_count() or 1)
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text("ascii").split()
        usable = min(usable, int(quota) / int(period))
    except (OSError, ValueError):  # no such group, or no quota
        pass
    return max(usable, 0.1)


def cpu_of_thread(thread_id: int) -> int:
    """Return the processor time of a thread of this process in nanoseconds, exact even while it
    runs; raises OSError for one that is gone."""
    return CLOCKS.clock_ns(~thread_id << 3 | _THREAD_CLOCK)


def cpu_of_other_thread(thread_id: int) -> int:
    """Return the same for a thread that may be gone, and where no system tells: 0 then."""
    try:
        return cpu_of_thread(thread_id) if sys.platform == "linux" else 0
    except OSError:
        return 0


def cpu_of_process(pid: int) -> int:
    """Return the processor time of a process in nanoseconds, its ended threads included; up to
    a tick late; raises OSError for one that is gone."""
    return CLOCKS.clock_ns(~pid << 3 | _PROCESS_CLOCK)


def read_small(path: str) -> bytes:
    """Return the beginning of a file of ``/proc``, empty where it cannot be read."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(file, 4096)
    except OSError:
        return b""
    finally:
        os.close(file)


def schedstat(path: str) -> Usage:
    """Return what a schedstat file tells; zero where it cannot be read."""
    try:
        fields = read_small(path).split()
        return Usage(int(fields[0]), int(fields[1]))
    except (IndexError, ValueError):
        return Usage(0, 0)


def thread_ids() -> list[int]:
    """Return the native ids of all threads of this process."""
    return [int(name) for name in names_in(_TASKS)]


def other_threads(excluded: set[int]) -> dict[str, Usage]:
    """Return the usage of this process's threads but for those with the native ids given."""
    if _FALLBACK:
        return {}
    return {str(i): schedstat(f"{_TASKS}/{i}/schedstat") for i in thread_ids() if i not in excluded}


def names_in(folder: str) -> list[str]:
    """Return the names in ``folder``, none where it cannot be read."""
    try:
        return os.listdir(folder)  # noqa: PTH208  a tenth of the time of Path.iterdir
    except OSError:
        return []


def grown(before: dict[str, Usage], after: dict[str, Usage]) -> Usage:
    """Return how much usage was added; threads that began in between count from zero."""
    zero = Usage(0, 0)
    pairs = [(before.get(key, zero), now) for key, now in after.items()]
    return Usage(
        sum(max(0, now.cpu - old.cpu) for old, now in pairs),
        sum(max(0, now.delay - old.delay) for old, now in pairs),
    )
