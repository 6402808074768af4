"""What waits or works before the requests come is no queue of theirs."""

import asyncio
import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from judged import fail, said

pytestmark = pytest.mark.asyncio


class Throttle:
    """Spaces calls out, each of which sleeps until its turn."""

    def __init__(self, interval):
        self._interval = interval
        self._next = 0.0

    async def turn(self):
        """Wait for a turn."""
        now = time.monotonic()
        turn = max(self._next, now)
        self._next = turn + self._interval
        await asyncio.sleep(turn - now)  # in turn


@pytest.fixture
def nonblocking_app():
    throttle, lock = Throttle(0.02), threading.Lock()
    jobs: asyncio.Queue[str] = asyncio.Queue()

    @contextlib.asynccontextmanager
    async def lifespan(app):
        worker = asyncio.create_task(jobs.get())
        yield
        worker.cancel()

    app = FastAPI(default_response_class=PlainTextResponse, lifespan=lifespan)

    @app.get("/throttled")
    async def throttled():
        await throttle.turn()
        return "ok"

    @app.get("/locked")
    def locked():
        with lock:  # one thread at a time
            time.sleep(0.02)
        return "ok"

    return app


async def test_a_worker_without_work_is_no_queue(measure, get):
    assert said(await measure(get("/throttled"))) == fail(__file__, "# in turn", "serialised-wait")


@pytest.fixture
def stuck_threads():
    """Threads of a pool which wait for a call that waits for a thread: a deadlock."""
    end = threading.Event()
    pool = ThreadPoolExecutor(4)
    for _ in range(6):
        pool.submit(end.wait)
    yield
    end.set()
    pool.shutdown()


async def test_threads_that_an_earlier_test_left_are_not_named(stuck_threads, measure, get):
    outcome = await measure(get("/locked"))
    assert said(outcome) == fail(__file__, "# one thread at a time", "serialised-wait")
    assert not [note for note in outcome.notes if "thread pool executor" in note]
