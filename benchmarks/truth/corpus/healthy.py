"""Handlers without fault that look suspicious: waits, threads, processes, allocation, imports."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import hashlib
import importlib
import json
import multiprocessing
import random
import time
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import anyio
from anyio import to_thread
from fastapi import BackgroundTasks, Depends, FastAPI, Request
from fastapi.responses import FileResponse, StreamingResponse
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from .labels import Labels

labels = Labels(__name__)
AWAIT = "async I/O"
DEF = "def handlers"
OFFLOAD = "offloading"
RELEASED = "offloaded without the GIL, or to processes"
DECOY = "decoy"


def _square(number: int) -> int:
    total = 0
    for value in range(180_000):
        total = (total + value * number) % 65_521
    return total


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    with concurrent.futures.ThreadPoolExecutor(64) as threads:
        yield {"threads": threads, "many": asyncio.Semaphore(100), "lock": asyncio.Lock()}


app = FastAPI(lifespan=_lifespan)


@labels.get(app, "/await-20ms", row=AWAIT)
async def await_20ms() -> None:
    await asyncio.sleep(0.020)


@labels.get(app, "/await-5ms", row=AWAIT)
async def await_5ms() -> None:
    await asyncio.sleep(0.005)


@labels.get(app, "/await-150ms", row=AWAIT)
async def await_150ms() -> None:
    await asyncio.sleep(0.150)


@labels.get(app, "/null", row=DECOY)
async def null() -> None:
    return


@labels.get(app, "/small-json", row=DECOY)
async def small_json() -> dict[str, Any]:
    return {"id": 1, "name": "tea", "tags": ["a", "b"], "price": 2.5}


@labels.get(app, "/random-waits", row=AWAIT)
async def random_waits() -> None:
    # From 3 to 40 ms: the longest of 50 is far above the median.
    await asyncio.sleep(min(0.040, max(0.003, random.lognormvariate(-4.5, 0.8))))


@labels.get(app, "/gather", row=AWAIT)
async def gather() -> None:
    await asyncio.gather(*(asyncio.sleep(0.010) for _ in range(10)))


@labels.get(app, "/task-group", row=AWAIT)
async def task_group() -> None:
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(anyio.sleep, 0.015)


@labels.get(app, "/wait-for", row=AWAIT)
async def wait_for() -> None:
    await asyncio.wait_for(asyncio.sleep(0.012), 5)


@labels.get(app, "/wide-semaphore", row=AWAIT)
async def wide_semaphore(request: Request) -> None:
    async with request.scope["state"]["many"]:
        await asyncio.sleep(0.020)


@labels.get(app, "/short-lock", row=DECOY)
async def short_lock(request: Request) -> None:
    await asyncio.sleep(0.015)
    async with request.scope["state"]["lock"]:
        await asyncio.sleep(0)


@labels.get(app, "/def-20ms", row=DEF)
def def_20ms() -> None:
    time.sleep(0.020)


@labels.get(app, "/def-39-at-once", row=DEF, concurrency=39)
def def_39_at_once() -> None:
    time.sleep(0.020)


@labels.get(app, "/def-41-at-once", row=DEF, concurrency=41)
def def_41_at_once() -> None:
    time.sleep(0.020)


@labels.get(app, "/def-with-a-little-python", row=DEF)
def def_little_python() -> int:
    time.sleep(0.015)
    return sum(n * n for n in range(8_000))


@labels.get(app, "/to-thread-20ms", row=OFFLOAD)
async def to_thread_20ms() -> None:
    await to_thread.run_sync(time.sleep, 0.020)


@labels.get(app, "/executor-of-64", row=OFFLOAD)
async def executor_of_64(request: Request) -> None:
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(request.scope["state"]["threads"], time.sleep, 0.025)


@labels.get(app, "/asyncio-to-thread", row=OFFLOAD)
async def asyncio_to_thread() -> None:
    await asyncio.to_thread(time.sleep, 0.020)


def _hash() -> str:
    return hashlib.pbkdf2_hmac("sha256", b"secret", b"salt", 40_000).hex()


@labels.get(app, "/hashing-in-threads", row=RELEASED)
async def hashing_in_threads() -> str:
    return await to_thread.run_sync(_hash)


@labels.get(app, "/hashing-in-def", row=RELEASED)
def hashing_in_def() -> str:
    return hashlib.scrypt(b"secret", salt=b"salt", n=2**12, r=8, p=1).hex()


_document = json.dumps([{"id": n, "name": f"name {n}"} for n in range(12_000)]).encode()


@labels.get(app, "/compressing-in-threads", row=RELEASED)
async def compressing_in_threads() -> int:
    return len(await to_thread.run_sync(zlib.compress, _document, 6))


@asynccontextmanager
async def _processes(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as processes:
        yield {"processes": processes}


in_processes = FastAPI(lifespan=_processes)


@labels.get(in_processes, "/process-pool", row=RELEASED)
async def process_pool(request: Request) -> int:
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(request.scope["state"]["processes"], _square, 7)


class _Node:
    def __init__(self) -> None:
        self.other: Any = None


def _cycles(number: int) -> None:
    for _ in range(number):
        one, two = _Node(), _Node()
        one.other, two.other = two, one


@labels.get(app, "/allocates-cycles", row=DECOY)
async def allocates_cycles() -> None:
    await asyncio.sleep(0.010)
    _cycles(1_500)


_heap: list[Any] = []


@labels.get(app, "/large-heap", row=DECOY)
async def large_heap() -> None:
    # A full collection has to walk 400,000 objects: a pause of tens of milliseconds.
    if not _heap:
        _heap.extend([[n], {"n": n}] for n in range(200_000))
    await asyncio.sleep(0.010)
    kept = [[n] for n in range(3_000)]
    await asyncio.sleep(0.010)
    kept.clear()


@labels.get(app, "/first-request-import", row=DECOY)
async def first_request_import() -> None:
    for name in ("xmlrpc.client", "mailbox", "ftplib", "tarfile", "turtle", "imaplib"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    await asyncio.sleep(0.010)


_connected: list[bool] = []


@labels.get(app, "/first-request-connects", row=DECOY)
async def first_request_connects() -> None:
    if not _connected:
        _connected.append(True)
        time.sleep(0.150)
    await asyncio.sleep(0.010)


@labels.get(app, "/four-ms-of-framework", row=DECOY)
async def four_ms_of_framework() -> list[dict[str, Any]]:
    # Honest work on the loop: FastAPI encodes and serialises what is returned.
    await asyncio.sleep(0.004)
    return [{"id": n, "name": "tea", "price": n * 0.5} for n in range(1_200)]


async def _rows() -> AsyncIterator[bytes]:
    for number in range(5):
        await asyncio.sleep(0.004)
        yield f"row {number}\n".encode()


@labels.get(app, "/streaming", row=AWAIT)
async def streaming() -> StreamingResponse:
    return StreamingResponse(_rows())


def _sync_rows() -> Iterator[bytes]:
    for number in range(3):
        time.sleep(0.006)
        yield f"row {number}\n".encode()


@labels.get(app, "/streaming-in-threads", row=DEF)
async def streaming_in_threads() -> StreamingResponse:
    return StreamingResponse(_sync_rows())


async def _note() -> None:
    await asyncio.sleep(0.030)


@labels.get(app, "/background-awaits", row=AWAIT)
async def background_awaits(tasks: BackgroundTasks) -> None:
    await asyncio.sleep(0.010)
    tasks.add_task(_note)


@labels.get(app, "/background-in-threads", row=DEF)
async def background_in_threads(tasks: BackgroundTasks) -> None:
    await asyncio.sleep(0.010)
    tasks.add_task(time.sleep, 0.015)


@labels.get(app, "/async-subprocess", row=AWAIT)
async def async_subprocess() -> int:
    process = await asyncio.create_subprocess_exec("sleep", "0.03")
    return await process.wait()


def _settings() -> int:
    return 7


@labels.get(app, "/small-def-dependency", row=DEF)
async def small_def_dependency(seven: Annotated[int, Depends(_settings)]) -> int:
    await asyncio.sleep(0.010)
    return seven


@labels.get(app, "/small-file", row=DECOY)
async def small_file() -> int:
    await asyncio.sleep(0.008)
    return len(Path(__file__).read_bytes())


@labels.get(app, "/file-response", row=DEF)
async def file_response() -> FileResponse:
    return FileResponse(__file__)


_uploads = FastAPI()


@_uploads.post("/upload")
async def upload(request: Request) -> int:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
    await asyncio.sleep(0.010)
    return size


labels.add(_uploads, "/upload", row=AWAIT, upload=b"x" * 300_000)


class _Layer(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: Any) -> Any:
        return await call_next(request)


async def _ok(request: Request) -> PlainTextResponse:
    await asyncio.sleep(0.015)
    return PlainTextResponse("ok")


layered = Starlette(routes=[Route("/four-layers", _ok)])
for _ in range(4):
    layered.add_middleware(_Layer)
labels.add(layered, "/four-layers", row=AWAIT)
