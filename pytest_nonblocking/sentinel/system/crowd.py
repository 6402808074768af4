"""Counts of the threads and child processes that run, and of the threads that wait for the GIL.

Only those that used the CPU recently are inspected, so that a look costs the same with a thousand
idle threads as with none (reading all took 0.12 ms per thread and 0.2 ms per child process). Those
that were active earlier are inspected if nothing else is runnable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from ...clocks import CLOCKS
from .children import any_child, descendants, is_runnable
from .clock import (
    cpu_of_other_thread,
    cpu_of_process,
    cpu_of_thread,
    number_of_threads,
    thread_ids,
)
from .procfs import names_in
from .thread_state import Witness

_ACTIVE_NS = 50_000
"""CPU time since the last search from which a thread counts as active; a wake-up takes less."""
_NONE_NS = 5_000
"""CPU time within which no thread wakes up; the clocks are read one after the other."""
_MOST = 64
"""Largest number of threads in one look; each takes 1 to 14 us."""
_SEARCH_EVERY_NS = 10_000_000
_RECENT_NS = 500_000_000
"""Age of a thread's last activity up to which it is inspected: several rounds of the scheduler."""
_FRESH_NS = 2 * _SEARCH_EVERY_NS
"""Age up to which the list of child processes counts as complete."""
_DUTY = 50
"""Pause after a search, as a multiple of its duration or CPU time: at most 2 % go into searches."""


class Count(NamedTuple):
    """Threads and processes that run without the GIL, and threads waiting for it.

    ``blocked`` is whether a thread waits in a system call. ``quiet`` is whether nothing is
    runnable: no thread that was ever active, no client of the test, no child process. ``ran`` is
    False if no other thread has used the CPU since the look before; ``used_ns`` is how much they
    have used.
    """

    free: int
    wanting: int
    blocked: bool = False
    quiet: bool = False
    ran: bool = True
    used_ns: int = 0


class Excluded(NamedTuple):
    """What does not belong to the app: native thread ids, those of the test's clients included.

    ``children`` are keys "process/thread" of child processes.
    """

    threads: set[int]
    children: set[str]
    clients: set[int]


class Crowd:
    """The threads and child processes of this process, except those that ``excluded`` returns.

    Use it from the watchdog's thread only.
    """

    def __init__(
        self, witness: Witness, loop_thread: int, excluded: Callable[[], Excluded]
    ) -> None:
        self._witness = witness
        self._loop_thread = loop_thread
        self._others_cpu = -_ACTIVE_NS
        self._others_cpu_at_look: int | None = None
        self._excluded = excluded
        self._threads = _Recent()
        self._processes = _Recent()
        self._active: list[int] = []
        self._seldom: list[int] = []
        self._workers: list[str] = []
        self._search_at = 0
        self._searched_ns = 0
        self._number = -1

    def look(self, cores: int) -> Count:
        """Count the runnable threads and processes; stops once ``cores`` of them run."""
        now = CLOCKS.wall_ns()
        has_children = any_child()
        if now >= self._search_at:
            self._search(has_children)
            ended = CLOCKS.wall_ns()
            self._search_at = ended + max(_SEARCH_EVERY_NS, _DUTY * (ended - now))
        used = self._used_by_others()
        ran = used is None or used > _NONE_NS or has_children
        free = wanting = 0
        for key in self._workers:
            free += is_runnable(key)
            if free >= cores:
                return Count(free, wanting, ran=ran, used_ns=used or 0)
        blocked = False
        for tid in self._active:
            state = self._witness.state(tid)
            free += state == "running"
            wanting += state == "gil"
            blocked |= state == "blocked"
            if free >= cores:
                break
        quiet = not (free or wanting) and self._knows_all(has_children) and not self._others_run()
        return Count(free, wanting, blocked, quiet, ran, used or 0)

    def _used_by_others(self) -> int | None:
        """Return the CPU time that other threads have used since the last time, None if unknown."""
        now, before = self._cpu_of_others(), self._others_cpu_at_look
        self._others_cpu_at_look = now
        return None if now is None or before is None else max(0, now - before)

    def _knows_all(self, has_children: bool) -> bool:
        """Return whether a look misses no thread or child process that may be runnable."""
        is_old = CLOCKS.wall_ns() - self._searched_ns > _FRESH_NS
        if has_children and (is_old or self._processes.inactive()):
            return False
        all_fit = len(self._active) + len(self._seldom) <= _MOST
        return all_fit and self._number == number_of_threads()

    def _others_run(self) -> bool:
        """Return whether a client's thread, or one that was active long ago, is runnable."""
        return any(self._witness.state(tid) in ("running", "gil") for tid in self._seldom)

    def _cpu_of_others(self) -> int | None:
        """Return the CPU time of all other threads; None if the clocks were not read at once."""
        began = CLOCKS.wall_ns()
        own = CLOCKS.thread_cpu_ns() + cpu_of_other_thread(self._loop_thread)
        others = CLOCKS.process_cpu_ns() - own
        return others if CLOCKS.wall_ns() - began < _ACTIVE_NS else None

    def _search(self, has_children: bool) -> None:
        others, number = self._cpu_of_others(), number_of_threads()
        is_same = others is not None and others - self._others_cpu < _ACTIVE_NS
        if is_same and number == self._number and not has_children:
            return
        self._others_cpu = self._others_cpu if others is None else others
        self._number = number
        excluded = self._excluded()
        ids = [tid for tid in thread_ids() if tid not in excluded.threads]
        before = self._threads.used or {}
        used = _used(cpu_of_thread, ids)
        for tid in before.keys() - used.keys():
            self._witness.forget(tid)
        self._active = self._threads.active(used)
        self._seldom = [*self._threads.inactive(), *excluded.clients]
        self._workers = []
        if has_children:
            for pid in self._processes.active(_used(cpu_of_process, descendants())):
                keys = (f"{pid}/{tid}" for tid in names_in(f"/proc/{pid}/task"))
                self._workers += [key for key in keys if key not in excluded.children]
        self._searched_ns = CLOCKS.wall_ns()


