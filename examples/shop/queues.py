"""Queues: worker threads, locks, semaphores and connection pools."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread
from fastapi import FastAPI, Request

_DELAY = 0.02


class ConnectionPool:
    """Hands out connections, and lets requests wait when all are in use."""

    def __init__(self, size: int) -> None:
        """Make ``size`` connections."""
        self._free: asyncio.Queue[int] = asyncio.Queue()
        for number in range(size):
            self._free.put_nowait(number)

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[int]:
        """Lend a connection."""
        connection = await self._free.get()
        try:
            yield connection
        finally:
            self._free.put_nowait(connection)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """Make what the requests share, on the loop that serves them."""
    yield {
        "lock": asyncio.Lock(),
        "semaphore": asyncio.Semaphore(2),
        "limiter": anyio.CapacityLimiter(4),
        "small_pool": ConnectionPool(3),
        "pool": ConnectionPool(60),
    }


@asynccontextmanager
async def few_threads(app: FastAPI) -> AsyncIterator[None]:
    """Leave anyio, and with it FastAPI, four worker threads."""
    anyio.to_thread.current_default_thread_limiter().total_tokens = 4
    yield


app = FastAPI(lifespan=lifespan)
app_with_few_threads = FastAPI(lifespan=few_threads)


@app.get("/forty-threads")
@app_with_few_threads.get("/four-threads")
def in_thread_pool() -> str:
    """Right with 40 worker threads, wrong with 4."""
    time.sleep(_DELAY)
    return "ok"


@app.get("/small-limiter")
async def small_limiter(request: Request) -> str:
    """Wrong: a limiter of four for all requests."""
    await anyio.to_thread.run_sync(time.sleep, _DELAY, limiter=request.state.limiter)
    return "ok"


@app.get("/asyncio-to-thread")
async def asyncio_to_thread() -> str:
    """Right, up to as many requests as asyncio's default executor has threads: CPUs + 4."""
    await asyncio.to_thread(time.sleep, _DELAY)
    return "ok"


@app.get("/lock")
async def behind_a_lock(request: Request) -> str:
    """Wrong: one request at a time."""
    async with request.state.lock:
        await asyncio.sleep(_DELAY)
    return "ok"


@app.get("/no-lock")
async def without_a_lock() -> str:
    """Right."""
    await asyncio.sleep(_DELAY)
    return "ok"


@app.get("/semaphore")
async def behind_a_semaphore(request: Request) -> str:
    """Wrong: two requests at a time."""
    async with request.state.semaphore:
        await asyncio.sleep(_DELAY)
    return "ok"


@app.get("/small-pool")
async def with_a_small_pool(request: Request) -> str:
    """Wrong: three connections for all requests."""
    async with request.state.small_pool.acquire():
        await asyncio.sleep(_DELAY)
    return "ok"


@app.get("/pool")
async def with_a_pool(request: Request) -> str:
    """Right: a connection for each of 60 requests."""
    async with request.state.pool.acquire():
        await asyncio.sleep(_DELAY)
    return "ok"
