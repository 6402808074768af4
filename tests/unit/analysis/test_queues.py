"""For what the requests of a burst queue, from literal looks at them."""

from dataclasses import replace

import pytest
from budgets import run

from pytest_nonblocking.analysis.queued import contended_for, seen_queued
from pytest_nonblocking.analysis.queues import (
    fullest_pool,
    pool_waited_for,
    waits_for,
    waits_in_a_queue,
    workers_wait_for_locks,
    works_in_a_pool,
)
from pytest_nonblocking.model import Frame, Pool, Sample, Waiters

HANDLER = Frame("/app/api.py", 12, "handler", "app.api")


def inside(module, function="wait"):
    return Frame(f"/lib/{module}.py", 1, function, module)


def pool(waiting=46, waited=0.0, size=4):
    return Pool("thread pool executor", size, size, waiting, waited=waited)


def worker(state, *frames, weight=0.01):
    pool = inside("concurrent.futures.thread", "_worker")
    return Sample((inside("threading", "run"), pool, *frames), state, weight)


def burst(*, waited=(), pools=(), workers=()):
    waiters = tuple(Waiters((), 40, seconds) for seconds in waited)
    return run(50, idle=500, waiters=waiters, pools=tuple(pools), workers=tuple(workers))


def test_requests_that_wait_for_no_pool_wait_for_one_another():
    assert waits_for([burst(waited=[1.0])]) == ("serialised-wait", None)


def test_requests_that_wait_for_a_thread_wait_for_its_pool():
    full = pool(waited=0.8)
    assert waits_for([burst(waited=[1.0], pools=[full])]) == ("thread-pool", full)


def test_before_anyone_has_looked_at_the_queues_the_fullest_pool_is_meant():
    few, many = pool(waiting=3), pool(waiting=40)
    assert waits_for([burst(pools=[few]), burst(pools=[many])]) == ("thread-pool", many)


def test_a_pool_in_which_nothing_waits_is_not_full():
    assert fullest_pool([burst(pools=[pool(waiting=0)])]) is None


def test_of_two_pools_the_one_with_the_longer_queue_over_the_burst_is_meant():
    brief, long = pool(waiting=49, waited=0.3), pool(waiting=10, waited=0.7)
    assert pool_waited_for([burst(waited=[1.0], pools=[brief, long])]) is long


def test_a_pool_that_was_full_in_the_first_moment_only_is_not_the_queue():
    assert pool_waited_for([burst(waited=[1.0], pools=[pool(waiting=49, waited=0.0)])]) is None


AT_A_LOCK = (HANDLER, inside("asyncio.locks", "Lock.acquire"))
FOR_A_THREAD = (
    HANDLER,
    inside("anyio._backends._asyncio", "AsyncIOBackend.run_sync_in_worker_thread"),
)
BEHIND_A_MIDDLEWARE = (inside("anyio.streams.memory"), inside("anyio._backends._asyncio"))


@pytest.mark.parametrize(("at_lock", "meant"), [(0.7, False), (0.5, True)])
def test_of_a_pool_and_a_lock_the_one_with_the_longer_queue_is_meant(at_lock, meant):
    waiters = (Waiters(AT_A_LOCK, 40, at_lock), Waiters(FOR_A_THREAD, 40, 1.0))
    seen = run(50, idle=500, waiters=waiters, pools=(pool(waited=0.6),))
    assert (pool_waited_for([seen]) is not None) is meant


def test_a_middleware_that_waits_for_its_handler_is_no_queue_for_a_lock():
    waiters = (Waiters(BEHIND_A_MIDDLEWARE, 50, 2.0), Waiters(FOR_A_THREAD, 50, 2.0))
    seen = run(50, idle=500, waiters=waiters, pools=(pool(waited=0.6),))
    assert pool_waited_for([seen]) is not None


@pytest.mark.parametrize("module", ["pytest_nonblocking.asgi.lifespan", "uvicorn.lifespan.on"])
def test_a_lifespan_that_waits_during_the_whole_burst_is_no_queue(module):
    lifespan = (inside(module, "_receive"), inside("asyncio.locks", "Event.wait"))
    assert not waits_in_a_queue(lifespan)
    # Seen in the first pass only, which counts for next to nothing.
    brief = pool(waiting=6, waited=6e-9)
    seen = run(8, idle=80, waiters=(Waiters(lifespan, 1, 0.04),), pools=(brief,))
    assert waits_for([seen]) == ("thread-pool", brief)


