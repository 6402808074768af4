"""Time per request of our ASGI transport against httpx's own, side by side in one run.

Rounds alternate, so that a machine that drifts drifts for both; medians and ratios are printed.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from fastapi import FastAPI

from pytest_nonblocking.asgi.client import ASGITransport

ROUNDS = 31
REQUESTS = 200


async def null_app(scope: Any, receive: Any, send: Any) -> None:
    """Answer nothing."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def fastapi_app() -> FastAPI:
    """Return an application with one small endpoint."""
    app = FastAPI()

    @app.get("/")
    async def root() -> dict[str, str]:
        return {"hello": "world"}

    return app


async def _round(request: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.thread_time()
    for _ in range(REQUESTS):
        await request()
    return (time.perf_counter() - wall) / REQUESTS, (time.thread_time() - cpu) / REQUESTS


def _raw(transport: httpx.AsyncBaseTransport) -> Callable[[], Awaitable[object]]:
    request = httpx.Request("GET", "http://testserver/")

    async def send() -> None:
        response = await transport.handle_async_request(request)
        await response.aread()
        await response.aclose()

    return send


def _client(transport: httpx.AsyncBaseTransport) -> Callable[[], Awaitable[object]]:
    client = httpx.AsyncClient(transport=transport, base_url="http://testserver")

    async def get() -> None:
        await client.get("/")

    return get


async def compare(
    name: str, app: Any, drive: Callable[..., Callable[[], Awaitable[object]]]
) -> None:
    """Print the medians of both transports and their ratios."""
    ours, theirs = drive(ASGITransport(app)), drive(httpx.ASGITransport(app))
    for request in (ours, theirs):
        await _round(request)
    pairs = [(await _round(ours), await _round(theirs)) for _ in range(ROUNDS)]
    cells = []
    for column in (0, 1):
        mine = statistics.median(pair[0][column] for pair in pairs)
        other = statistics.median(pair[1][column] for pair in pairs)
        ratio = statistics.median(pair[0][column] / pair[1][column] for pair in pairs)
        cells.append(f"{mine * 1e6:7.1f} {other * 1e6:7.1f} {ratio:6.2f}")
    print(f"{name:<32} {cells[0]}   {cells[1]}")


async def main() -> None:
    """Compare on an application that does nothing and on a small FastAPI application."""
    print(f"{'us per request':<32} {'wall ours/httpx/ratio':>22}   {'cpu ours/httpx/ratio':>22}")
    for name, app in (("null app", null_app), ("FastAPI app", fastapi_app())):
        await compare(f"{name}, transport alone", app, _raw)
        await compare(f"{name}, AsyncClient.get", app, _client)


if __name__ == "__main__":
    asyncio.run(main())
