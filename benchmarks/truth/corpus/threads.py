"""Rows "pure-Python CPU in threads" and "thread-pool saturation"."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio import to_thread
from fastapi import FastAPI, Request

from .labels import Labels

labels = Labels(__name__)
GIL = "Python in threads"
POOL = "thread-pool saturation"


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    limiter = anyio.CapacityLimiter(4)
    with (
        concurrent.futures.ThreadPoolExecutor(2) as two,
        concurrent.futures.ThreadPoolExecutor(8) as eight,
        concurrent.futures.ThreadPoolExecutor(1) as one,
    ):
        yield {"one": one, "two": two, "eight": eight, "limiter": limiter}


app = FastAPI(lifespan=_lifespan)


def _render() -> int:
    total = 0
    for value in range(350_000):  # culprit: python-in-to-thread
        total = (total + value * 31) % 65_521  # culprit: python-in-to-thread
    return total


@labels.get(app, "/python-in-to-thread", row=GIL, cause="gil-contention")
async def python_in_to_thread() -> int:
    return await to_thread.run_sync(_render)


@labels.get(app, "/python-in-def", row=GIL, cause="gil-contention")
def python_in_def() -> int:
    total = 0
    for value in range(500_000):  # culprit: python-in-def
        total = (total + value * 31) % 65_521  # culprit: python-in-def
    return total


def _parse() -> int:
    total = 0
    for value in range(700_000):  # culprit: python-in-executor
        total = (total + value * 31) % 65_521  # culprit: python-in-executor
    return total


@labels.get(app, "/python-in-executor", row=GIL, cause="gil-contention")
async def python_in_executor(request: Request) -> int:
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(request.scope["state"]["eight"], _parse)


_TEXT = json.dumps([{"id": n, "name": f"name {n}"} for n in range(25_000)])


@labels.get(app, "/json-in-def", row=GIL, cause="gil-contention")
def json_in_def() -> int:
    return len(json.loads(_TEXT))  # culprit: json-in-def


@labels.get(app, "/wait-then-python-in-def", row=GIL, cause="gil-contention")
def wait_then_python() -> int:
    time.sleep(0.010)
    total = 0
    for value in range(350_000):  # culprit: wait-then-python-in-def
        total = (total + value * 31) % 65_521  # culprit: wait-then-python-in-def
    return total


def _sleep_in_two() -> None:
    time.sleep(0.020)


@labels.get(app, "/executor-of-two", row=POOL, cause="thread-pool")
async def executor_of_two(request: Request) -> None:
    loop = asyncio.get_running_loop()
    pool = request.scope["state"]["two"]
    await loop.run_in_executor(pool, _sleep_in_two)  # culprit: executor-of-two


@labels.get(app, "/executor-of-one", row=POOL, cause="thread-pool")
async def executor_of_one(request: Request) -> None:
    loop = asyncio.get_running_loop()
    pool = request.scope["state"]["one"]
    await loop.run_in_executor(pool, time.sleep, 0.010)  # culprit: executor-of-one


@labels.get(app, "/limiter-of-four", row=POOL, cause="thread-pool")
async def limiter_of_four(request: Request) -> None:
    limiter = request.scope["state"]["limiter"]
    await to_thread.run_sync(time.sleep, 0.030, limiter=limiter)  # culprit: limiter-of-four


@asynccontextmanager
async def _few_threads(app: FastAPI) -> AsyncIterator[None]:
    to_thread.current_default_thread_limiter().total_tokens = 5
    yield


few_threads = FastAPI(lifespan=_few_threads)


@labels.get(few_threads, "/def-with-five-tokens", row=POOL, cause="thread-pool")
def def_with_five_tokens() -> None:
    time.sleep(0.020)  # culprit: def-with-five-tokens


@labels.get(few_threads, "/answer-in-five-threads", row=POOL, cause="thread-pool")
def answer_in_five_threads() -> None:
    answered = threading.Event()  # by another thread
    threading.Timer(0.030, answered.set).start()
    answered.wait()  # culprit: answer-in-five-threads