def test_a_portal_that_waits_for_the_call_of_a_test_client_is_no_queue():
    portal = inside("anyio.from_thread", "BlockingPortal._call_func")
    event = inside("anyio._backends._asyncio", "Event.wait"), inside("asyncio.locks", "Event.wait")
    assert not waits_in_a_queue((portal, *event))
    assert waits_in_a_queue((portal, HANDLER, *event))


def test_a_handler_below_a_middleware_queues_for_its_lock():
    # Starlette's BaseHTTPMiddleware runs the rest of the app in a task that it has begun.
    below = (inside("starlette.middleware.base", "coro"), HANDLER, inside("asyncio.locks"))
    looked = run(
        50, idle=500, waiters=(Waiters(below, 40, 9.0),), pools=(pool(waiting=10, waited=0.5),)
    )
    assert waits_for([looked]) == ("serialised-wait", None)


@pytest.mark.parametrize("method", ["SocketStream.receive", "receive"])
def test_a_task_that_waits_for_a_socket_of_anyio_is_in_no_queue(method):
    socket = (inside("anyio._backends._asyncio", method), inside("asyncio.locks", "Event.wait"))
    assert not waits_in_a_queue((HANDLER, inside("httpcore._backends.anyio", "read"), *socket))
    event = (inside("anyio._backends._asyncio", "Event.wait"), socket[1])
    assert waits_in_a_queue((HANDLER, inside("httpcore._synchronization", "wait"), *event))


def test_a_task_that_takes_other_tasks_as_they_complete_is_in_no_queue_itself():
    completed = (inside("asyncio.tasks", "_wait_for_one"), inside("asyncio.queues", "Queue.get"))
    assert not waits_in_a_queue((HANDLER, *completed))
    in_time = (inside("asyncio.tasks", "wait_for"), inside("asyncio.locks", "Lock.acquire"))
    assert waits_in_a_queue((HANDLER, *in_time))


TRAP = (inside("trio._core._traps", "wait_task_rescheduled"), inside("trio._core._traps"))


@pytest.mark.parametrize(("module", "queues"), [("trio._sync", True), ("trio._timeouts", False)])
def test_on_trio_a_lock_is_a_queue_and_a_sleep_is_none(module, queues):
    assert waits_in_a_queue((HANDLER, inside(module), *TRAP)) is queues


def test_on_trio_a_task_waits_for_a_thread_at_a_limiter():
    limiter = inside("trio._sync", "CapacityLimiter.acquire_on_behalf_of")
    for_a_thread = (HANDLER, inside("trio._threads", "to_thread_run_sync"), limiter, *TRAP)
    assert not waits_in_a_queue(for_a_thread)
    assert waits_in_a_queue((HANDLER, limiter, *TRAP))


def test_copies_that_queue_for_threads_which_queue_for_a_lock_wait_for_the_lock():
    # More threads would not help.
    stuck = [worker("lock", HANDLER) for _ in range(3)]
    full = burst(waited=[1.0], pools=[pool(waited=0.9)], workers=[*stuck, worker("running")])
    assert waits_for([full]) == ("serialised-wait", None)


SEMAPHORE = inside("threading", "Semaphore.acquire"), inside("threading", "Condition.wait")
EVENT = inside("threading", "Event.wait"), inside("threading", "Condition.wait")


@pytest.mark.parametrize(
    ("frames", "share", "is_bottleneck"),
    [((), 0.25, True), ((), 0.15, False), (SEMAPHORE, 0.25, True), (EVENT, 0.4, False)],
)
def test_a_lock_that_threads_wait_for_a_fifth_of_their_time_is_the_bottleneck(
    frames, share, is_bottleneck
):
    # A pool of 6 threads around a semaphore of 3 passed: the pool was taken for small by few cores.
    stuck = worker("lock", HANDLER, *frames, weight=share)
    serving = worker("sleep", HANDLER, weight=1 - share)
    full = burst(waited=[1.0], pools=[pool(waited=0.9)], workers=[stuck, serving])
    cause, _ = waits_for([full])
    assert cause == ("serialised-wait" if is_bottleneck else "thread-pool")


@pytest.mark.parametrize(
    ("idle", "is_pool"), [(520, True), (800, False)], ids=["as long as alone", "longer"]
)
def test_calls_that_stay_in_the_threads_as_long_as_alone_wait_for_none_of_the_others(idle, is_pool):
    # Each call waits on a condition for its answer. Four threads serve 50 calls in 13 waves.
    answers = worker("lock", HANDLER, *EVENT)
    full = pool(waited=0.9)
    calls = run(50, idle=idle, waiters=(Waiters((), 40, 1.0),), pools=(full,), workers=(answers,))
    cause, _ = waits_for([calls], [run(1, idle=40)])
    assert cause == ("thread-pool" if is_pool else "serialised-wait")


