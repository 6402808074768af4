"""What the requests of a burst queue for, followed to the end of the chain of waits."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from math import ceil
from statistics import median
from typing import Literal

from ..model import FOR_THREADS, Cause, Evidence, Frame, Pool, Run, Sample, Stack
from .tolerances import IDLE_WHEN_LATE, LASTS_AS_LONG, LOCK_IS_BOTTLENECK

QUEUES = ("asyncio.locks", "asyncio.queues", "anyio._backends", "anyio._core._sync", "trio._sync")
"""Modules in which a task waits for a lock or in a queue."""
QueueKind = Literal["lock", "semaphore", "limiter", "queue", "connections", "rate", "processes"]
_KINDS: dict[str, QueueKind] = {
    "Lock": "lock",
    "Semaphore": "semaphore",
    "CapacityLimiter": "limiter",
    "Queue": "queue",
}
"""Parts of the names of classes of asyncio, anyio and trio."""
_CONNECTION_POOLS = (
    "sqlalchemy.pool",
    "sqlalchemy.util.queue",
    "asyncpg.pool",
    "psycopg_pool",
    "aiomysql.pool",
    "asyncmy.pool",
    "redis.asyncio.connection",
    "pymongo.asynchronous.pool",
    "httpcore._async.connection_pool",
    "aiohttp.connector",
)
_RATE_LIMITERS = ("aiolimiter", "asynciolimiter", "pyrate_limiter")
_SLEEPS = frozenset(("sleep", "__sleep0", "sleep_until", "sleep_forever"))
_TIMERS = ("asyncio.tasks", "anyio._core._eventloop", "trio._timeouts")
_TO_EXECUTOR = "run_in_executor"
_TRAPS = "trio._core."
_PASS_ON = ("anyio.from_thread", "anyio.streams", "starlette.middleware", "asgiref")
_AS_COMPLETED = "_wait_for_one"
"""The function in which ``asyncio.as_completed`` waits for the first of its tasks."""
OURS = "pytest_nonblocking."
_SERVES = (OURS, "uvicorn.", "hypercorn.")
_WORKER_MODULES = ("concurrent.futures.thread", "anyio._backends")
_POOL_PACKAGES = frozenset(("threading", "queue", "concurrent", "anyio", "asyncio", "selectors"))
_RESULTS = frozenset(("result", "_wait_for_tstate_lock", "join", "start"))
"""Functions in which a thread waits for another to start or finish, not for a contended lock."""
_IO = frozenset(("receive", "send", "accept"))
_OF_FUTURES = "concurrent.futures."
_FROM_THREAD = "task_wrapper"
"""The coroutine in which anyio runs what a worker thread calls with ``anyio.from_thread``."""


def fullest_pool(runs: Iterable[Run]) -> Pool | None:
    """Return the thread pool with the longest queue in any look, None if none had a queue."""
    pools = (pool for run in runs for pool in run.pools if pool.waiting)
    return max(pools, key=lambda pool: pool.waiting, default=None)


def pool_waited_for(runs: Sequence[Run], singles: Sequence[Run] = ()) -> Pool | None:
    """Return the thread pool with the longest queue, integrated over time after the first pass.

    None if locks and queues of tasks held up more work: copies that all ask for a thread and then
    wait for a lock fill a pool for a moment only. Without a look after the first pass, it is the
    pool that was fullest. ``singles`` show whether calls wait for one another in the threads.
    """
    if not any(waiters.waited for run in runs for waiters in run.waiters):
        return fullest_pool(runs)
    pools = (pool for run in runs for pool in run.pools if pool.waited > 0)
    longest = max(pools, key=lambda pool: pool.waited, default=None)
    if longest is None or _threads_queue(longest, runs, singles):
        return None
    in_queues = sum(w.waited for run in runs for w in run.waiters if waits_in_a_queue(w.stack))
    in_pools = sum(pool.waited for run in runs for pool in run.pools)
    return longest if in_pools >= in_queues else None


def above_traps(stack: Stack) -> Iterator[Frame]:
    """Yield the frames from the innermost outwards, without those in which trio suspends a task."""
    return itertools.dropwhile(lambda frame: frame.module.startswith(_TRAPS), reversed(stack))


def waiting_frame(stack: Stack) -> Frame:
    """Return the frame that shows what a task waits for: a sleep, a lock, or a queue."""
    return next(above_traps(stack), stack[-1])


def sleeps(stack: Stack) -> bool:
    """Return whether a task waits for a timer."""
    if not stack:
        return False
    frame = waiting_frame(stack)
    return frame.leaf in _SLEEPS and frame.module.startswith(_TIMERS)


def is_for_a_thread(frame: Frame) -> bool:
    """Return whether ``frame`` runs a function in a thread and waits for it."""
    return frame.leaf in FOR_THREADS


def kind_of_queue(stack: Stack) -> QueueKind | None:
    """Return what kind of resource a task waits for, None if it is not known.

    CPython 3.10 does not name the class whose method waits.
    """
    if any(frame.module.startswith(_CONNECTION_POOLS) for frame in stack):
        return "connections"
    if any(frame.module.startswith(_RATE_LIMITERS) for frame in stack):
        return "rate"
    kind: QueueKind | None = None
    for frame in above_traps(stack):
        if not frame.module.startswith(QUEUES):
            # SQLAlchemy's pool waits in a greenlet, whose frames a task does not show.
            return "connections" if kind and frame.module.startswith("sqlalchemy.") else kind
        named = (kind for name, kind in _KINDS.items() if name in frame.function.partition(".")[0])
        kind = kind or next(named, None)
    return kind


def kind_of_lock(stack: Stack) -> QueueKind | None:
    """Return what kind of resource a thread waits for, None if it is not known."""
    if any(frame.module.startswith(_CONNECTION_POOLS) for frame in stack):
        return "connections"
    for frame in reversed(stack):
        if frame.module == "queue":
            return "queue"
        if frame.module != "threading":
            return "lock" if frame is stack[-1] else None
        if frame.leaf == "acquire":
            return "semaphore"
    return None


def waits_for_processes(code: str, runs: Iterable[Run]) -> bool:
    """Return whether tasks at ``code`` wait for a process pool: child processes compute for them.

    Such a task waits for a future, which has no frame; of thread pools, the queue is known.
    """
    return _TO_EXECUTOR in code and any(run.budget.child_cpu > 0 for run in runs)


def _is_io(frame: Frame) -> bool:
    """Return whether a task waits for a socket in ``frame``, by an event of anyio's."""
    return frame.module.startswith("anyio._backends") and frame.leaf in _IO


