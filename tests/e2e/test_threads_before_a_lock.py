"""A queue for a lock is shown as that, also where each request has been in a thread before."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from judged import fail, said

pytestmark = pytest.mark.asyncio


@pytest.fixture
def nonblocking_app():
    app = FastAPI(default_response_class=PlainTextResponse)
    lock = asyncio.Lock()

    async def work():
        async with lock:  # one at a time
            await asyncio.sleep(0.02)
        return "ok"

    @app.get("/thread-of-the-loop")
    async def thread_of_the_loop():
        await asyncio.to_thread(int)
        return await work()

    @app.get("/thread-of-its-own")
    async def thread_of_its_own():
        # As Django's and asgiref's ThreadSensitiveContext does it.
        with ThreadPoolExecutor(max_workers=1) as own:
            await asyncio.get_running_loop().run_in_executor(own, int)
        return await work()

    return app


@pytest.mark.parametrize("path", ["/thread-of-the-loop", "/thread-of-its-own"])
async def test_a_lock_is_not_taken_for_a_full_thread_pool(measure, nonblocking, get, path):
    outcome = await measure(get(path))
    assert said(outcome) == fail(__file__, "# one at a time", "serialised-wait")
    with pytest.raises(pytest.fail.Exception, match="wait for one another"):
        nonblocking.check(outcome)
