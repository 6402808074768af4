"""Asking another service: requests blocks, httpx.AsyncClient does not."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import requests
from fastapi import FastAPI, Request


def service_url() -> str:
    """Return where the stock service answers."""
    return os.environ["STOCK_URL"]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """Keep one client for all requests."""
    async with httpx.AsyncClient() as client:
        yield {"client": client}


app = FastAPI(lifespan=lifespan)


@app.get("/requests-in-async")
async def requests_in_async() -> Any:
    """Wrong: requests waits for the answer and the loop with it."""
    return requests.get(service_url(), timeout=10).json()


@app.get("/httpx-async")
async def httpx_async(request: Request) -> Any:
    """Right: the loop serves others meanwhile."""
    return (await request.state.client.get(service_url())).json()


@app.get("/requests-in-def")
def requests_in_def() -> Any:
    """Right: FastAPI runs `def` handlers in worker threads."""
    return requests.get(service_url(), timeout=10).json()


@app.get("/requests-offloaded")
async def requests_offloaded() -> Any:
    """Right: offloaded by hand."""
    response = await anyio.to_thread.run_sync(lambda: requests.get(service_url(), timeout=10))
    return response.json()
