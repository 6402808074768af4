"""Blocking calls far from the handler: a dependency, a middleware, a validator."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from pydantic import BaseModel, field_validator

_DELAY = 0.03


def look_up_token() -> str:
    """Stand for a synchronous client of a session store."""
    time.sleep(_DELAY)
    return "token"


async def blocking_dependency() -> str:
    """Wrong: an `async def` dependency that waits on the loop."""
    return look_up_token()


def threaded_dependency() -> str:
    """Right: FastAPI runs `def` dependencies in worker threads."""
    return look_up_token()


class AuditMiddleware:
    """Writes an audit log before each request: for one path it waits on the loop."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        """Wrap ``app``."""
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle one request."""
        if scope.get("path") == "/blocking-middleware":
            time.sleep(_DELAY)
        elif scope.get("path") == "/async-middleware":
            await asyncio.sleep(_DELAY)
        await self.app(scope, receive, send)


class CheckedAddress(BaseModel):
    """An address that is checked against a slow register."""

    street: str

    @field_validator("street")
    @classmethod
    def exists(cls, street: str) -> str:
        """Wrong: a validator runs on the loop."""
        time.sleep(_DELAY)
        return street


class Address(BaseModel):
    """An address as it is sent."""

    street: str


app = FastAPI()
app.add_middleware(AuditMiddleware)


@app.get("/blocking-dependency")
async def with_blocking_dependency(token: Annotated[str, Depends(blocking_dependency)]) -> str:
    """Wrong: the handler is innocent, its dependency is not."""
    return token


@app.get("/threaded-dependency")
async def with_threaded_dependency(token: Annotated[str, Depends(threaded_dependency)]) -> str:
    """Right."""
    return token


@app.get("/blocking-middleware")
async def behind_blocking_middleware() -> str:
    """Wrong: the middleware in front of it blocks."""
    return "ok"


@app.get("/async-middleware")
async def behind_async_middleware() -> str:
    """Right."""
    return "ok"


@app.post("/blocking-validator")
async def with_blocking_validator(address: CheckedAddress) -> str:
    """Wrong: the body's validator blocks."""
    return address.street


@app.post("/checked-in-handler")
async def checked_in_handler(address: Address) -> str:
    """Right: the check awaits."""
    await asyncio.sleep(_DELAY)
    return address.street
