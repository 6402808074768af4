"""Which copies wait for something other than the loop."""

import asyncio
import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import thread as executors
from queue import SimpleQueue

import pytest

from pytest_nonblocking.clocks import CLOCKS
from pytest_nonblocking.sentinel import COPY
from pytest_nonblocking.sentinel.probes.choice import probe_of_running_loop
from pytest_nonblocking.sentinel.stacks import is_in
from pytest_nonblocking.sentinel.system.thread_state import Witness
from pytest_nonblocking.sentinel.wait_sampler import WaitSampler

pytestmark = pytest.mark.asyncio

COPIES = 10


async def start(wait):
    """Start the copies and let each come to where it waits."""

    async def copy(index):
        COPY.set(index)
        await wait()

    tasks = [asyncio.ensure_future(copy(index)) for index in range(COPIES)]
    await asyncio.sleep(0)
    return tasks


def sampler(own=()):
    return WaitSampler(probe_of_running_loop(1.0), lambda: {threading.get_native_id(), *own})


def queued(own=()):
    waits = sampler(own)
    waits.count_queued(COPIES)
    return waits.queued


async def test_copies_that_wait_for_one_another_are_queued():
    event = asyncio.Event()
    tasks = await start(event.wait)
    assert queued() == 1.0
    event.set()
    await asyncio.gather(*tasks)


async def test_copies_that_may_run_are_not():
    event = asyncio.Event()
    tasks = await start(event.wait)
    event.set()
    assert queued() == 0.0
    await asyncio.gather(*tasks)


async def test_copies_whose_time_has_come_are_not():
    tasks = await start(lambda: asyncio.sleep(0.001))
    time.sleep(0.01)
    assert queued() == 0.0
    await asyncio.gather(*tasks)


