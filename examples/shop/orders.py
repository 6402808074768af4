"""Databases: the synchronous drivers block, their asyncio twins do not.

The function ``slow()`` stands for a slow disk: it sleeps inside SQLite, without the GIL.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiosqlite
from fastapi import FastAPI, Request
from pydantic import BaseModel, ConfigDict
from sqlalchemy import create_engine, event, select, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import AsyncAdaptedQueuePool

_DELAY = 0.04
_SLOW_QUERY = "SELECT slow(), count(*) FROM orders WHERE id < 10"


def _slow() -> int:
    time.sleep(_DELAY)
    return 1


def database() -> str:
    """Return the file of the database."""
    return os.environ["SHOP_DATABASE"]


class Base(DeclarativeBase):
    """The tables of the shop."""


class Order(Base):
    """An order."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str]
    product: Mapped[str]
    amount: Mapped[int]
    price: Mapped[float]


class OrderOut(BaseModel):
    """An order as the API shows it."""

    model_config = ConfigDict(from_attributes=True)
    id: int
    customer: str
    product: str
    amount: int
    price: float


def fill(file: str) -> None:
    """Write the tables and a thousand orders."""
    engine = create_engine(f"sqlite:///{file}")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(
            Order(id=n, customer=f"customer {n}", product="tea", amount=n % 7, price=n * 0.5)
            for n in range(1, 1001)
        )
        session.commit()
    engine.dispose()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """Keep an engine of each kind, with a connection for each of 60 requests: none queues."""
    sync = create_engine(f"sqlite:///{database()}")
    asynchronous = create_async_engine(
        f"sqlite+aiosqlite:///{database()}", poolclass=AsyncAdaptedQueuePool, pool_size=60
    )
    for engine in (sync, asynchronous.sync_engine):
        event.listen(engine, "connect", lambda db, _: db.create_function("slow", 0, _slow))
    yield {"sync": sync, "async": asynchronous}
    sync.dispose()
    await asynchronous.dispose()


app = FastAPI(lifespan=lifespan)


@app.get("/sqlite3")
async def with_sqlite3() -> int:
    """Wrong: sqlite3 waits for the disk on the loop."""
    connection = sqlite3.connect(database())
    connection.create_function("slow", 0, _slow)
    rows = connection.execute(_SLOW_QUERY).fetchall()
    connection.close()
    return len(rows)


@app.get("/aiosqlite")
async def with_aiosqlite() -> int:
    """Right: aiosqlite waits in a thread of its own."""
    async with aiosqlite.connect(database()) as connection:
        await connection.create_function("slow", 0, _slow)
        async with connection.execute(_SLOW_QUERY) as cursor:
            return len(list(await cursor.fetchall()))


@app.get("/sync-session")
async def with_sync_session(request: Request) -> int:
    """Wrong: SQLAlchemy's Session in an `async def` handler."""
    with Session(request.state.sync) as session:
        return len(session.execute(text(_SLOW_QUERY)).all())


@app.get("/async-session")
async def with_async_session(request: Request) -> int:
    """Right: SQLAlchemy's AsyncSession."""
    async with AsyncSession(request.scope["state"]["async"]) as session:
        return len((await session.execute(text(_SLOW_QUERY))).all())


async def _orders(request: Request, number: int) -> list[Order]:
    async with AsyncSession(request.scope["state"]["async"]) as session:
        return list((await session.scalars(select(Order).limit(number))).all())


@app.get("/orders/1", response_model=list[OrderOut])
async def one_order(request: Request) -> Any:
    """Right: a little work on the loop for each request is what a loop is for."""
    return await _orders(request, 1)


@app.get("/orders/100", response_model=list[OrderOut])
async def a_page_of_orders(request: Request) -> Any:
    """Right: a page of orders costs some milliseconds of CPU."""
    return await _orders(request, 100)


@app.get("/orders/1000", response_model=list[OrderOut])
async def all_orders(request: Request) -> Any:
    """Wrong: a thousand rows cost the loop so much CPU that other requests wait."""
    return await _orders(request, 1000)