def test_threads_that_run_c_code_are_at_work_beside_one_that_waits_for_a_lock():
    # As in `run_in_executor(None, time.sleep, 1)`.
    sleeps = Sample((inside("concurrent.futures.thread", "_WorkItem.run"),), "sleep", 0.02)
    assert works_in_a_pool(sleeps)
    assert not workers_wait_for_locks([burst(workers=[worker("lock", HANDLER), sleeps, sleeps])])


@pytest.mark.parametrize("function", ["Future.result", "result", "Thread.join", "Thread.start"])
def test_a_worker_that_waits_for_a_result_is_in_no_queue(function):
    waits = worker("lock", HANDLER, inside("threading", function))
    assert not workers_wait_for_locks([burst(workers=[waits])])


def test_the_time_for_which_workers_were_seen_counts_and_not_how_often():
    briefly = [worker("lock", HANDLER, weight=0.0004)] * 5
    assert not workers_wait_for_locks([burst(workers=[*briefly, worker("blocked", HANDLER)])])
    assert workers_wait_for_locks([burst(workers=[worker("lock", HANDLER, weight=0.02), *briefly])])


def test_workers_without_work_do_not_count():
    # All of the stack is the pool's own code: it waits in its queue, by a lock.
    idle = worker("lock", inside("queue", "get"))
    assert not works_in_a_pool(idle)
    assert not workers_wait_for_locks([burst(workers=[*[idle] * 9, worker("running", HANDLER)])])
    assert works_in_a_pool(worker("lock", HANDLER))


def test_a_thread_of_no_pool_does_not_count():
    other = Sample((inside("threading", "run"), HANDLER), "lock", 1.0)
    assert not works_in_a_pool(other)
    assert not workers_wait_for_locks([burst(workers=[other])])
    anyio = Sample((inside("anyio._backends._asyncio", "run"), HANDLER), "lock", 1.0)
    assert workers_wait_for_locks([burst(workers=[anyio])])


def waits_for_a_result(*frames):
    # As `executor.submit(work).result()`.
    waits = (inside("concurrent.futures._base", "Future.result"), inside("threading"))
    return worker("lock", HANDLER, *frames, *waits)


def test_threads_that_wait_for_a_call_that_waits_for_a_thread_are_no_queue_for_a_lock():
    full = pool(waited=0.9)
    stuck = burst(waited=[1.0], pools=[full], workers=[waits_for_a_result()])
    assert waits_for([stuck]) == ("thread-pool", full)


def test_threads_that_wait_for_a_process_are_not_helped_by_more_threads():
    full = Pool("anyio limiter", 40, 40, 10, waited=0.9)
    seen = burst(waited=[1.0], pools=[full], workers=[waits_for_a_result()])
    assert waits_for([seen]) == ("serialised-wait", None)


def test_threads_that_wait_for_a_coroutine_that_waits_for_a_thread_wait_for_the_pool():
    full = Pool("anyio limiter", 40, 40, 50, waited=0.9)
    from_thread = inside("anyio._backends._asyncio", "run_async_from_thread.<locals>.task_wrapper")
    nested = Waiters((from_thread, *FOR_A_THREAD), 40, 1.0)
    seen = run(50, idle=500, waiters=(nested,), pools=(full,), workers=(waits_for_a_result(),))
    assert waits_for([seen]) == ("thread-pool", full)


LOCK = (HANDLER, inside("asyncio.locks", "Lock.acquire"))
MIDDLEWARE = (inside("starlette.middleware.base"), inside("asyncio.locks", "Event.wait"))
FUTURE = (HANDLER,)
FOR_A_CONDITION = (HANDLER, inside("asyncio.locks", "Condition.wait"))
UNTIL_TRUE = (HANDLER, inside("asyncio.locks", "wait_for"), inside("asyncio.locks", "wait"))
"""On CPython 3.10, which does not name the class."""
IN_A_QUEUE = (HANDLER, inside("asyncio.queues", "get"))
FOR_AN_EVENT = (HANDLER, inside("asyncio.locks", "Event.wait"))
FOR_A_PROCESS = (
    HANDLER,
    inside("anyio.to_process", "run_sync"),
    inside("anyio._backends._asyncio", "CapacityLimiter.acquire_on_behalf_of"),
    inside("asyncio.locks", "Event.wait"),
)