def waits_in_a_queue(stack: Stack) -> bool:
    """Return whether a task waits for a lock or in a queue, and not for a thread.

    Middleware that awaits a task of its framework is excluded: it waits for an event too. So do
    lifespans and servers, for the client, and the portal of a test client, for the end of a call
    (from anyio 4.16 on).
    """
    if not stack or not waiting_frame(stack).module.startswith(QUEUES):
        return False
    for frame in above_traps(stack):
        if is_for_a_thread(frame) or frame.leaf == _AS_COMPLETED or _is_io(frame):
            return False
        if not frame.module.startswith(QUEUES):
            return not frame.module.startswith((*_PASS_ON, *_SERVES))
    return True


def _threads_queue(pool: Pool, runs: Sequence[Run], singles: Sequence[Run]) -> bool:
    """Return whether the calls in the threads of a full ``pool`` wait for one another.

    They do at a lock that limits them. If they wait for events or conditions, what they wait for
    may be an answer, which takes as long alone; then each thread is held for no longer than a
    request takes alone, and more threads would help. n threads serve m copies in m / n waves. A
    lock that limits a pool is contended for as long as the pool is full: one that is not is taken
    by other threads, before or after the pool.
    """
    if not workers_wait_for_locks(runs):
        return False
    full_for = sum(max((one.contended for one in run.pools), default=0.0) for run in runs)
    is_brief = sum(map(locked_for, runs)) < LASTS_AS_LONG * full_for
    if is_brief and any(run.contended for run in runs) and _limited_by_a_lock(runs):
        return False
    if _limited_by_a_lock(runs) or not singles:
        return True
    alone = median(single.undisturbed for single in singles)
    full = [run for run in runs if any(one.waited > 0 for one in run.pools)]
    held = min(run.undisturbed / ceil(run.concurrency / max(1, pool.size)) for run in full)
    return held * (1 - LOCK_IS_BOTTLENECK) > alone


def waits_for(runs: Sequence[Run], singles: Sequence[Run] = ()) -> tuple[Cause, Pool | None]:
    """Return the cause to which idle time is charged, and the pool if that is the cause."""
    pool = pool_waited_for(runs, singles)
    return ("serialised-wait", None) if pool is None else ("thread-pool", pool)


