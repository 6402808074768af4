"""Asking another service."""

import pytest
from shop import stock

pytestmark = pytest.mark.nonblocking


@pytest.fixture
def nonblocking_app():
    return stock.app


async def test_requests_in_async(nonblocking_client):
    assert (await nonblocking_client.get("/requests-in-async")).status_code == 200


async def test_httpx_async(nonblocking_client):
    assert (await nonblocking_client.get("/httpx-async")).json() == {"stock": "12"}


async def test_requests_in_def(nonblocking_client):
    assert (await nonblocking_client.get("/requests-in-def")).status_code == 200


async def test_requests_offloaded(nonblocking_client):
    assert (await nonblocking_client.get("/requests-offloaded")).status_code == 200
