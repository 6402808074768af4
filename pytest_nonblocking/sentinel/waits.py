"""Where tasks wait, and how full the thread pools are, at one instant on the loop's thread."""

from __future__ import annotations

import concurrent.futures.thread as executors
import os
import sys
import threading
from collections import Counter, defaultdict
from typing import Any

from ..results import Pool, Stack, Waiters
from .probe import Probe
from .stacks import is_in, other_thread_stacks, suspended_frames, suspended_stack

_PLACES_KEPT = 16
_RUN = executors._WorkItem.run.__code__


class Waits:
    """The fullest state seen of where tasks wait and of the thread pools of one loop.

    Make it within a task of that loop.
    """

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._own = probe.running()
        # Looked up here because it can only be found from within a task.
        self._limiter = _default_limiter()
        self._most = 0
        self.waiters: tuple[Waiters, ...] = ()
        self.pool: Pool | None = None
        self.pools: dict[str, Pool] = {}
        self.workers: tuple[Stack, ...] = ()
        self._queued: list[float] = []

    @property
    def queued(self) -> float:
        """The smallest share of copies that were seen to wait by ``count_queued``; 0 if none."""
        return min(self._queued, default=0.0)

    def count_queued(self, unfinished: int) -> None:
        """Count how many of the ``unfinished`` copies have nothing to run now, late in a burst.

        Where the machine keeps the loop busy, the loop is never idle, and a queue for a pool
        shows in no part of the budget (a pool of 3 behind 18 ms of CPU and delay a request). But
        its copies wait, while those of a healthy handler wait for the loop.
        """
        runnable = self._probe.runnable_copies()
        if runnable is not None and unfinished:
            self._queued.append(max(0.0, 1 - runnable / unfinished))

    def look(self) -> None:
        """Look now; call it from the loop's thread, between its steps."""
        coroutines = [c for c in self._probe.coroutines() if c is not self._own]
        places: Counter[Stack] = Counter(suspended_stack(c) for c in coroutines)
        waiters = [Waiters(stack, n) for stack, n in places.most_common(_PLACES_KEPT) if stack]
        pools = [*_limiters(coroutines, self._limiter), *_executors(self._probe.default_executor)]
        self._note_pools(pools)
        # The middle of a burst is when most of its tasks still wait; a later look sees fewer.
        if sum(w.count for w in waiters) > self._most:
            self._most = sum(w.count for w in waiters)
            self.waiters = tuple(waiters)
            full = (pool for _, pool in pools if pool.waiting)
            self.pool = max(full, key=lambda pool: pool.waiting, default=None)
        if any(pool.waiting for _, pool in pools):
            self.workers = tuple(other_thread_stacks({threading.get_ident()}))

    def look_at_pools(self) -> None:
        """Look only at the pools that can be found without walking the tasks: cheap."""
        self._note_pools([*_limiters([], self._limiter), *_executors(self._probe.default_executor)])

    def _note_pools(self, pools: list[tuple[str, Pool]]) -> None:
        for key, pool in pools:
            seen = self.pools.get(key)
            if seen is None or pool.waiting > seen.waiting:
                self.pools[key] = pool


def _default_limiter() -> Any:
    module = sys.modules.get("anyio.to_thread")
    return None if module is None else module.current_default_thread_limiter()


def _limiters(coroutines: list[Any], default: Any) -> list[tuple[str, Pool]]:
    """Return anyio's limiters for worker threads: the default one, and those waited for."""
    limiters = set() if default is None else {default}
    for coroutine in coroutines:
        frames = list(suspended_frames(coroutine))
        if any(f.f_code.co_name == "run_sync_in_worker_thread" for f in frames):
            limiters |= {
                f.f_locals["self"] for f in frames if f.f_code.co_name == "acquire_on_behalf_of"
            }
    pools = []
    for limiter in limiters:
        use = limiter.statistics()
        if use.borrowed_tokens:
            size = int(min(use.total_tokens, 1 << 30))
            pool = Pool("anyio limiter", size, use.borrowed_tokens, use.tasks_waiting)
            pools.append((f"limiter {id(limiter)}", pool))
    return pools


def _executors(default: Any) -> list[tuple[str, Pool]]:
    """Return the standard thread pools that have work waiting; ``default`` is the loop's own."""
    # The one place where every worker of every ThreadPoolExecutor is known: thread -> its queue.
    workers: defaultdict[Any, list[int]] = defaultdict(list)
    for thread, queue in list(executors._threads_queues.items()):
        workers[queue].append(thread.ident or 0)
    default = getattr(default, "_work_queue", None)
    pools = []
    for queue, idents in workers.items():
        # Work that was given to a pool just now has a free thread, which has not taken it yet.
        if (
            queue.qsize()
            and (waiting := queue.qsize() - sum(not is_in(_RUN, ident) for ident in idents)) > 0
        ):
            size = len(idents)
            is_default = queue is default
            pool = Pool(
                "asyncio default executor" if is_default else "thread pool executor",
                size,
                size,
                waiting,
                sized_by_cpu_count=is_default and size == min(32, (os.cpu_count() or 1) + 4),
            )
            pools.append((f"executor {id(queue)}", pool))
    return pools