def waiting(*waited, **others):
    waiters = tuple(Waiters(stack, 40, seconds) for stack, seconds in waited)
    return run(50, idle=500, waiters=waiters, **others)


@pytest.mark.parametrize(
    ("seen", "share"),
    [
        (waiting(), 0),
        (waiting((FUTURE, 3.0)), 0),
        (waiting((FUTURE, 3.0), (LOCK, 1.0)), 0.25),
        (waiting((MIDDLEWARE, 4.0), (FUTURE, 3.0), (LOCK, 1.0)), 0.25),
        (waiting((FUTURE, 4.0), pools=(pool(waited=3.0),)), 0.75),
        (
            waiting((FUTURE, 4.0), pools=(pool(waited=3.0),), workers=(worker("sleep", HANDLER),)),
            0.75,
        ),
        (
            waiting(
                (FUTURE, 4.0), pools=(pool(waited=3.0),), workers=(worker("running", HANDLER),)
            ),
            0,
        ),
        (waiting((FUTURE, 4.0), pools=(pool(waited=3.0),), workers=(worker("gil", HANDLER),)), 0),
        (waiting((FUTURE, 4.0), workers=(worker("lock", HANDLER),)), 1),
        (waiting((FUTURE, 1.0), (FOR_A_PROCESS, 3.0)), 0),
        (waiting((FUTURE, 1.0), (FOR_A_PROCESS, 2.0), (LOCK, 1.0)), 0.25),
        (
            waiting(
                (FUTURE, 4.0),
                workers=(worker("lock", HANDLER), worker("running", HANDLER, weight=0.03)),
            ),
            0.25,
        ),
    ],
)
def test_the_share_of_the_waiting_that_more_cores_would_not_shorten(seen, share):
    assert seen_queued([seen]).not_for_cores == pytest.approx(share)


@pytest.mark.parametrize(
    ("waiters", "pools", "share"),
    [
        ([Waiters(FUTURE, 40, 4.0)], (), 0),
        ([Waiters(FUTURE, 40, 3.0), Waiters(LOCK, 4, 1.0)], (), 0.25),
        # An event may come late by itself.
        ([Waiters(FUTURE, 40, 3.0), Waiters(FOR_AN_EVENT, 4, 1.0)], (), 0),
        # A pool of connections may be made of a queue.
        ([Waiters(FUTURE, 40, 3.0), Waiters(IN_A_QUEUE, 4, 1.0)], (), 0.25),
        ([Waiters(FUTURE, 40, 3.0), Waiters(FOR_A_CONDITION, 4, 1.0)], (), 0.25),
        ([Waiters(FUTURE, 40, 3.0), Waiters(UNTIL_TRUE, 4, 1.0)], (), 0.25),
        # Of eight copies four had to wait, before the first pass was over.
        ([Waiters(FUTURE, 4, 4.0), Waiters(LOCK, 4, 0.0)], (), 0.5),
        ([Waiters(FUTURE, 4, 0.0), Waiters(LOCK, 4, 0.0)], (), 0.5),
        ([Waiters(FUTURE, 40, 4.0)], (pool(waiting=0, waited=3.0),), 0.75),
        ([Waiters(FUTURE, 40, 4.0)], (pool(waiting=10),), 0.25),
    ],
)
def test_the_share_of_the_waiting_that_was_seen_in_queues(waiters, pools, share):
    computes = (worker("gil", HANDLER),)
    seen = run(50, idle=500, waiters=tuple(waiters), pools=pools, workers=computes)
    assert seen_queued([seen]).share == share


BUCKET = (HANDLER, inside("asyncio.tasks", "sleep"))
IN_TRIO = (HANDLER, inside("trio._timeouts", "sleep"), inside("trio._core._traps"))
OWN_SLEEP = (HANDLER, Frame("/app/api.py", 40, "sleep", "app.api"))


CLIENT = (Frame("/lib/exchange.py", 40, "Call._wait", "pytest_nonblocking.asgi.exchange"),)


@pytest.mark.parametrize(
    ("stack", "share"), [(BUCKET, 0.75), (IN_TRIO, 0.75), (OWN_SLEEP, 0), (FUTURE, 0)]
)
def test_the_share_of_the_waiting_outside_of_queues_that_is_for_a_timer(stack, share):
    waiters = (Waiters(stack, 30, 3.0), Waiters(FUTURE, 10, 1.0), Waiters(LOCK, 40, 4.0))
    assert seen_queued([run(50, idle=500, waiters=waiters)]).asleep == share


