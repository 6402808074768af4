"""A sentinel sees each callback from its start on, on every loop and within other measurements."""

import threading
import time

import anyio
import pytest

from pytest_nonblocking.sentinel import Sentinel

pytestmark = pytest.mark.anyio

LOOPS = {
    "asyncio": ("asyncio", {}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
    "trio": ("trio", {}),
}
BLOCK = 0.05
SEEN = BLOCK / 2


@pytest.fixture(params=LOOPS)
def anyio_backend(request):
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    return LOOPS[request.param]


def blocked(sentinel):
    """Return the number of callbacks that were blocked for as long as ``BLOCK``."""
    return sum(step.blocked > SEEN for step in sentinel.steps)


@pytest.mark.parametrize("then", [0, 0.02])
async def test_the_callback_in_which_it_starts_counts_from_the_start(then):
    time.sleep(BLOCK)
    with Sentinel() as sentinel:
        time.sleep(BLOCK)
        await anyio.sleep(then)
    assert blocked(sentinel) == 1
    assert SEEN < sentinel.max_blocked < 2 * BLOCK


async def test_one_around_another_sees_what_comes_before_within_and_after():
    with Sentinel() as outer:
        time.sleep(BLOCK)
        await anyio.sleep(0)
        with Sentinel() as inner:
            for _ in range(3):
                time.sleep(BLOCK)
                await anyio.sleep(0)
        time.sleep(BLOCK)
        await anyio.sleep(0)
    assert (blocked(outer), blocked(inner)) == (5, 3)


async def test_one_that_outlives_another_sees_what_comes_after():
    first, second = Sentinel(), Sentinel()
    first.start()
    second.start()
    await anyio.sleep(0)
    first.stop()
    await anyio.sleep(0)
    time.sleep(BLOCK)
    await anyio.sleep(0)
    second.stop()
    assert (blocked(first), blocked(second)) == (0, 1)


async def test_one_around_a_measurement_sees_what_comes_before_and_after(
    loop_sentinel, nonblocking
):
    async def scenario():
        await anyio.sleep(0.001)

    with loop_sentinel:
        time.sleep(BLOCK)
        await anyio.sleep(0)
        await nonblocking.measure(scenario, concurrency=4)
        assert blocked(loop_sentinel) == 1
        time.sleep(BLOCK)
        await anyio.sleep(0)
    assert blocked(loop_sentinel) == 2


async def test_reading_it_takes_nothing_from_a_measurement(loop_sentinel, nonblocking):
    async def scenario():
        time.sleep(BLOCK)
        await anyio.sleep(0)
        assert loop_sentinel.max_blocked > SEEN

    outcome = await nonblocking.measure(scenario, concurrency=4)
    assert outcome.judgement.cause == "blocking-call"
    assert outcome.judgement.max_blocked > SEEN


def computes():
    end = time.thread_time() + BLOCK
    while time.thread_time() < end:
        pass


async def test_what_threads_compute_while_a_window_is_closed_is_in_the_next_one(monkeypatch):
    def read_beside_a_thread():
        thread = threading.Thread(target=computes)
        thread.start()
        thread.join()
        return {}

    with Sentinel() as sentinel:
        monkeypatch.setattr(sentinel.background, "others", read_beside_a_thread)
        opened = sentinel.reading()  # its own wait is before the release
        window = sentinel.close_window(opened)
        following = sentinel.close_window(window.closed)
    assert max(window.budget.gil, window.budget.other_cpu) < SEEN
    assert min(following.budget.gil, following.budget.gil_cpu, following.budget.other_cpu) > SEEN
    assert following.wall >= following.budget.gil