class Computing:
    """The threads that have computed recently, except those that ``excluded`` returns.

    A crowd's own list is old while threads compete for the GIL, for which its search waits too
    (one took 270 ms, and 13 s passed before the next). So this one is searched for by itself.
    """

    def __init__(self, excluded: Callable[[], set[int]]) -> None:
        self._excluded = excluded
        self._threads = _Recent()
        self._recent: set[int] = set()
        self._search_at = 0

    def threads(self) -> set[int]:
        """Return the native ids of up to 64 of them, the latest ones."""
        if CLOCKS.wall_ns() >= self._search_at:
            before = CLOCKS.thread_cpu_ns()
            excluded = self._excluded()
            ids = (tid for tid in thread_ids() if tid not in excluded)
            self._recent = {*self._threads.active(_used(cpu_of_thread, ids))}
            used = CLOCKS.thread_cpu_ns() - before
            self._search_at = CLOCKS.wall_ns() + max(_SEARCH_EVERY_NS, _DUTY * used)
        return self._recent


def _used(clock: Callable[[int], int], ids: Iterable[int]) -> dict[int, int]:
    used = {}
    for one in ids:
        try:
            used[one] = clock(one)
        except OSError:  # ended meanwhile
            continue
    return used


class _Recent:
    """The threads or processes that used the CPU, recently or ever."""

    def __init__(self) -> None:
        self.used: dict[int, int] | None = None
        self._last: dict[int, int] = {}
        self._recent: list[int] = []

    def active(self, used: dict[int, int]) -> list[int]:
        """Return the recently active ones, latest first; ``used`` holds the CPU times of all.

        Recent activity counts because a thread that waits for a core uses none, for many
        milliseconds beside busy neighbours. One that has just started may wait for its first.
        """
        now = CLOCKS.wall_ns()
        before = used if self.used is None else self.used
        for one, cpu in used.items():
            if one not in before or cpu - before[one] >= _ACTIVE_NS:
                self._last[one] = now
        self._last = {one: seen for one, seen in self._last.items() if one in used}
        self.used = used
        recent = (one for one, seen in self._last.items() if now - seen <= _RECENT_NS)
        self._recent = sorted(recent, key=lambda one: -self._last[one])[:_MOST]
        return self._recent

    def inactive(self) -> list[int]:
        """Return those that were active once, and not recently or not among the latest."""
        recent = {*self._recent}
        return [one for one in self._last if one not in recent]
