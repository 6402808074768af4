"""Samples of waiting tasks and of thread pools, taken on the loop's thread."""

from __future__ import annotations

import itertools
import weakref
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from types import FrameType
from typing import Any, Generic, NamedTuple, TypeVar

from ..clocks import CLOCKS
from ..model import Pool, Sample, Stack, Waiters
from ..originals import threading
from .awaited import Chain, followed
from .probes.probe import Probe
from .stacks import (
    Spot,
    count_stacks,
    spot_of,
    suspended_frames,
    thread_acquires_a_lock,
    thread_stack,
)
from .system.thread_state import Witness
from .thread_pools import default_limiter, is_worker, pools_in_use

_PLACES_KEPT = 16
_WORKERS_A_LOOK = 16
_WORKERS_KEPT = 512
_THREADS_COUNTED = 64
_IN_FIRST_PASS = 1e-9
"""Seconds for which a look in the first pass counts."""
_HELD = ("pytest_nonblocking.asgi.door", "pytest_nonblocking.load.sync_tests")


_Place = TypeVar("_Place", str, Stack)


class _Contended(Generic[_Place]):
    """For how many seconds each place had a queue in one look and in the next."""

    def __init__(self) -> None:
        self.seconds: dict[_Place, float] = {}
        self._before: frozenset[_Place] = frozenset()

    def see(self, places: Iterable[_Place], passed: float) -> None:
        """Note a look that saw queues at ``places``, ``passed`` seconds after the one before."""
        seen = frozenset(places)
        for place in seen:
            lasted = passed if place in self._before else 0.0
            self.seconds[place] = self.seconds.get(place, 0.0) + lasted
        self._before = seen


class _Look(NamedTuple):
    """One look at waiting tasks and pools; ``workers`` are indices into ``WaitSampler.workers``.

    Each of them stands for ``threads`` threads, and those in ``acquiring`` acquire locks.
    """

    places: Counter[Stack]
    pools: list[tuple[str, Pool]]
    workers: range
    threads: float
    acquiring: list[Stack]


