"""Real endpoints without fault: databases, HTTP and a line protocol, all asynchronous."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiosqlite
import httpx
from fastapi import FastAPI, Request
from shop.orders import Order, OrderOut
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from .labels import Labels
from .services import database, host, port, url

labels = Labels(__name__)
DATABASE = "real endpoint: database"
HTTP = "real endpoint: HTTP"
PROTOCOL = "real endpoint: line protocol"


class _Pool:
    """Connections of a line protocol, as a client library keeps them."""

    def __init__(self) -> None:
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def command(self, line: bytes) -> bytes:
        """Send one command and return its answer."""
        if not self._free:
            self._free.append(await asyncio.open_connection(host(), port()))
        reader, writer = self._free.pop()
        writer.write(line)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(2)
        self._free.append((reader, writer))
        return head

    async def aclose(self) -> None:
        """Close what is open."""
        for _, writer in self._free:
            writer.close()
            await writer.wait_closed()


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{database()}", poolclass=AsyncAdaptedQueuePool, pool_size=60
    )
    pool = _Pool()
    async with httpx.AsyncClient(timeout=None) as client:
        yield {"engine": engine, "client": client, "pool": pool}
    await pool.aclose()
    await engine.dispose()


app = FastAPI(lifespan=_lifespan)


async def _orders(request: Request, number: int) -> list[Order]:
    async with AsyncSession(request.scope["state"]["engine"]) as session:
        return list((await session.scalars(select(Order).limit(number))).all())


@labels.get(app, "/one-row", row=DATABASE)
async def one_row(request: Request) -> list[OrderOut]:
    return [OrderOut.model_validate(order) for order in await _orders(request, 1)]


@app.get("/hundred-rows", response_model=list[OrderOut])
async def hundred_rows(request: Request) -> Any:
    return await _orders(request, 100)


@app.get("/thousand-rows", response_model=list[OrderOut])
async def thousand_rows(request: Request) -> Any:
    return await _orders(request, 1000)


labels.add(app, "/hundred-rows", row=DATABASE)
# Not without fault: a thousand rows cost the loop 15 ms and more, most of it SQLAlchemy's.
labels.add(app, "/thousand-rows", row="CPU on the loop", cause="cpu-on-loop")


@labels.get(app, "/aiosqlite", row=DATABASE)
async def with_aiosqlite() -> int:
    async with (
        aiosqlite.connect(database()) as connection,
        connection.execute("SELECT count(*) FROM orders") as cursor,
    ):
        return len(list(await cursor.fetchall()))


@labels.get(app, "/async-http", row=HTTP)
async def async_http(request: Request) -> str:
    return (await request.scope["state"]["client"].get(url(30))).text


@labels.get(app, "/two-services", row=HTTP)
async def two_services(request: Request) -> int:
    pool = request.scope["state"]["pool"]
    answer, head = await asyncio.gather(
        request.scope["state"]["client"].get(url(40)), pool.command(b"GET /20 HTTP/1.1\r\n\r\n")
    )
    return len(answer.text) + len(head)


@labels.get(app, "/line-protocol", row=PROTOCOL)
async def line_protocol(request: Request) -> int:
    return len(await request.scope["state"]["pool"].command(b"GET /8 HTTP/1.1\r\n\r\n"))


@labels.get(app, "/fast-line-protocol", row=PROTOCOL)
async def fast_line_protocol(request: Request) -> int:
    return len(await request.scope["state"]["pool"].command(b"GET /1 HTTP/1.1\r\n\r\n"))
