"""A queue is named although it empties before the last request is served."""

import asyncio
import time

import pytest
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from judged import fail, said
from starlette.middleware.base import BaseHTTPMiddleware

pytestmark = pytest.mark.asyncio


@pytest.fixture
def nonblocking_app():
    app = FastAPI(default_response_class=PlainTextResponse)
    connections = asyncio.Queue()
    for number in range(4):
        connections.put_nowait(number)
    semaphore = asyncio.Semaphore(4)

    class Limited(BaseHTTPMiddleware):
        async def dispatch(self, request, call_next):
            if request.url.path == "/limited":
                async with semaphore:  # at most four
                    await asyncio.sleep(0.2)
            return await call_next(request)

    app.add_middleware(Limited)

    @app.get("/limited")
    def limited():
        time.sleep(0.1)
        return "ok"

    @app.get("/connection")
    async def connection():
        taken = await connections.get()  # four at a time
        try:
            await asyncio.sleep(0.2)
        finally:
            connections.put_nowait(taken)
        return "ok"

    return app


@pytest.mark.parametrize(
    ("path", "mark"),
    [("/connection", "# four at a time"), ("/limited", "# at most four")],
)
async def test_the_queue_is_named_and_not_what_its_holders_wait_for(measure, get, path, mark):
    outcome = await measure(get(path), concurrency=8, max_serial_fraction=0.02)
    assert said(outcome) == fail(__file__, mark, "serialised-wait")
