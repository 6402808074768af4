"""Which copies wait for something other than the loop."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import thread as executors
from queue import SimpleQueue

import pytest

from pytest_nonblocking.sentinel.copies import COPY
from pytest_nonblocking.sentinel.loops import probe_of_running_loop
from pytest_nonblocking.sentinel.waits import Waits

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


def queued():
    waits = Waits(probe_of_running_loop(1.0))
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


async def test_a_moment_at_which_copies_may_run_is_enough():
    event = asyncio.Event()
    tasks = await start(event.wait)
    waits = Waits(probe_of_running_loop(1.0))
    waits.count_queued(COPIES)
    event.set()
    waits.count_queued(COPIES)
    assert waits.queued == 0.0
    await asyncio.gather(*tasks)


async def test_nothing_is_queued_before_anyone_has_looked():
    assert Waits(probe_of_running_loop(1.0)).queued == 0.0


async def test_a_thread_that_is_free_for_the_work_makes_no_full_pool(monkeypatch):
    queue = SimpleQueue()
    queue.put("given just now")
    monkeypatch.setitem(executors._threads_queues, threading.current_thread(), queue)
    waits = Waits(probe_of_running_loop(1.0))
    waits.look_at_pools()
    assert not waits.pools


async def test_work_that_waits_for_a_thread_makes_a_full_pool():
    with ThreadPoolExecutor(max_workers=1) as executor:
        free, busy = threading.Event(), threading.Event()

        def work():
            busy.set()
            free.wait()

        executor.submit(work)
        busy.wait()
        executor.submit(int)
        waits = Waits(probe_of_running_loop(1.0))
        waits.look_at_pools()
        assert [(pool.size, pool.waiting) for pool in waits.pools.values()] == [(1, 1)]
        free.set()