class WaitSampler:
    """Samples where the tasks of one loop wait during a burst, and how full thread pools are.

    Queue lengths are integrated over time by the trapezoidal rule: each look counts for half of the
    interval on either side of it. The first look counts for the whole interval since ``from_ns``,
    the end of the first pass; before that, all copies queue for whatever comes first, and a look
    counts only where no later one sees a queue.
    ``own_threads`` returns the native ids of threads that do no work of the app: the loop's, the
    plugin's and those of clients. Create it within a task of the loop, and close it.
    """

    def __init__(self, probe: Probe, own_threads: Callable[[], Collection[int]]) -> None:
        self._probe = probe
        self._own_threads = own_threads
        self._own = probe.running()
        # It can only be looked up from within a task.
        self._limiter = default_limiter()
        self._witness = Witness()
        self.from_ns = CLOCKS.wall_ns()
        self._fullest: Counter[Stack] = Counter()
        self._most: Counter[Stack] = Counter()
        self._waited: dict[Stack, float] = {}
        self._pools: dict[str, Pool] = {}
        self._looked_ns = self.from_ns
        self._places_contended = _Contended[Stack]()
        self._pools_contended = _Contended[str]()
        self._locks_contended = _Contended[Stack]()
        self._before: _Look | None = None
        self._turn = 0
        self.workers: list[Sample] = []
        self._queued: list[float] = []
        self._waiting_before: dict[tuple[int, Spot], Callable[[], Any]] = {}
        self._working_before: dict[threading.Thread, Stack] = {}
        self._queued_before: dict[str, int] = {}

    def note_before(self) -> None:
        """Note what waits and works before the release; it counts only once it moves.

        It has nothing to do with the copies: a task of the app that waits for its next job, or
        threads that an earlier test left in a deadlock, with the calls that they keep waiting.
        """
        chains = self._chains()
        for chain in chains:
            key = id(chain.task), spot_of(chain.walk)
            self._waiting_before[key] = _reference(chain.task)
        workers = itertools.islice(filter(is_worker, threading.enumerate()), _THREADS_COUNTED)
        self._working_before = {one: thread_stack(one.ident or 0) for one in workers}
        pools = self._pools_in_use(chain.walk for chain in chains)
        self._queued_before = {key: pool.waiting for key, pool in pools}

    @property
    def waiters(self) -> tuple[Waiters, ...]:
        """The 16 places with the longest queues, integrated over time."""
        ordered = sorted(self._waited, key=lambda stack: -self._waited[stack])
        return tuple(
            Waiters(
                stack,
                self._fullest[stack],
                self._waited[stack],
                self._most[stack],
                self._places_contended.seconds.get(stack, 0.0),
            )
            for stack in ordered[:_PLACES_KEPT]
        )

    @property
    def pools(self) -> tuple[Pool, ...]:
        """The thread pools, each at the time when its queue was longest."""
        seconds = self._pools_contended.seconds
        return tuple(
            replace(pool, contended=seconds.get(key, 0.0)) for key, pool in self._pools.items()
        )

    @property
    def contended(self) -> tuple[Sample, ...]:
        """Where worker threads waited for locks; the weight is the time for which any did."""
        seconds = self._locks_contended.seconds
        return tuple(Sample(stack, "lock", weight) for stack, weight in seconds.items())

    @property
    def queued(self) -> float:
        """The lower quartile of the share of waiting copies in ``count_queued``; 0 without one.

        All copies of a healthy handler may sleep at one moment, and a connection pool may wake all
        copies of a queue for one connection.
        """
        return sorted(self._queued)[len(self._queued) // 4] if self._queued else 0.0

    def count_queued(self, unfinished: int) -> None:
        """Record the share of ``unfinished`` copies that have nothing to run, late in a burst.

        On a busy machine the loop may never be idle, and a queue then shows in no part of the
        budget (a pool of 3 behind 18 ms of CPU and delay per request). But its copies have nothing
        to run, while those of a healthy handler are ready to, or have a thread that is.
        """
        runnable = self._probe.runnable_copies()
        if runnable is not None and unfinished:
            runnable += self._runnable_threads()
            self._queued.append(max(0.0, 1 - runnable / unfinished))

    def _runnable_threads(self) -> int:
        """Return how many of up to 64 other threads run, or wait for a core or the GIL.

        A process may have hundreds that only wait: pools' threads and the newest count first.
        """
        own = self._own_threads()
        apps = [thread for thread in threading.enumerate() if thread.native_id not in own]
        likeliest = sorted(apps, key=is_worker)[-_THREADS_COUNTED:]
        states = (self._witness.state(thread.native_id or 0) for thread in likeliest)
        return sum(state in ("running", "gil") for state in states)

    def look(self) -> None:
        """Sample all waiting tasks, the pools and their workers; on the loop's thread."""
        now = CLOCKS.wall_ns()
        passed = max(0, now - self.from_ns) / 1e9 or _IN_FIRST_PASS
        self.from_ns = max(now, self.from_ns)
        look = self._look()
        self._see_queues(look, (now - self._looked_ns) / 1e9)
        self._looked_ns = now
        self._most |= look.places
        # Keep the look with most waiting tasks: later ones see fewer.
        if look.places.total() > self._fullest.total():
            self._fullest = look.places
        if self._before is not None:
            passed /= 2
            self._add(self._before, passed)
        self._add(look, passed)
        self._before = look if passed > _IN_FIRST_PASS else None

    def _see_queues(self, look: _Look, passed: float) -> None:
        self._places_contended.see(look.places, passed)
        self._pools_contended.see((key for key, pool in look.pools if pool.waiting), passed)
        self._locks_contended.see(look.acquiring, passed)

    def _look(self) -> _Look:
        chains = self._chains()
        spots = [spot_of(chain.walk) for chain in chains]
        places = count_stacks(
            (spot, chain.walk)
            for chain, spot in zip(chains, spots, strict=True)
            if not self._has_waited(chain.task, spot)
        )
        for stack in [stack for stack in places if _is_held(stack)]:
            del places[stack]
        pools = self._pools_in_use(chain.walk for chain in chains)
        first = len(self.workers)
        threads, acquiring = self._look_at_workers()
        return _Look(places, pools, range(first, len(self.workers)), threads, acquiring)

    def _chains(self) -> list[Chain]:
        """Return the waits of all tasks, followed to their ends."""
        tasks = self._probe.tasks().items()
        walks = {task: tuple(suspended_frames(one)) for task, one in tasks if one is not self._own}
        awaited = {task: self._probe.awaited(task, walk) for task, walk in walks.items()}
        return list(followed(walks, awaited))

    def _has_waited(self, task: Any, spot: Spot) -> bool:
        """Return whether it has not moved since before the release; an ended one is another."""
        return self._waiting_before.get((id(task), spot), _nothing)() is task

    def _add(self, look: _Look, stands: float) -> None:
        """Add ``stands`` seconds to the time that ``look`` counts for."""
        for stack, count in look.places.items():
            self._waited[stack] = self._waited.get(stack, 0.0) + count * stands
        self._note_pools(look.pools, stands)
        for index in look.workers:
            sample = self.workers[index]
            self.workers[index] = replace(sample, weight=sample.weight + look.threads * stands)

    def look_at_pools(self) -> None:
        """Sample only the pools that can be found without walking the tasks, which is cheap."""
        self._note_pools(self._pools_in_use([]), 0.0)

    def _pools_in_use(self, walks: Iterable[Sequence[FrameType]]) -> list[tuple[str, Pool]]:
        return pools_in_use(walks, self._limiter, self._probe.default_executor)

    def close(self) -> None:
        """Close all descriptors; may be called twice."""
        self._witness.close()

    def _note_pools(self, pools: list[tuple[str, Pool]], stands: float) -> None:
        for key, found in pools:
            before = self._queued_before.get(key, 0)
            if before and found.waiting <= before:
                continue
            pool, seen = replace(found, waiting=found.waiting - before), self._pools.get(key)
            waited = pool.waiting * stands + (seen.waited if seen else 0.0)
            fuller = pool if seen is None or pool.waiting > seen.waiting else seen
            self._pools[key] = replace(fuller, waited=waited)

    def _look_at_workers(self) -> tuple[float, list[Stack]]:
        """Sample up to 16 worker threads, others each time: to sample one takes 30 us.

        Returns for how many threads each of them stands, and where they acquire locks.
        """
        threads = [t for t in threading.enumerate() if t.ident != threading.get_ident()]
        # Prefer pools' threads: a process may have hundreds of others that only wait.
        workers = [t for t in threads if is_worker(t)] or threads
        self._turn = (self._turn + _WORKERS_A_LOOK) % max(1, len(workers))
        turned = (*workers[self._turn :], *workers[: self._turn])
        sampled = turned[:_WORKERS_A_LOOK]
        acquiring: list[Stack] = []
        for thread in sampled:
            state, ident = self._witness.state(thread.native_id or 0), thread.ident or 0
            # C code may wait for an answer as for a lock; the instruction tells them apart.
            acquires = state in ("unknown", "lock") and thread_acquires_a_lock(ident)
            stack = thread_stack(ident) if len(self.workers) < _WORKERS_KEPT else ()
            if stack and self._working_before.get(thread) != stack:
                self.workers.append(Sample(stack, "lock" if acquires else state, 0.0))
                if acquires:
                    acquiring.append(stack)
        return len(workers) / max(1, len(sampled)), acquiring


def _nothing() -> None:
    """Refer to nothing."""


def _reference(one: Any) -> Callable[[], Any]:
    """Return what refers to an object, weakly if possible."""
    try:
        return weakref.ref(one)
    except TypeError:
        return lambda: one


def _is_held(stack: Stack) -> bool:
    """Return whether a task waits for other copies or for a client, not for the app."""
    return not stack or stack[-1].module in _HELD
