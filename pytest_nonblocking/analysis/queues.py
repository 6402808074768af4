"""For what the requests of a burst queue, followed to the end of the chain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..results import Cause, Pool, Run, Sample

_POOL_PACKAGES = frozenset(("threading", "queue", "concurrent", "anyio", "asyncio", "selectors"))
_RESULTS = frozenset(("result", "_wait_for_tstate_lock", "join", "start"))
"""Functions of ``threading`` in which a thread waits for an end, and not for its turn."""


def fullest_pool(runs: Iterable[Run]) -> Pool | None:
    """Return the pool of threads for which most work was seen waiting, if any did."""
    pools = (pool for run in runs for pool in run.pools if pool.waiting)
    return max(pools, key=lambda pool: pool.waiting, default=None)


def pool_waited_for(runs: Sequence[Run]) -> Pool | None:
    """Return the pool of threads in whose queue most work waited after the first pass.

    Where all copies ask for threads and then wait for a lock, a pool is full for a moment only.
    Without a look at the queues after it, it is the one that was fullest.
    """
    if not any(waiters.waited for run in runs for waiters in run.waiters):
        return fullest_pool(runs)
    pools = (pool for run in runs for pool in run.pools if pool.waited > 0)
    longest = max(pools, key=lambda pool: pool.waited, default=None)
    if longest is None or workers_wait_for_locks(runs):
        return None
    # Tasks that wait for a thread are a part of all tasks that wait: where they are few, most
    # of the copies wait for something else.
    waiting = sum(w.waited for run in runs for w in run.waiters)
    in_pools = sum(pool.waited for run in runs for pool in run.pools)
    return longest if in_pools >= waiting / 4 else None


def waits_for(runs: Sequence[Run]) -> tuple[Cause, Pool | None]:
    """Return the cause of the loop's idle time, and the pool behind it if it is one."""
    pool = pool_waited_for(runs)
    return ("serialised-wait", None) if pool is None else ("thread-pool", pool)


def waits_for_lock(sample: Sample) -> bool:
    """Return whether a thread was seen to wait for its turn at a lock."""
    if sample.state != "lock":
        return False
    # Where a lock is taken in C, the line that takes it is the innermost.
    return sample.stack[-1].function.rpartition(".")[2] not in _RESULTS


def workers_wait_for_locks(runs: Sequence[Run]) -> bool:
    """Return whether most of the threads that work for requests wait for their turn at a lock."""
    workers = [sample for run in runs for sample in run.workers if not is_idle_worker(sample)]
    waiting = sum(sample.weight for sample in workers if waits_for_lock(sample))
    return waiting > sum(sample.weight for sample in workers) / 2


def is_idle_worker(sample: Sample) -> bool:
    """Return whether a thread has no work: all of its stack is its pool's own code."""
    return all(frame.module.partition(".")[0] in _POOL_PACKAGES for frame in sample.stack)
