"""Which resource limits an application, where several could: locks, pools, the GIL, the cores."""

import asyncio
import concurrent.futures
import hashlib
import json
import multiprocessing
import threading
import time

import pytest
from anyio import to_thread
from fastapi import BackgroundTasks, FastAPI
from fastapi.responses import PlainTextResponse
from judged import PASS, fail, said

pytestmark = pytest.mark.asyncio


def hashing(rounds):
    return hashlib.pbkdf2_hmac("sha256", b"secret", b"salt", rounds)


def python(rounds):
    total = 0
    for value in range(rounds):
        total = (total + value * 31) % 65_521
    return total


# Rounds for that many milliseconds at the reference CPU speed. They are fixed because a host may
# change speed by 2x between import and test.
HASH_20, HASH_13, HASH_3 = 62_000, 40_000, 9_300
PYTHON_22, PYTHON_9 = 300_000, 130_000
DOCUMENTS = json.dumps([{"id": n, "tags": [str(n), "a"], "name": f"n{n}"} for n in range(14_000)])


def compute(rounds):
    total = 0
    for value in range(rounds):
        total = (total + value * 31) % 65_521  # computes
    return total


def build_app(pools):
    app = FastAPI(default_response_class=PlainTextResponse)
    lock, first, second = asyncio.Lock(), asyncio.Lock(), asyncio.Lock()
    made = threading.local()
    in_threads, three = threading.Lock(), threading.Semaphore(3)
    get = app.get

    @get("/hashing-behind-a-lock")
    async def hashing_behind_a_lock():
        async with lock:  # hashes one at a time
            await to_thread.run_sync(hashing, HASH_13)
        return "ok"

    @get("/hashing-in-one-thread")
    async def hashing_in_one_thread():
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(pools["one"], hashing, HASH_20)  # one thread
        return "ok"

    @get("/hashing-in-threads")
    async def hashing_in_threads():
        await to_thread.run_sync(hashing, HASH_20)
        return "ok"

    @get("/hashing-in-processes")
    async def hashing_in_processes():
        await asyncio.get_running_loop().run_in_executor(pools["processes"], hashing, HASH_20)
        return "ok"

    @get("/lock-in-threads")
    def lock_in_threads():
        with in_threads:  # a lock of threads
            time.sleep(0.010)
        hashing(HASH_3)
        return "ok"

    @get("/python-in-a-thread")
    async def python_in_a_thread():
        await to_thread.run_sync(compute, PYTHON_22)
        return "ok"

    @get("/python-after-the-response")
    async def python_after_the_response(tasks: BackgroundTasks):
        tasks.add_task(compute, PYTHON_22)
        return "ok"

    @get("/parsing")
    async def parsing():
        assert len(json.loads(DOCUMENTS)) == 14_000  # parses
        return "ok"

    @get("/three-parts")
    async def three_parts():
        python(PYTHON_9)
        time.sleep(0.004)
        async with lock:
            await asyncio.sleep(0.004)
        return "ok"

    @get("/two-locks")
    async def two_locks():
        async with first:
            await asyncio.sleep(0.005)
        async with second:  # the slower one
            await asyncio.sleep(0.032)
        return "ok"

    @get("/first-calls")
    def first_calls():
        if not hasattr(made, "once"):
            made.once = python(PYTHON_22)
        time.sleep(0.005)
        return "ok"

    @get("/child-task")
    async def child_task():
        await asyncio.gather(asyncio.create_task(guarded()), asyncio.sleep(0.02))
        return "ok"

    async def guarded():
        async with lock:  # in a child task
            await asyncio.sleep(0.02)

    @get("/semaphore-in-threads")
    async def semaphore_in_threads():
        await asyncio.get_running_loop().run_in_executor(pools["six"], three_at_once)
        return "ok"

    def three_at_once():
        with three:  # three threads
            time.sleep(0.03)

    return app


@pytest.fixture(scope="module")
def pools():
    context = multiprocessing.get_context("spawn")
    with (
        concurrent.futures.ThreadPoolExecutor(1) as one,
        concurrent.futures.ThreadPoolExecutor(6) as six,
        concurrent.futures.ProcessPoolExecutor(2, context) as processes,
    ):
        list(processes.map(hashing, [10, 10]))
        yield {"one": one, "six": six, "processes": processes}


@pytest.fixture
def nonblocking_app(pools):
    return build_app(pools)


@pytest.mark.parametrize("path", ["/hashing-in-threads", "/hashing-in-processes"])
async def test_work_that_uses_all_cores_passes(measure, get, path):
    assert said(await measure(get(path))) == PASS


async def test_what_each_new_thread_does_once_is_charged_to_no_request(measure, get):
    assert said(await measure(get("/first-calls"))) == PASS


@pytest.mark.parametrize(
    ("path", "mark", "cause"),
    [
        ("/hashing-behind-a-lock", "# hashes one at a time", "serialised-wait"),
        ("/hashing-in-one-thread", "# one thread", "thread-pool"),
        ("/lock-in-threads", "# a lock of threads", "serialised-wait"),
        ("/semaphore-in-threads", "# three threads", "serialised-wait"),
        ("/child-task", "# in a child task", "serialised-wait"),
        ("/python-in-a-thread", "# computes", "gil-contention"),
        ("/python-after-the-response", "# computes", "gil-contention"),
        ("/parsing", "# parses", "cpu-on-loop"),
        ("/two-locks", "# the slower one", "serialised-wait"),
    ],
)
async def test_the_resource_that_limits_is_named_with_its_line(measure, get, path, mark, cause):
    assert said(await measure(get(path))) == fail(__file__, mark, cause)


async def test_a_sum_fails_whichever_way_it_divides(measure, get):
    outcome = await measure(get("/three-parts"))
    assert said(outcome)[0] == "fail"
    assert {cause for cause, share in outcome.judgement.causes if share > 0.15} == {
        "cpu-on-loop",
        "blocking-call",
        "serialised-wait",
    }


@pytest.mark.parametrize("threads", [0, 400])
async def test_idle_threads_are_charged_to_nobody(measure, threads):
    over = threading.Event()
    idle = [threading.Thread(target=over.wait, daemon=True) for _ in range(threads)]
    for thread in idle:
        thread.start()
    try:
        outcome = await measure(lambda: asyncio.sleep(0.02))
    finally:
        over.set()
        for thread in idle:
            thread.join()
    assert said(outcome) == PASS
    assert outcome.judgement.max_lag < 0.01
