"""The application behind a real server, in a thread of this process with its own loop."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from .. import tasks
from ..model import Exchange, Limit
from ..originals import asyncio, os, socket
from ..sentinel import COPY, LOGS_OF_ENDS, logs_only
from ..sentinel.stacks import suspended_stack, thread_stack
from .door import Door
from .lifespan import (
    DEFAULT_TIMEOUT,
    NO_REASON,
    AppShutdownError,
    AppStartupError,
    ASGIApp,
    Message,
    error_text,
    late_text,
    place_text,
    seconds_within,
)
from .observed import News, Requests
from .server_thread import ServerThread

MARK = "x-nonblocking-copy"
"""The request header with the index of the sending copy; removed before the app sees it."""

_START_WITHIN = 30.0
"""Seconds in which a server must start the app's lifespan; its packages may have to be imported."""
_GRACE = 1
"""Seconds that a server gives requests that still run, before it shuts the app down."""

Serve = Callable[[ASGIApp, socket.socket, asyncio.Event], Awaitable[None]]


async def _uvicorn(app: ASGIApp, listener: socket.socket, leave: asyncio.Event) -> None:
    import uvicorn

    # uvicorn's default logging would replace the user's configuration.
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="auto", timeout_graceful_shutdown=_GRACE
    )
    server = uvicorn.Server(config)

    async def exit_on_leave() -> None:
        await leave.wait()
        server.should_exit = True

    leaving = asyncio.ensure_future(exit_on_leave())
    try:
        # In the main task: if uvicorn exits because the app does not start, the exception of any
        # other one is logged where the garbage collector finds it, in the middle of another test.
        await server.serve(sockets=[listener])
    finally:
        leaving.cancel()


async def _hypercorn(app: ASGIApp, listener: socket.socket, leave: asyncio.Event) -> None:
    hypercorn: Any = importlib.import_module("hypercorn.asyncio")
    config: Any = importlib.import_module("hypercorn.config").Config()
    config.bind = [f"fd://{os.dup(listener.fileno())}"]  # hypercorn closes its descriptor
    config.errorlog = None
    config.graceful_timeout = float(_GRACE)
    await hypercorn.serve(app, config, shutdown_trigger=leave.wait)


SERVERS: dict[str, Serve] = {"uvicorn": _uvicorn, "hypercorn": _hypercorn}


