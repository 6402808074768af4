"""The application behind a real server, in a thread of this process with its own loop."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from ..model import Exchange
from ..sentinel import COPY
from ..tasks import GRACE
from .door import Door
from .lifespan import AppShutdownError, AppStartupError, ASGIApp, Message
from .observed import News, Requests

MARK = "x-nonblocking-copy"
"""The request header with the index of the sending copy; removed before the app sees it."""

_START_WITHIN = 30.0

Serve = Callable[[ASGIApp, socket.socket, asyncio.Event], Awaitable[None]]


async def _uvicorn(app: ASGIApp, listener: socket.socket, leave: asyncio.Event) -> None:
    import uvicorn

    # uvicorn's default logging would replace the user's configuration.
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="auto", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    leaving = asyncio.ensure_future(leave.wait())
    await asyncio.wait((serving, leaving), return_when=asyncio.FIRST_COMPLETED)
    leaving.cancel()
    server.should_exit = True
    await serving


async def _hypercorn(app: ASGIApp, listener: socket.socket, leave: asyncio.Event) -> None:
    hypercorn: Any = importlib.import_module("hypercorn.asyncio")
    config: Any = importlib.import_module("hypercorn.config").Config()
    config.bind = [f"fd://{os.dup(listener.fileno())}"]  # hypercorn closes its descriptor
    config.errorlog = None
    config.graceful_timeout = 1.0
    await hypercorn.serve(app, config, shutdown_trigger=leave.wait)


SERVERS: dict[str, Serve] = {"uvicorn": _uvicorn, "hypercorn": _hypercorn}


class LiveServer:
    """Serves ``app`` on a free loopback port from ``startup`` to ``shutdown``.

    It implements the transport protocol of a scenario. ``loop`` is the loop of the server's thread,
    on which the app runs.
    """

    def __init__(self, app: ASGIApp, server: str) -> None:
        self._news = News()
        self.door = Door()
        self._requests = Requests(self.door, self._news)
        self._observed = _Observed(app, self._requests, self._news)
        self._server = server
        # asyncio disables Nagle's algorithm (40 ms per request) only for an explicit TCP protocol.
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(1024)
        self.port = int(self._listener.getsockname()[1])
        self.loop: asyncio.AbstractEventLoop | None = None
        self._leave: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._ended = False

    async def startup(self) -> None:
        """Start the server; raises AppStartupError. May be called twice."""
        if self._thread is not None:
            return
        self._thread = threading.Thread(
            target=self._run, name=f"pytest-nonblocking-{self._server}", daemon=True
        )
        self._thread.start()
        await self._news.until(lambda: self._observed.ready or self._ended, _START_WITHIN)
        if self._observed.ready and self._observed.startup_failure is None:
            return
        reason = self._observed.startup_failure or self._error or "it did not start in time"
        await self._end()
        raise AppStartupError(f"application startup failed: {reason}") from self._error

    async def shutdown(self) -> None:
        """Stop the server; raises AppShutdownError if the app's shutdown fails."""
        await self._end()
        if self._observed.shutdown_failure is not None:
            raise AppShutdownError(
                f"application shutdown failed: {self._observed.shutdown_failure}"
            )

    async def _end(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            # The loop may be closed at any time.
            with contextlib.suppress(RuntimeError):
                if self.loop is not None and self._leave is not None:
                    self.loop.call_soon_threadsafe(self._leave.set)
            await self._news.until(lambda: self._ended, GRACE)
            if self._ended:
                thread.join()
        self.release()

    def release(self) -> None:
        """Close the port; may be called twice."""
        self._listener.close()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._error = error
        finally:
            self._ended = True
            self._news.spread()

    async def _serve(self) -> None:
        self._leave = asyncio.Event()
        self.loop = self.door.loop = asyncio.get_running_loop()
        await SERVERS[self._server](self._observed, self._listener, self._leave)

    # The transport protocol of a scenario

    def drain(self) -> list[Exchange]:
        """Return the finished exchanges and clear the record."""
        return self._requests.drain()

    def in_flight(self) -> list[Exchange]:
        """Return the exchanges that the app is still processing."""
        return self._requests.in_flight()

    def raise_failure(self) -> None:
        """Do nothing: the server reports the app's exceptions."""

    async def settle(self) -> None:
        """Wait until the app has no request in progress."""
        await self._requests.settle()


class _Observed:
    """Wraps the app to record its requests and its lifespan."""

    def __init__(self, app: ASGIApp, requests: Requests, news: News) -> None:
        self._app = app
        self._requests = requests
        self._news = news
        self.ready = False
        self.startup_failure: str | None = None
        self.shutdown_failure: str | None = None

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        copy = _taken_mark(scope)
        COPY.set(copy)
        await self._requests.serve(self._app, scope, receive, send, copy)

    async def _live(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        async def seen(message: Message) -> None:
            # Before sending: hypercorn raises on a failure.
            if message["type"] == "lifespan.startup.failed":
                self.startup_failure = message.get("message", "") or "no reason given"
            elif message["type"] == "lifespan.shutdown.failed":
                self.shutdown_failure = message.get("message", "") or "no reason given"
            await send(message)
            self._is_ready()

        try:
            await self._app(scope, receive, seen)
        finally:
            self._is_ready()  # an app without lifespan support raises at once

    def _is_ready(self) -> None:
        self.ready = True
        self._news.spread()


def _taken_mark(scope: dict[str, Any]) -> int | None:
    """Return the copy that sent a request, and remove the header that says so."""
    mark = MARK.encode()
    marks = [value for name, value in scope["headers"] if name == mark]
    if not marks:
        return None
    scope["headers"] = [header for header in scope["headers"] if header[0] != mark]
    return int(marks[0]) if marks[0].isdigit() else None