def was_held(run: Run) -> bool:
    """Return whether the loop of a run that timed out was held, not only seen within a callback.

    Its own looks and other short callbacks are seen as well in a run that waits idly.
    """
    return run.stuck is not None and run.budget.idle <= IDLE_WHEN_LATE * run.makespan


def hangs_alone(evidence: Evidence) -> bool:
    """Return whether a single run timed out while its loop was idle: it waits for no other copy."""
    late = evidence.late
    return late is not None and late.concurrency == 1 and not was_held(late)


def waits_for_lock(sample: Sample) -> bool:
    """Return whether a thread was seen waiting for a contended lock."""
    if sample.state != "lock":
        return False
    # A lock taken in C has no frame: the innermost one is the line that takes it.
    return sample.stack[-1].leaf not in _RESULTS


def locked_for(run: Run) -> float:
    """Return for how many seconds worker threads were seen waiting for one lock."""
    locks = (one for one in run.contended if works_in_a_pool(one) and waits_for_lock(one))
    return max((one.weight for one in locks if is_at_a_lock(one)), default=0.0)


def workers_wait_for_locks(runs: Sequence[Run]) -> bool:
    """Return whether worker threads wait so long that more threads would not help.

    What notifies a condition or sets an event may do so for all at once: such waits count as a
    queue only if they are more than half of the work.
    """
    waiting, whole = _waits_of_workers(runs)
    return 2 * sum(sample.weight for sample in waiting) > whole or _limited_by_a_lock(runs)


def _limited_by_a_lock(runs: Sequence[Run]) -> bool:
    """Return whether worker threads wait for locks and semaphores so long that these limit them."""
    waiting, whole = _waits_of_workers(runs)
    at_locks = sum(sample.weight for sample in waiting if is_at_a_lock(sample))
    return at_locks > LOCK_IS_BOTTLENECK * whole


def _waits_of_workers(runs: Sequence[Run]) -> tuple[list[Sample], float]:
    """Return the samples of worker threads that wait, and the time that all samples stand for.

    If threads wait for what queues for a thread itself, the queue is the pool, not a lock.
    """
    workers = [sample for run in runs for sample in run.workers if works_in_a_pool(sample)]
    waiting = [sample for sample in workers if waits_for_lock(sample)]
    if _results_need_a_thread(runs):
        waiting = [sample for sample in waiting if not _waits_for_result(sample)]
    return waiting, sum(sample.weight for sample in workers)


def is_at_a_lock(sample: Sample) -> bool:
    """Return whether a thread acquires a lock or a semaphore, which one thread or few may hold."""
    last = sample.stack[-1]
    return last.module != "threading" or any(
        frame.module == "threading" and frame.leaf == "acquire" for frame in sample.stack[-3:]
    )


def _waits_for_result(sample: Sample) -> bool:
    """Return whether a thread was seen waiting for futures."""
    outwards = reversed(sample.stack)
    above = itertools.dropwhile(lambda frame: frame.module == "threading", outwards)
    return next(above, sample.stack[-1]).module.startswith(_OF_FUTURES)


def threads_wait_for_threads(runs: Sequence[Run]) -> bool:
    """Return whether worker threads mostly wait for calls that queue for a thread themselves."""
    workers = [sample for run in runs for sample in run.workers if works_in_a_pool(sample)]
    waiting = sum(s.weight for s in workers if waits_for_lock(s) and _waits_for_result(s))
    return _results_need_a_thread(runs) and 2 * waiting > sum(s.weight for s in workers)


def _results_need_a_thread(runs: Sequence[Run]) -> bool:
    """Return whether calls that worker threads wait for queue for a thread themselves."""
    executors = (pool for run in runs for pool in run.pools if pool.name != "anyio limiter")
    if any(pool.waited > 0 for pool in executors):
        return True
    stacks = (waiters.stack for run in runs for waiters in run.waiters if waiters.waited > 0)
    return any(
        any(frame.leaf == _FROM_THREAD for frame in stack) and any(map(is_for_a_thread, stack))
        for stack in stacks
    )


def works_in_a_pool(sample: Sample) -> bool:
    """Return whether a pool's thread has work: a frame below the pool's own code, or C code."""
    last = sample.stack[-1]
    if last.module.startswith(_WORKER_MODULES) and last.leaf == "run":
        return True  # it calls a function in C, which has no frame
    modules = [frame.module for frame in sample.stack]
    return any(module.startswith(_WORKER_MODULES) for module in modules) and any(
        module.partition(".")[0] not in _POOL_PACKAGES for module in modules
    )
