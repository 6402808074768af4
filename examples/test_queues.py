"""Queues of requests."""

import pytest
from shop import queues

pytestmark = pytest.mark.nonblocking


@pytest.fixture
def nonblocking_app():
    return queues.app


@pytest.mark.parametrize(
    "path",
    [
        "forty-threads",
        "small-limiter",
        "asyncio-to-thread",
        "lock",
        "no-lock",
        "semaphore",
        "small-pool",
        "pool",
    ],
)
async def test_queue(nonblocking_client, path):
    assert (await nonblocking_client.get(f"/{path}")).json() == "ok"


@pytest.mark.nonblocking(allow="serialised-wait")
async def test_accepted_lock(nonblocking_client):
    assert (await nonblocking_client.get("/lock")).json() == "ok"


class TestWithFewThreads:
    """The same handler where the worker threads are four."""

    @pytest.fixture
    def nonblocking_app(self):
        return queues.app_with_few_threads

    async def test_four_threads(self, nonblocking_client):
        assert (await nonblocking_client.get("/four-threads")).json() == "ok"
