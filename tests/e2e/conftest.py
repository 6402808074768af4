"""What the tests with real apps share. Their folder is on the path: they import ``judged``."""

import functools

import pytest


@pytest.fixture
def measure(nonblocking):
    """Measure a scenario in bursts no larger than these tests need."""
    return functools.partial(nonblocking.measure, concurrency=20)


@pytest.fixture
def get(nonblocking_client):
    """Return a scenario: a GET that must be answered with "ok"."""

    def scenario(path):
        async def body():
            response = await nonblocking_client.get(path)
            assert (response.status_code, response.text) == (200, "ok")

        return body

    return scenario