class LiveServer:
    """Serves ``app`` on a free loopback port from ``startup`` to ``shutdown``.

    It implements the transport protocol of a scenario. ``loop`` is the loop of the server's thread,
    on which the app runs.
    """

    def __init__(self, app: ASGIApp, server: str, timeout: Limit = DEFAULT_TIMEOUT) -> None:
        self._timeout = timeout
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
        self._leave: asyncio.Event | None = None
        self._thread: ServerThread | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop of the server's thread, None unless it runs."""
        return None if self._thread is None else self._thread.loop

    @property
    def thread_ident(self) -> int:
        """The identifier of the server's thread, 0 unless it runs."""
        return 0 if self._thread is None else self._thread.ident

    async def startup(self) -> None:
        """Start the server; raises AppStartupError. May be called twice."""
        if self._thread is not None:
            return
        name = f"pytest-nonblocking-{self._server}"
        thread = self._thread = ServerThread(name, self._serve, self._news)
        thread.start()
        for log in LOGS_OF_ENDS:
            log.addFilter(self._is_of_app)
        app = self._observed
        if await thread.until(lambda: app.has_begun, _START_WITHIN):
            await thread.until(lambda: app.ready, seconds_within(self._timeout))
        if app.ready and app.startup_failure is None and not thread.ended:
            return
        reason = app.startup_failure or self._why_not_started(thread)
        error = app.error or thread.error
        await self._end(tasks.GRACE if app.ready else 0.0)
        raise AppStartupError(f"application startup failed: {reason}") from error

    def _why_not_started(self, thread: ServerThread) -> str:
        if thread.ended:
            return f"{self._server} ended: {thread.error!r}"
        if self._observed.lifespan is None:
            return f"{self._server} has not called the app within {_START_WITHIN:g} s"
        return self._late_text("start-up", thread)

    def _late_text(self, phase: str, thread: ServerThread) -> str:
        task = self._observed.lifespan
        if task is None or task.done():
            return f"{self._server} has not ended within {seconds_within(self._timeout):g} s"
        stack = suspended_stack(task.get_coro())
        return late_text(phase, stack or thread_stack(thread.ident), self._timeout)

    async def shutdown(self) -> None:
        """Stop the server; raises AppShutdownError if the app's shutdown fails or hangs."""
        app, thread = self._observed, self._thread
        within = seconds_within(self._timeout) + (_GRACE if self.in_flight() else 0)
        reason = await self._end(within) or app.shutdown_failure
        if reason is not None:
            raise AppShutdownError(f"application shutdown failed: {reason}") from app.error
        if (died := self._why_ended(thread)) is not None:
            raise AppShutdownError(died)

    def why_ended(self) -> str | None:
        """Return why the server has ended by itself, None if it has not."""
        return self._why_ended(self._thread)

    def _why_ended(self, thread: ServerThread | None) -> str | None:
        if thread is None or thread.error is None or thread.forced:
            return None
        return f"{self._server} ended during the test: {thread.error!r}"

    async def _end(self, within: float) -> str | None:
        """Stop the server within some seconds, later by force; return why that failed."""
        thread, self._thread = self._thread, None
        self._requests.close()
        reason = None
        if thread is not None:

            def late() -> None:
                nonlocal reason
                reason = self._late_text("shutdown", thread)

            stack = await thread.end(self._set_leave, within, late)
            if stack is not None:
                reason = (
                    f"the thread of {self._server} cannot be interrupted in {place_text(stack)}; "
                    "it stays until the process ends"
                )
        for log in LOGS_OF_ENDS:
            log.removeFilter(self._is_of_app)
        self.release()
        return reason

    def _is_of_app(self, record: logging.LogRecord) -> bool:
        """Return whether ``record`` is not about a request that ends with its server."""
        return not (self._requests.is_closed and logs_only(asyncio.CancelledError, record))

    def _set_leave(self) -> None:
        if self._leave is not None:
            self._leave.set()

    def release(self) -> None:
        """Close the port; may be called twice."""
        self._listener.close()

    async def _serve(self) -> None:
        self._leave = asyncio.Event()
        self.door.loop = asyncio.get_running_loop()
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
    """Wraps the app to record its requests and its lifespan.

    ``lifespan`` is the task that runs the app's lifespan, ``error`` the exception that ended it.
    """

    def __init__(self, app: ASGIApp, requests: Requests, news: News) -> None:
        self._app = app
        self._requests = requests
        self._news = news
        self._asked: str | None = None
        self.lifespan: asyncio.Task[Any] | None = None
        self.ready = False
        self.error: BaseException | None = None
        self.startup_failure: str | None = None
        self.shutdown_failure: str | None = None

    @property
    def has_begun(self) -> bool:
        """Whether the server has called the app."""
        return self.lifespan is not None

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        copy = _taken_mark(scope)
        COPY.set(copy)
        await self._requests.serve(self._app, scope, receive, send, copy)

    async def _live(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.lifespan = asyncio.current_task()
        self._news.spread()

        async def asked() -> Message:
            event: Message = await receive()
            self._asked = event["type"]
            return event

        async def seen(message: Message) -> None:
            # Before sending: hypercorn raises on a failure.
            if message["type"].endswith(".failed"):
                self._failed(message.get("message", "") or NO_REASON)
            elif message["type"] == "lifespan.shutdown.complete":
                self._asked = None
            await send(message)
            self._is_ready()

        try:
            await self._app(scope, asked, seen)
        except BaseException as error:
            # An app without lifespan support raises before it receives an event. What cancels one
            # that has nothing to do between its phases is the end of the server.
            is_between = self.ready and self._asked == "lifespan.startup"
            is_cancelled = is_between and isinstance(error, asyncio.CancelledError)
            if self._asked is not None and not is_cancelled:
                self.error = error
                self._failed(error_text(error))
            raise
        finally:
            self._is_ready()

    def _failed(self, reason: str) -> None:
        if not self.ready:
            self.startup_failure = self.startup_failure or reason
        else:
            self.shutdown_failure = self.shutdown_failure or reason

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
