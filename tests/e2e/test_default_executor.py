"""The executor of ``asyncio.to_thread`` has as many threads as the machine has CPUs, and 4 more."""

import asyncio
import os
import time

import anyio
import pytest
from judged import said

pytestmark = pytest.mark.anyio

THREADS = min(32, (os.cpu_count() or 1) + 4)


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request):
    if request.param == "uvloop":
        pytest.importorskip("uvloop", reason="uvloop is not installed")
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


def look_up():
    time.sleep(0.05)


async def test_its_size_is_a_note_and_no_fault_of_the_app(nonblocking):
    async def scenario():
        await anyio.sleep(0)
        await asyncio.to_thread(look_up)

    outcome = await nonblocking.measure(scenario, concurrency=4 * THREADS)
    assert said(outcome)[:2] == ("pass", None)
    assert f"asyncio's default executor has {THREADS} threads on this machine" in outcome.notes[0]
