"""CPU work: on the loop, in threads, in processes."""

from __future__ import annotations

import asyncio
import hashlib
import multiprocessing
import time
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import anyio
from fastapi import FastAPI, Request

_COST = 0.03
_SLICE = 0.001


def render(seconds: float = _COST) -> int:
    """Stand for pure-Python work: burns ``seconds`` of CPU, whatever the machine's speed."""
    end = time.thread_time() + seconds
    rounds = 0
    while time.thread_time() < end:
        rounds += 1
    return rounds


def _rounds_that_cost(seconds: float) -> int:
    """Return for how many rounds the key derivation takes ``seconds`` on this machine."""
    rounds = 20_000
    before = time.thread_time()
    hashlib.pbkdf2_hmac("sha256", b"password", b"salt", rounds)
    return max(1, int(rounds * seconds / (time.thread_time() - before)))


_ROUNDS = _rounds_that_cost(0.02)


def derive_key() -> bytes:
    """Work for 20 ms in C, without the GIL."""
    return hashlib.pbkdf2_hmac("sha256", b"password", b"salt", _ROUNDS)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """Keep two worker processes, started before the first request."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        await asyncio.gather(*(in_process(pool, 0.2) for _ in range(4)))
        yield {"pool": pool}


async def in_process(pool: ProcessPoolExecutor, seconds: float) -> int:
    """Render in a worker process."""
    return await asyncio.get_running_loop().run_in_executor(pool, render, seconds)


app = FastAPI()
app_with_processes = FastAPI(lifespan=lifespan)


@app.get("/on-the-loop")
async def on_the_loop() -> int:
    """Wrong: nobody else is served meanwhile."""
    return render()


@app.get("/on-the-loop-in-slices")
async def on_the_loop_in_slices() -> int:
    """Wrong: `sleep(0)` lets others in, but there is still one loop for all the work."""
    rounds = 0
    for _ in range(int(_COST / _SLICE)):
        rounds += render(_SLICE)
        await asyncio.sleep(0)
    return rounds


@app.get("/in-threads")
async def in_threads() -> int:
    """Wrong: pure-Python threads take turns at one GIL."""
    return await anyio.to_thread.run_sync(render)


@app.get("/key-in-threads")
async def key_in_threads() -> str:
    """Right: C code that releases the GIL runs on all cores."""
    return (await anyio.to_thread.run_sync(derive_key)).hex()


@app_with_processes.get("/in-processes")
async def in_processes(request: Request) -> int:
    """Right: processes have a GIL each."""
    return await in_process(request.state.pool, _COST)
