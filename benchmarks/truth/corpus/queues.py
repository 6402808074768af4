"""Row "a lock, a semaphore, a connection pool, a single worker: the loop idle, requests queue"."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
from fastapi import FastAPI, Request
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from .labels import Labels
from .services import database, host, port, url

labels = Labels(__name__)
ROW = "queues on locks and pools"


def _slow() -> int:
    time.sleep(0.015)
    return 1


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{database()}", poolclass=AsyncAdaptedQueuePool, pool_size=2,
        max_overflow=0,
    )  # fmt: skip
    event.listen(engine.sync_engine, "connect", lambda db, _: db.create_function("slow", 0, _slow))
    jobs: asyncio.Queue[asyncio.Future[None]] = asyncio.Queue()
    worker = asyncio.create_task(_work(jobs))
    folder = tempfile.TemporaryDirectory()
    reader, writer = await asyncio.open_connection(host(), port())
    few = httpx.Limits(max_connections=3)
    async with (
        httpx.AsyncClient(timeout=None, limits=few) as narrow,
        httpx.AsyncClient(timeout=None) as wide,
    ):
        yield {
            "engine": engine,
            "lock": asyncio.Lock(),
            "three": asyncio.Semaphore(3),
            "five": asyncio.Semaphore(5),
            "limiter": anyio.CapacityLimiter(4),
            "condition": asyncio.Condition(),
            "connection": (reader, writer),
            "jobs": jobs,
            "narrow": narrow,
            "wide": wide,
            "folder": folder.name,
        }
    folder.cleanup()
    worker.cancel()
    writer.close()
    await writer.wait_closed()
    await engine.dispose()


async def _work(jobs: asyncio.Queue[asyncio.Future[None]]) -> None:
    while True:
        job = await jobs.get()
        await asyncio.sleep(0.012)
        job.set_result(None)


app = FastAPI(lifespan=_lifespan)


@labels.get(app, "/lock", row=ROW, cause="serialised-wait")
async def with_lock(request: Request) -> None:
    async with request.scope["state"]["lock"]:  # culprit: lock
        await asyncio.sleep(0.020)


@labels.get(app, "/lock-half-of-the-time", row=ROW, cause="serialised-wait")
async def half_locked(request: Request) -> None:
    await asyncio.sleep(0.015)
    async with request.scope["state"]["lock"]:  # culprit: lock-half-of-the-time
        await asyncio.sleep(0.015)


@labels.get(app, "/semaphore-of-3", row=ROW, cause="serialised-wait")
async def with_semaphore(request: Request) -> None:
    async with request.scope["state"]["three"]:  # culprit: semaphore-of-3
        await asyncio.sleep(0.030)


@labels.get(app, "/pool-of-5", row=ROW, cause="serialised-wait")
async def with_pool(request: Request) -> None:
    async with request.scope["state"]["five"]:  # culprit: pool-of-5
        await asyncio.sleep(0.020)


@labels.get(app, "/capacity-of-4", row=ROW, cause="serialised-wait")
async def with_capacity(request: Request) -> None:
    async with request.scope["state"]["limiter"]:  # culprit: capacity-of-4
        await asyncio.sleep(0.025)


@labels.get(app, "/single-worker", row=ROW, cause="serialised-wait")
async def with_single_worker(request: Request) -> None:
    job: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    request.scope["state"]["jobs"].put_nowait(job)
    await job  # culprit: single-worker


@labels.get(app, "/connection-pool-of-2", row=ROW, cause="serialised-wait")
async def with_connection_pool(request: Request) -> int:
    async with AsyncSession(request.scope["state"]["engine"]) as session:
        rows = await session.execute(text("SELECT slow()"))  # culprit: connection-pool-of-2
        return len(rows.all())


@labels.get(app, "/one-connection", row=ROW, cause="serialised-wait")
async def with_one_connection(request: Request) -> int:
    reader, writer = request.scope["state"]["connection"]
    async with request.scope["state"]["lock"]:  # culprit: one-connection
        writer.write(b"GET /10 HTTP/1.1\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        return len(head + await reader.readexactly(2))


@labels.get(app, "/http-pool-of-3", row=ROW, cause="serialised-wait")
async def with_http_pool(request: Request) -> str:
    client = request.scope["state"]["narrow"]
    return (await client.get(url(30))).text  # culprit: http-pool-of-3


@labels.get(app, "/serial-upstream", row=ROW, cause="serialised-wait")
async def with_serial_upstream(request: Request) -> str:
    client = request.scope["state"]["wide"]
    return (await client.get(url(20, "serial/"))).text  # culprit: serial-upstream


_turn = {"taken": False}


@labels.get(app, "/condition", row=ROW, cause="serialised-wait")
async def with_condition(request: Request) -> None:
    condition = request.scope["state"]["condition"]
    async with condition:
        while _turn["taken"]:
            await condition.wait()  # culprit: condition
        _turn["taken"] = True
    await asyncio.sleep(0.018)
    async with condition:
        _turn["taken"] = False
        condition.notify()


class _Bucket:
    """Lets one request through every 12 ms."""

    free_at = 0.0

    async def take(self) -> None:
        now = asyncio.get_running_loop().time()
        mine = max(now, self.free_at)
        self.free_at = mine + 0.012
        if mine > now:
            await asyncio.sleep(mine - now)  # culprit: token-bucket


_BUCKET = _Bucket()


@labels.get(app, "/token-bucket", row=ROW, cause="serialised-wait")
async def with_token_bucket(request: Request) -> str:
    await _BUCKET.take()
    return (await request.scope["state"]["wide"].get(url(30))).text


async def _ask(jobs: asyncio.Queue[asyncio.Future[None]]) -> None:
    job: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    jobs.put_nowait(job)
    await job  # culprit: worker-behind-tasks


@labels.get(app, "/worker-behind-tasks", row=ROW, cause="serialised-wait")
async def with_tasks(request: Request) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(_ask, request.scope["state"]["jobs"])
        group.start_soon(anyio.sleep, 0.008)


_three_at_once = threading.Semaphore(3)


def _guarded() -> None:
    with _three_at_once:  # culprit: semaphore-in-threads
        time.sleep(0.025)


@labels.get(app, "/semaphore-in-threads", row=ROW, cause="serialised-wait")
async def with_threads() -> None:
    await asyncio.to_thread(_guarded)


if sys.platform != "win32":
    import fcntl

    @labels.get(app, "/file-lock", row=ROW, cause="serialised-wait")
    def with_file_lock(request: Request) -> None:
        with Path(request.scope["state"]["folder"], "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # culprit: file-lock
            time.sleep(0.018)
