"""Databases."""

import pytest
from shop import orders

pytestmark = [pytest.mark.nonblocking, pytest.mark.usefixtures("shop_database")]


@pytest.fixture
def nonblocking_app():
    return orders.app


async def test_sqlite3(nonblocking_client):
    assert (await nonblocking_client.get("/sqlite3")).json() == 1


async def test_aiosqlite(nonblocking_client):
    assert (await nonblocking_client.get("/aiosqlite")).json() == 1


async def test_sync_session(nonblocking_client):
    assert (await nonblocking_client.get("/sync-session")).json() == 1


async def test_async_session(nonblocking_client):
    assert (await nonblocking_client.get("/async-session")).json() == 1


async def test_one_order(nonblocking_client):
    assert len((await nonblocking_client.get("/orders/1")).json()) == 1


async def test_a_page_of_orders(nonblocking_client):
    assert len((await nonblocking_client.get("/orders/100")).json()) == 100


async def test_all_orders(nonblocking_client):
    assert len((await nonblocking_client.get("/orders/1000")).json()) == 1000