def test_a_pool_that_sleeps_waits_for_a_timer():
    """Of the tasks that wait for its threads, those in its queue wait for those that sleep."""
    waiters = (Waiters(BUCKET, 10, 1.0), Waiters(FUTURE, 40, 3.0))
    seen = run(50, idle=500, waiters=waiters, pools=(pool(waiting=30, waited=3.0),))
    assert seen_queued([seen]).asleep == 1.0


def test_clients_in_this_process_are_no_second_copies():
    """Each waits for its own request; they made half of all copies in a queue a quarter."""
    waiters = (Waiters(CLIENT, 50, 5.0), Waiters(LOCK, 40, 4.0), Waiters(BUCKET, 10, 1.0))
    seen = seen_queued([run(50, idle=500, waiters=waiters)])
    assert (seen.share, seen.asleep) == (0.8, 1.0)


HELD_BY_ANOTHER = [
    (inside("asyncio.locks", "Lock.acquire"),),
    (inside("asyncio.locks", "acquire"),),  # CPython 3.10 does not name the class
    (inside("anyio._core._sync", "Semaphore.acquire"), inside("anyio._core._sync", "Event.wait")),
    (inside("asyncpg.pool", "Pool._acquire"), inside("asyncio.queues", "Queue.get")),
]
MAYBE_LATE_BY_ITSELF = [
    (inside("asyncio.locks", "Event.wait"),),
    (inside("asyncio.queues", "Queue.get"),),
    (inside("asyncio.tasks", "sleep"),),
    (inside("httpx", "send"),),
]


@pytest.mark.parametrize("frames", HELD_BY_ANOTHER)
def test_whoever_waits_for_a_lock_or_a_connection_waits_for_another_copy(frames):
    assert contended_for(run(50, waiters=(Waiters((HANDLER, *frames), 16, contended=0.4),))) == 0.4


@pytest.mark.parametrize("frames", MAYBE_LATE_BY_ITSELF)
def test_an_event_or_an_answer_may_be_late_though_nobody_holds_it(frames):
    assert contended_for(run(50, waiters=(Waiters((HANDLER, *frames), 16, contended=0.4),))) == 0


def test_work_in_line_for_a_thread_waits_for_the_work_that_has_one():
    full = Pool("thread pool executor", 1, 1, 16, contended=0.4)
    assert contended_for(run(50, pools=(full,))) == 0.4


@pytest.mark.parametrize(
    ("frames", "contended"),
    [
        ((HANDLER,), 0.4),  # `with lock:` runs in C, without a frame of its own
        ((HANDLER, inside("threading", "Semaphore.acquire"), inside("threading")), 0.4),
        ((HANDLER, inside("threading", "Event.wait"), inside("threading", "Condition.wait")), 0),
    ],
)
def test_threads_that_wait_for_a_lock_wait_for_the_one_that_holds_it(frames, contended):
    held = worker("lock", *frames, weight=0.4)
    assert contended_for(run(50, contended=(held,))) == contended


@pytest.mark.parametrize(
    ("locked", "meant"),
    [(0, "thread-pool"), (0.1, "thread-pool"), (0.4, "serialised-wait"), (None, "serialised-wait")],
)
def test_a_lock_limits_a_pool_of_threads_if_it_is_contended_for_as_long_as_that_is_full(
    locked, meant
):
    """40 threads that wait for a lock once, and a pool of three behind it: 1 of 4 runs was wrong.

    Without the bytecode of what threads wait in, it is not known for how long.
    """
    at_lock = worker("lock", HANDLER, weight=4.0)
    full = Pool("anyio limiter", 3, 3, 29, waited=9.0, contended=0.45)
    held = () if locked is None else (replace(at_lock, weight=locked),)
    waiters = (Waiters(FOR_A_THREAD, 40, 9.0),)
    seen = run(50, waiters=waiters, pools=(full,), workers=(at_lock,), contended=held)
    assert waits_for([seen])[0] == meant


def test_the_longest_of_several_queues_says_for_how_long_copies_were_held_up():
    lock, full = (inside("asyncio.locks", "Lock.acquire"),), Pool("anyio limiter", 2, 2, 1)
    waiters = (Waiters((HANDLER, *lock), 9, contended=0.3),)
    assert contended_for(run(50, waiters=waiters, pools=(replace(full, contended=0.1),))) == 0.3
