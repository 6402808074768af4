"""For what the requests of a burst queue, followed to the end of the chain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..model import Cause, Evidence, Pool, Run, Sample, Stack

QUEUES = ("asyncio.locks", "asyncio.queues", "anyio._backends", "anyio._core._sync", "trio._sync")
"""Modules in which a task waits for its turn."""
_PASS_ON = ("anyio.streams", "starlette.middleware", "asgiref")
_FOR_A_THREAD = "run_sync_in_worker_thread"
_WORKER_MODULES = ("concurrent.futures.thread", "anyio._backends")
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
    in_queues = sum(w.waited for run in runs for w in run.waiters if waits_in_a_queue(w.stack))
    in_pools = sum(pool.waited for run in runs for pool in run.pools)
    return longest if in_pools >= in_queues else None


def waits_in_a_queue(stack: Stack) -> bool:
    """Return whether a task waits for its turn at a lock or in a queue, and not for a thread.

    A middleware that waits for another task of its framework's waits at an event too.
    """
    return (
        bool(stack)
        and stack[-1].module.startswith(QUEUES)
        and not any(
            frame.module.startswith(_PASS_ON) or frame.function.endswith(_FOR_A_THREAD)
            for frame in stack
        )
    )


def waits_for(runs: Sequence[Run]) -> tuple[Cause, Pool | None]:
    """Return the cause of the loop's idle time, and the pool behind it if it is one."""
    pool = pool_waited_for(runs)
    return ("serialised-wait", None) if pool is None else ("thread-pool", pool)


def hangs_alone(evidence: Evidence) -> bool:
    """Return whether a lone run did not end while its loop was idle: it queues behind nobody."""
    late = next((run for run in evidence.runs if run.timed_out), None)
    return late is not None and late.concurrency == 1 and late.stuck is None


def waits_for_lock(sample: Sample) -> bool:
    """Return whether a thread was seen to wait for its turn at a lock."""
    if sample.state != "lock":
        return False
    # Where a lock is taken in C, the line that takes it is the innermost.
    return sample.stack[-1].function.rpartition(".")[2] not in _RESULTS


def workers_wait_for_locks(runs: Sequence[Run]) -> bool:
    """Return whether most of the threads that work for requests wait for their turn at a lock."""
    workers = [sample for run in runs for sample in run.workers if works_in_a_pool(sample)]
    waiting = sum(sample.weight for sample in workers if waits_for_lock(sample))
    return waiting > sum(sample.weight for sample in workers) / 2


def works_in_a_pool(sample: Sample) -> bool:
    """Return whether a thread of a pool has work: a frame below the pool's own code."""
    modules = [frame.module for frame in sample.stack]
    return any(module.startswith(_WORKER_MODULES) for module in modules) and any(
        module.partition(".")[0] not in _POOL_PACKAGES for module in modules
    )