async def test_copies_whose_threads_compute_are_not():
    """As under an async driver with a thread for each connection."""
    over, begun = threading.Event(), threading.Semaphore(0)

    def compute():
        hashlib.pbkdf2_hmac("sha256", b"secret", b"salt", 1)
        begun.release()
        while not over.is_set():
            hashlib.pbkdf2_hmac("sha256", b"secret", b"salt", 10_000)

    event = asyncio.Event()
    tasks = await start(event.wait)
    threads = [threading.Thread(target=compute) for _ in range(COPIES // 2)]
    for thread in threads:
        thread.start()
        begun.acquire()
    try:
        assert queued() == (0.5 if Witness().works else 1.0)
        # Those of clients do no work of the app.
        assert queued({thread.native_id for thread in threads}) == 1.0
    finally:
        over.set()
        event.set()
        for thread in threads:
            thread.join()
    await asyncio.gather(*tasks)


async def test_copies_that_a_thread_has_just_answered_are_not():
    """Its call sets the result of a future; it has the context of the thread, not of the copy."""
    loop = asyncio.get_running_loop()
    answers = [loop.create_future() for _ in range(COPIES)]
    tasks = await start(lambda: answers[COPY.get()])
    thread = threading.Thread(
        target=lambda: [loop.call_soon_threadsafe(one.set_result, None) for one in answers]
    )
    thread.start()
    thread.join()
    assert queued() == 0.0
    await asyncio.gather(*tasks)


@pytest.mark.parametrize(
    ("moments", "share"), [("w", 1.0), ("wr", 0.0), ("wrw", 0.0), ("wwrw", 1.0), ("rwrw", 0.0)]
)
async def test_copies_are_queued_if_they_wait_at_all_moments_but_one_of_four(moments, share):
    """At each the copies wait, or as many callbacks as there are copies are ready to run."""
    event, loop = asyncio.Event(), asyncio.get_running_loop()
    tasks = await start(event.wait)
    waits = sampler()
    for moment in moments:
        for _ in range(COPIES if moment == "r" else 0):
            loop.call_soon(int)
        waits.count_queued(COPIES)
        await asyncio.sleep(0)
    assert waits.queued == share
    event.set()
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("in_pool", [True, False])
async def test_threads_at_work_are_found_among_a_hundred_idle_ones(in_pool, monkeypatch):
    leave, event = threading.Event(), asyncio.Event()

    def start_threads(number):
        threads = [threading.Thread(target=leave.wait, daemon=True) for _ in range(number)]
        for thread in threads:
            thread.start()
        return threads

    tasks = await start(event.wait)
    idle = start_threads(0 if in_pool else 100)
    working = start_threads(COPIES)
    idle += start_threads(100 if in_pool else 0)
    ids = {thread.native_id for thread in working}
    for thread in working if in_pool else ():
        monkeypatch.setitem(executors._threads_queues, thread, SimpleQueue())
    waits = sampler()
    monkeypatch.setattr(waits._witness, "state", lambda tid: "gil" if tid in ids else "lock")
    waits.count_queued(COPIES)
    leave.set()
    event.set()
    for thread in (*idle, *working):
        thread.join()
    await asyncio.gather(*tasks)
    assert waits.queued == 0.0


async def test_nothing_is_queued_before_anyone_has_looked():
    assert sampler().queued == 0.0


async def test_a_thread_that_is_free_for_the_work_makes_no_full_pool(monkeypatch):
    queue = SimpleQueue()
    queue.put("given just now")
    monkeypatch.setitem(executors._threads_queues, threading.current_thread(), queue)
    waits = sampler()
    waits.look_at_pools()
    assert not waits.pools


@pytest.fixture
def full_pool():
    """A pool of one thread, which is busy, and for which another call waits."""
    free, busy = threading.Event(), threading.Event()

    def work():
        busy.set()
        free.wait()

    with ThreadPoolExecutor(max_workers=1) as executor:
        executor.submit(work)
        busy.wait()
        executor.submit(int)
        yield executor
        free.set()


async def test_work_that_waits_for_a_thread_makes_a_full_pool(full_pool):
    waits = sampler()
    waits.look_at_pools()
    (pool,) = waits.pools
    assert (pool.size, pool.waiting, pool.waited) == (1, 1, 0)
    waits.close()


@pytest.fixture
def wall(monkeypatch):
    """A wall clock that is set by hand, in nanoseconds."""
    now = [CLOCKS.wall_ns()]
    monkeypatch.setattr(CLOCKS, "wall_ns", lambda: now[0])
    return now


SECOND = 10**9


async def look_at(wall, waits, *times):
    """Look when the wall clock shows ``times`` in seconds."""
    began = wall[0]
    for seconds in times:
        wall[0] = began + int(seconds * SECOND)
        waits.look()


async def test_a_queue_is_as_long_as_its_tasks_wait_after_the_first_pass(wall, full_pool):
    event = asyncio.Event()
    tasks = await start(event.wait)
    waits = sampler()
    waits.from_ns = wall[0] + SECOND  # when the first pass is over
    await look_at(wall, waits, 0.5, 1.5, 3.5)
    # 0.5 s of the first look after the pass, and 2 s of the second.
    longest = max(waits.waiters, key=lambda waiters: waiters.waited)
    assert longest.count == COPIES
    assert longest.waited == pytest.approx(COPIES * 2.5)
    (pool,) = waits.pools
    assert pool.waited == pytest.approx(2.5)
    waits.close()
    event.set()
    await asyncio.gather(*tasks)


async def test_a_queue_that_was_seen_in_the_first_pass_only_counts_if_there_is_no_other(wall):
    event = asyncio.Event()
    tasks = await start(event.wait)
    waits = sampler()
    waits.from_ns = wall[0] + SECOND
    await look_at(wall, waits, 0.5)
    longest = max(waits.waiters, key=lambda waiters: waiters.waited)
    assert 0 < longest.waited < 1e-6
    waits.close()
    event.set()
    await asyncio.gather(*tasks)


async def test_the_place_where_tasks_stay_comes_before_the_one_where_more_were_once(wall):
    waits = sampler()
    waits.from_ns = wall[0]
    brief, long = asyncio.Event(), asyncio.Lock()
    await long.acquire()
    many = await start(brief.wait)

    async def stay():
        async with long:
            pass

    few = [asyncio.ensure_future(stay()) for _ in range(3)]
    await asyncio.sleep(0)
    await look_at(wall, waits, 0.1)
    brief.set()
    await asyncio.gather(*many)
    await look_at(wall, waits, 0.1, 1.9)
    # CPython tells a method's class from 3.11 on.
    places = [w.stack[-1].leaf for w in waits.waiters[:2]]
    assert places == ["acquire", "wait"]
    waits.close()
    long.release()
    await asyncio.gather(*few)


async def test_a_queue_that_empties_between_two_rare_looks_counts_for_half_the_time(wall):
    # A lock with 6 waiting copies at 19 ms and none at 203 ms counted for less than the work of
    # the one copy that held it.
    waits = sampler()
    waits.from_ns = wall[0]
    event = asyncio.Event()
    tasks = await start(event.wait)
    await look_at(wall, waits, 1.0)
    event.set()
    await asyncio.gather(*tasks)
    await look_at(wall, waits, 2.0)
    (queue,) = waits.waiters
    assert (queue.count, queue.waited) == (COPIES, pytest.approx(COPIES * 2.0))
    waits.close()


async def test_what_workers_do_is_told_with_the_time_for_which_it_stands(wall, full_pool):
    waits = sampler()
    waits.from_ns = wall[0]
    await look_at(wall, waits, 0.25, 1.0)
    at_work = [s for s in waits.workers if any(f.function.endswith("work") for f in s.stack)]
    assert [worker.weight for worker in at_work] == [pytest.approx(0.625), pytest.approx(0.375)]
    waits.close()


async def test_a_worker_that_is_sampled_stands_for_those_that_are_not(wall):
    free = threading.Event()
    waits = sampler()
    waits.from_ns = wall[0]
    with ThreadPoolExecutor(max_workers=40) as executor:
        for _ in range(40):
            executor.submit(free.wait)
        await look_at(wall, waits, 1.0)
        free.set()
    assert 0 < len(waits.workers) < 40
    assert sum(worker.weight for worker in waits.workers) == pytest.approx(40.0)
    waits.close()


async def test_the_most_that_wait_at_one_place_are_known_when_fewer_wait_in_all(wall):
    waits = sampler()
    waits.from_ns = wall[0]
    first, second = asyncio.Event(), asyncio.Lock()
    await second.acquire()
    many = await start(first.wait)
    await look_at(wall, waits, 0.1)
    first.set()
    await asyncio.gather(*many)
    few = [asyncio.ensure_future(second.acquire()) for _ in range(3)]
    await asyncio.sleep(0)
    await look_at(wall, waits, 0.1)
    most = {w.stack[-1].leaf: (w.count, w.most) for w in waits.waiters}
    assert most == {"wait": (COPIES, COPIES), "acquire": (0, 3)}
    waits.close()
    for task in few:
        task.cancel()


async def test_a_queue_lasts_from_one_look_that_sees_it_to_the_next(wall, full_pool):
    lock = asyncio.Lock()
    await lock.acquire()
    waits = sampler()
    wall[0] += SECOND
    tasks = await start(lock.acquire)
    await look_at(wall, waits, 0.5, 1.0, 2.0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await look_at(wall, waits, 1.0)
    # Not before the first look, and not after the last one that sees it.
    (queue,) = (one for one in waits.waiters if one.stack[-1].leaf == "acquire")
    assert queue.contended == pytest.approx(1.5)
    (pool,) = waits.pools
    assert pool.contended == pytest.approx(2.5)
    waits.close()


async def test_a_queue_of_threads_for_a_lock_lasts_as_one_of_tasks_does(wall):
    lock, answers = threading.Lock(), SimpleQueue()
    waits = sampler()

    def take():
        with lock:
            pass

    def receive():
        answers.get()

    with ThreadPoolExecutor(max_workers=2) as executor:
        lock.acquire()
        executor.submit(take)
        executor.submit(receive)
        await until_all_wait(executor._threads, take.__code__, receive.__code__)
        await look_at(wall, waits, 0.5, 1.0, 2.0)
        answers.put(None)
        lock.release()
    held = {one.stack[-1].leaf: one.weight for one in waits.contended}
    assert held["take"] == pytest.approx(1.5)
    assert "receive" not in held
    waits.close()


async def test_a_task_that_waits_for_a_child_waits_where_the_child_does(wall):
    lock = asyncio.Lock()
    await lock.acquire()

    async def parent():
        await asyncio.create_task(lock.acquire())
        lock.release()

    tasks = [asyncio.ensure_future(parent()) for _ in range(COPIES)]
    for _ in range(2):
        await asyncio.sleep(0)
    waits = sampler()
    waits.from_ns = wall[0]
    await look_at(wall, waits, 1.0)
    (queue,) = waits.waiters
    functions = [frame.leaf for frame in queue.stack]
    assert (queue.count, functions) == (COPIES, ["parent", "acquire"])
    waits.close()
    lock.release()
    await asyncio.gather(*tasks)


async def test_a_task_of_the_app_that_waits_for_its_next_job_is_in_no_queue(wall):
    jobs, event = asyncio.Queue(), asyncio.Event()
    worker = asyncio.ensure_future(jobs.get())
    await asyncio.sleep(0)
    waits = sampler()
    waits.note_before()
    tasks = await start(event.wait)
    await look_at(wall, waits, 1.0)
    (queue,) = waits.waiters
    assert queue.count == COPIES
    waits.close()
    event.set()
    worker.cancel()
    await asyncio.gather(*tasks)


async def test_a_task_that_was_there_before_is_in_a_queue_once_it_moves(wall):
    jobs, lock = asyncio.Queue(), asyncio.Lock()
    await lock.acquire()

    async def work():
        await jobs.get()
        await lock.acquire()

    worker = asyncio.ensure_future(work())
    await asyncio.sleep(0)
    waits = sampler()
    waits.note_before()
    jobs.put_nowait("a job")
    await asyncio.sleep(0)
    await look_at(wall, waits, 1.0)
    (queue,) = waits.waiters
    assert queue.stack[-1].leaf == "acquire"
    waits.close()
    worker.cancel()


async def test_threads_and_calls_that_an_earlier_test_left_are_in_no_queue(wall, full_pool):
    waits = sampler()
    waits.note_before()
    waits.look_at_pools()
    await look_at(wall, waits, 1.0)
    assert not waits.pools
    assert not [s for s in waits.workers if any(f.function.endswith("work") for f in s.stack)]
    full_pool.submit(int)
    waits.look_at_pools()
    assert [pool.waiting for pool in waits.pools] == [1]
    waits.close()


async def test_copies_that_wait_where_ended_ones_have_waited_are_in_a_queue(wall):
    event = asyncio.Event()
    ended = await start(event.wait)
    waits = sampler()
    waits.note_before()
    event.set()
    await asyncio.gather(*ended)
    event.clear()
    del ended  # their coroutines' places in memory are some of the next ones'
    tasks = [task for _ in range(10) for task in await start(event.wait)]
    await look_at(wall, waits, 1.0)
    (queue,) = waits.waiters
    assert queue.count == 10 * COPIES
    waits.close()
    event.set()
    await asyncio.gather(*tasks)


async def test_a_thread_that_waits_where_an_ended_one_has_waited_is_seen(wall):
    def works():
        return waits_in_thread.wait(60)

    async def worker_of_new_pool():
        pool, began = ThreadPoolExecutor(1), threading.Event()
        pool.submit(began.set)
        call = pool.submit(works)
        began.wait()
        await until_in(works.__code__, *pool._threads)
        return pool, call

    waits_in_thread = threading.Event()
    pool, call = await worker_of_new_pool()
    waits = sampler()
    waits.note_before()
    waits_in_thread.set()
    call.result()
    pool.shutdown()  # the next thread may get its ident
    waits_in_thread.clear()
    pool, call = await worker_of_new_pool()
    await look_at(wall, waits, 1.0)
    assert [s for s in waits.workers if any(f.function.endswith("works") for f in s.stack)]
    waits.close()
    waits_in_thread.set()
    pool.shutdown()


async def until_all_wait(threads, *codes):
    """Wait until each thread is in a call of one of ``codes`` and waits there."""
    witness = Witness()
    for thread in threads:
        while not any(is_in(code, thread.ident) for code in codes):
            await asyncio.sleep(0.001)
        while witness.state(thread.native_id) not in ("lock", "unknown"):
            await asyncio.sleep(0.001)
    witness.close()


async def until_in(code, thread):
    while not is_in(code, thread.ident):
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.05)  # and in its wait
