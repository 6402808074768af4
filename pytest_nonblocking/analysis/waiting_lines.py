"""Where requests wait for one another: the line of the longest queue, at the end of its chain."""

from __future__ import annotations

from collections.abc import Sequence

from ..model import Culprit, Run, Waiters
from .culprits import Routes, culprit_of, definition, libraries, users, working_in_pools
from .places import Reader, Seen, place_of
from .queues import (
    is_for_a_thread,
    sleeps,
    waits_for_lock,
    waits_in_a_queue,
    workers_wait_for_locks,
)
from .tolerances import ALIKE, BESIDE, LOCK_IS_BOTTLENECK
from .votes import Path, length, longest


def line_of_queue(
    runs: Sequence[Run], reader: Reader, route: Routes, alone: float
) -> Culprit | None:
    """Return the line at which most tasks wait, or where their worker threads wait for a lock."""
    tasks = _waiting_tasks(runs, reader)
    workers = [sample for run in runs for sample in run.workers]
    working = working_in_pools(workers, reader)
    threads = working_in_pools(filter(waits_for_lock, workers), reader)
    # Beside a queue in the user's code, a task that waits for a thread is being served.
    others = [one for one in tasks if not any(map(is_for_a_thread, one.frames))]
    # Tasks wait for threads, which wait for a lock: the lock is the end of the chain.
    is_chain = workers_wait_for_locks(runs) or _is_longest(threads, working, users(others))
    is_chain = is_chain and length(threads) >= length(_at_locks(users(tasks)))
    if is_chain and (vote := longest(threads)):
        return culprit_of(vote, [seen for seen, _ in threads], "threads")
    # `def` handlers: a queue may be too short for most threads to wait in it.
    is_def = len(others) < len(tasks)
    is_def = is_def and not any(one.users for one in tasks if one.side != "test")
    if is_def and (vote := longest(working, threads)):
        return culprit_of(vote, [seen for seen, _ in working], "threads")
    is_queue = any(one.users and waits_in_a_queue(one.frames) for one in others)
    return _of_tasks(others if is_queue else tasks, runs, route, alone)


def line_of_pool(
    runs: Sequence[Run], reader: Reader, route: Routes, alone: float
) -> Culprit | None:
    """Return where tasks wait for a thread, or what the threads do for a `def` handler."""
    waiting = _of_tasks(_waiting_tasks(runs, reader), runs, route, alone)
    # A framework's own line, or none at all, is no culprit.
    if waiting is not None and not waiting.library and not waiting.is_route:
        return waiting
    threads = working_in_pools((s for run in runs for s in run.workers), reader)
    vote = longest(threads)
    return waiting if vote is None else culprit_of(vote, [seen for seen, _ in threads], "threads")


def _of_tasks(
    tasks: Sequence[Seen], runs: Sequence[Run], route: Routes, alone: float
) -> Culprit | None:
    """Return the place of the longest queue of tasks; a request alone waits for ``alone`` seconds.

    Lengths are in seconds only where tasks were seen waiting after the first pass.
    """
    copies = sum(run.concurrency for run in runs if run.waiters)
    looked = [run for run in runs if any(one.waited for one in run.waiters)]
    all_alone = alone * sum(run.concurrency for run in looked)
    app = [one for one in tasks if one.side != "test"]
    mine, others = users(app), libraries(app)
    if mine and BESIDE * length(mine) >= length(others):
        at_locks = _at_locks(mine)
        at_once = max((run.concurrency for run in runs), default=1)
        queues = at_locks or _fullest(mine, at_once)
        vote = longest(mine, queues, all_alone if at_locks else 0.0)
    elif not any(one.side == "app" for one in app) and (tests := users(tasks)):
        # Without requests, the test itself waits.
        vote = longest(tests, _at_locks(tests))
    elif vote := longest(others):
        return culprit_of(vote, tasks, "copies", copies=copies, library=True, route=route.handler())
    if vote is None:
        return definition(route.handler(), tasks)
    return culprit_of(vote, tasks, "copies", copies=copies)


def _waiting_tasks(runs: Sequence[Run], reader: Reader) -> list[Seen]:
    """Return the tasks that queue; those that wait for the client only as a fallback.

    A request may sleep until its turn comes (a token bucket). So tasks that sleep count, unless a
    queue is seen, and except for those that no request waits for.
    """
    waiters = [w for run in runs for w in run.waiters]
    first_pass = not any(w.waited for w in waiters)  # no look after the first pass
    read = (reader.read(w.stack, _length(w, first_pass), w.most or w.count) for w in waiters)
    tasks = [one for one in read if one is not None]
    of_app = [one for one in tasks if not one.for_client]
    turns = [one for one in of_app if not sleeps(one.frames)]
    if not any(one.users and _is_queue(one) for one in turns):
        turns = [one for one in of_app if not sleeps(one.frames) or _is_requests(one)]
    return turns or of_app or tasks


def _length(waiters: Waiters, first_pass: bool) -> float:
    return float(waiters.count) if first_pass else waiters.waited


def _is_queue(seen: Seen) -> bool:
    return waits_in_a_queue(seen.frames) or any(map(is_for_a_thread, seen.frames))


def _is_requests(seen: Seen) -> bool:
    """Return whether a request waits for this task, and not only the app in the background.

    Middleware of Starlette runs the rest of the app in a task that nothing awaits.
    """
    return seen.side == "app" or seen.handler is not None


def _at_locks(paths: Sequence[Path]) -> list[Path]:
    """Return the ``paths`` that wait for a lock or in a queue, and not for a thread."""
    return [(seen, path) for seen, path in paths if waits_in_a_queue(seen.frames)]


def _fullest(paths: Sequence[Path], copies: int) -> list[Path]:
    """Return the ``paths`` to the lines at which most copies were seen waiting at once.

    A token bucket that its copies sleep before, one each 18 ms, had the same length after the first
    pass as the sleep of 45 ms behind it: 7 of 8 copies, and never more than 3. Where nearly as many
    wait, they have passed no queue. A copy may have several tasks: the three sleeps that it gathers
    are no longer queue than the one answer that it waits for.
    """
    seen_at_once = [min(seen.times, copies) for seen, _ in paths]
    most = ALIKE * max(seen_at_once)
    return [path for path, times in zip(paths, seen_at_once, strict=True) if times >= most]


def _is_longest(locked: Sequence[Path], working: Sequence[Path], others: Sequence[Path]) -> bool:
    """Return whether the longest queue is that of threads for a lock, and not one of ``others``.

    It limits the calls that wait for it. Few of all threads may: those of another pool are busy.
    """
    vote = longest([*others, *locked], locked)
    calls = {place_of(path[0]) for seen, path in locked if vote and seen in vote.agreeing}
    waiting, whole = (
        sum(seen.weight for seen, path in paths if place_of(path[0]) in calls)
        for paths in (locked, working)
    )
    return waiting > LOCK_IS_BOTTLENECK * whole
