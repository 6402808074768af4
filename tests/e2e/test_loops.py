"""The same verdicts, causes and lines on every event loop: asyncio's own, uvloop and trio."""

import hashlib
import time
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from fastapi import FastAPI
from judged import said

pytestmark = pytest.mark.anyio

LOOPS = {
    "asyncio": ("asyncio", {}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
    "trio": ("trio", {}),
}
BLOCK = 0.05


@pytest.fixture(params=LOOPS)
def anyio_backend(request):
    for name in {"asyncio": (), "uvloop": ("uvloop",), "trio": ("trio",)}[request.param]:
        pytest.importorskip(name, reason=f"{name} is not installed")
    return LOOPS[request.param]


def compute(seconds):
    # Work and no time: a machine that is twice as slow takes twice as long.
    for _ in range(int(seconds * 60_000)):
        sum(range(1000))


def wait():
    time.sleep(0.02)


def block():
    time.sleep(BLOCK)


def make_app():
    app = FastAPI()
    limiter = anyio.CapacityLimiter(2)

    @app.get("/async-wait")
    async def async_wait():
        await anyio.sleep(0.02)

    @app.get("/def")
    def in_thread():
        wait()

    @app.get("/offloaded")
    async def offloaded():
        await anyio.to_thread.run_sync(hashlib.pbkdf2_hmac, "sha256", b"x", b"y", 20_000)

    @app.get("/blocking")
    async def blocking():
        await anyio.sleep(0.005)
        block()

    @app.get("/computing")
    async def computing():
        compute(BLOCK)

    @app.get("/sliced")
    async def sliced():
        for _ in range(12):
            compute(0.004)
            await anyio.sleep(0)

    @app.get("/queue")
    async def queue():
        async with limiter:
            await anyio.sleep(0.02)

    @app.get("/threads")
    async def threads():
        await anyio.to_thread.run_sync(wait, limiter=limiter)

    @app.get("/python-in-threads")
    def python_in_threads():
        compute(0.02)

    return app


@pytest.fixture
def nonblocking_app():
    return make_app()


async def measured(nonblocking, client, path):
    async def scenario():
        assert (await client.get(path)).status_code == 200

    return await nonblocking.measure(scenario, concurrency=20)


@pytest.mark.parametrize("path", ["async-wait", "def", "offloaded"])
async def test_what_does_not_block_passes(nonblocking, nonblocking_client, path):
    outcome = await measured(nonblocking, nonblocking_client, f"/{path}")
    assert said(outcome)[0] == "pass"


COMPUTES = ("for _ in range(int(seconds * 60_000)):", "sum(range(1000))")


@pytest.mark.parametrize(
    ("path", "cause", "lines"),
    [
        ("blocking", "blocking-call", ["time.sleep(BLOCK)"]),
        ("computing", "cpu-on-loop", COMPUTES),
        ("sliced", "cpu-on-loop", COMPUTES),
        ("queue", "serialised-wait", ["async with limiter:"]),
        ("threads", "thread-pool", ["await anyio.to_thread.run_sync(wait, limiter=limiter)"]),
        ("python-in-threads", "gil-contention", COMPUTES),
    ],
)
async def test_what_blocks_fails_with_its_cause_and_its_line(
    nonblocking, nonblocking_client, path, cause, lines
):
    outcome = await measured(nonblocking, nonblocking_client, f"/{path}")
    assert said(outcome)[:2] == ("fail", cause)
    assert Path(outcome.culprit.file) == Path(__file__)
    assert outcome.culprit.code in lines
