"""How much of the waiting in bursts was seen to be in queues, and for how long."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..model import Frame, Run, Stack
from .queues import (
    OURS,
    QUEUES,
    above_traps,
    is_at_a_lock,
    is_for_a_thread,
    kind_of_queue,
    locked_for,
    sleeps,
    waiting_frame,
    waits_for_lock,
    waits_in_a_queue,
    works_in_a_pool,
)


@dataclass(frozen=True, slots=True)
class Queued:
    """The share of the waiting that was seen in queues, from 0 to 1; 0 if nobody looked in time.

    ``share`` is that for what is handed to one copy after another, in all looks or in the one with
    most tasks waiting: a queue of few passes is empty early. ``not_for_cores`` leaves out pools
    whose workers compute, and lines for a process: more cores would shorten their queue, as that
    of an executor's processes, in which no task is seen. ``asleep`` is the share of the waiting
    outside of queues that is for a timer: what a queue waits for is what its first copies wait for.
    """

    share: float = 0.0
    not_for_cores: float = 0.0
    asleep: float = 0.0


def seen_queued(runs: Sequence[Run]) -> Queued:
    """Return how much of the waiting was seen in queues."""
    waiters = [one for run in runs for one in run.waiters if not _is_passed_on(one.stack)]
    queues = [one for one in waiters if waits_in_a_queue(one.stack)]
    pools = [pool for run in runs for pool in run.pools]
    in_line = [one for one in queues if _is_in_line(one.stack)]
    queued = sum(one.count for one in in_line) + sum(pool.waiting for pool in pools)
    most = min(1.0, queued / max(1, sum(one.count for one in waiters)))
    waited = sum(one.waited for one in waiters)
    if not waited:
        return Queued(most)
    in_queues = sum(one.waited for one in queues)
    in_pools = sum(pool.waited for pool in pools)
    workers = [sample for run in runs for sample in run.workers if works_in_a_pool(sample)]
    whole = sum(sample.weight for sample in workers) or 1.0
    computing = sum(s.weight for s in workers if s.state in ("running", "gil")) / whole
    locked = [sample for sample in workers if waits_for_lock(sample)]
    in_threads = (waited - in_queues) * sum(sample.weight for sample in locked) / whole
    at_locks = sum(sample.weight for sample in locked if is_at_a_lock(sample)) / whole
    for_processes = sum(one.waited for one in queues if _is_for_a_process(one.stack))
    not_for_cores = in_queues - for_processes + in_pools * (1 - computing) + in_threads
    lines = sum(one.waited for one in in_line) + in_pools + (waited - in_queues) * at_locks
    for_timers = sum(one.waited for one in waiters if sleeps(one.stack))
    outside = max(0.0, waited - in_queues - in_pools)
    asleep = for_timers / outside if outside > 0 else 0.0
    share = min(1.0, lines / waited)
    return Queued(max(most, share), min(1.0, not_for_cores / waited), min(1.0, asleep))


def contended_for(run: Run) -> float:
    """Return for how many seconds copies were seen waiting for what another one held.

    Whoever waits for a lock, a connection or a thread waits for another that holds it. For as long
    as anyone does, it is in use, and its use is the demand of all copies (the utilisation law). An
    event or an answer may be late by itself, and is no such wait.
    """
    tasks = (one.contended for one in run.waiters if _is_held_by_another(one.stack))
    pools = (pool.contended for pool in run.pools)
    return max((*tasks, *pools, locked_for(run)))


def _is_in_line(stack: Stack) -> bool:
    """Return whether a task in a queue waits for what is handed to one task after another.

    A queue or a condition may be a pool of connections. An event is set for all that wait for it,
    and may be a copy's own. CPython 3.10 names the method and not its class.
    """
    waiting = _in_queues(stack)
    return not all(frame.leaf == "wait" and "Condition" not in frame.function for frame in waiting)


def _is_held_by_another(stack: Stack) -> bool:
    """Return whether a task acquires a lock, a semaphore or a connection."""
    if not waits_in_a_queue(stack):
        return False
    if kind_of_queue(stack) == "connections":
        return True
    return any(frame.leaf.startswith("acquire") for frame in _in_queues(stack))


def _in_queues(stack: Stack) -> Iterator[Frame]:
    """Return the frames of locks and queues in which a task waits, from the innermost one on."""
    return itertools.takewhile(lambda f: f.module.startswith(QUEUES), above_traps(stack))


def _is_for_a_process(stack: Stack) -> bool:
    """Return whether a task waits for one of anyio's processes, of which it starts one a core."""
    return any(frame.module == "anyio.to_process" for frame in stack)


def _is_passed_on(stack: Stack) -> bool:
    """Return whether a task only waits for another one, which is seen itself.

    The client in this process is such a task: it waits for that of its request.
    """
    if not stack:
        return False
    module = waiting_frame(stack).module
    is_in_queue = module.startswith(QUEUES) and not waits_in_a_queue(stack)
    is_in_queue = is_in_queue and not any(map(is_for_a_thread, stack))
    return is_in_queue or module.startswith(OURS)
