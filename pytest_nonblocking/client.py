"""An ASGI transport for httpx (or httpx2), the lifespan of its application, and the client.

Unlike httpx's own, it runs every request in a task of its own, as a server does: responses
stream, clients can leave, and background work does not delay the response.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, MutableMapping
from typing import Any

from .clocks import CLOCKS
from .results import Exchange

try:
    import httpx
except ImportError:  # where only its successor is installed, which has the same interface
    import httpx2 as httpx  # type: ignore[no-redef,import-not-found,unused-ignore]

Message = MutableMapping[str, Any]
ASGIApp = Callable[..., Awaitable[None]]

_HIGH_WATER = 65536
_GRACE = 5.0


class AppStartupError(Exception):
    """The application's lifespan failed at start-up; the message is the application's own."""


class AppShutdownError(Exception):
    """The application's lifespan failed at shutdown, or did not answer."""


class _Call:
    """One request on its way through the application."""

    __slots__ = (
        "_body",
        "_chunks",
        "_drained",
        "_loop",
        "_request_stream",
        "_size",
        "_transport",
        "_waiting_app",
        "_waiting_client",
        "complete",
        "delivered",
        "disconnected",
        "error",
        "headers",
        "last_byte_ns",
        "method",
        "path",
        "response_start_ns",
        "start_ns",
        "status",
        "task",
    )

    def __init__(
        self,
        transport: ASGITransport,
        loop: asyncio.AbstractEventLoop,
        method: str,
        path: str,
    ) -> None:
        self._transport = transport
        self._loop = loop
        self.method = method
        self.path = path
        self.status: int | None = None
        self.headers: list[tuple[bytes, bytes]] = []
        self._chunks: list[bytes] = []
        self._size = 0
        self._body: bytes | None = None
        self._request_stream: AsyncIterator[bytes] | None = None
        self.complete = False
        self.disconnected = False
        self.delivered = False
        self.error: BaseException | None = None
        # Futures are made only by who has to wait.
        self._waiting_client: asyncio.Future[None] | None = None
        self._waiting_app: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self.response_start_ns: int | None = None
        self.last_byte_ns: int | None = None
        self.start_ns = transport.clock_ns()
        self.task: asyncio.Task[None]

    def feed(self, request: httpx.Request) -> None:
        """Take the request's body: at once where it is in memory, else as the app asks for it."""
        try:
            self._body = request.content
        except httpx.RequestNotRead:
            self._request_stream = aiter(request.stream)  # type: ignore[arg-type]

    async def run(self, app: ASGIApp, scope: dict[str, Any]) -> None:
        """Run the application for this request; the body of its task."""
        try:
            await app(scope, self.receive, self.send)
        except (KeyboardInterrupt, SystemExit):
            raise
        except asyncio.CancelledError as error:
            if not self.disconnected:
                self.error = error
        except BaseException as error:
            self.error = error
        else:
            if not self.complete and not self.disconnected:
                what = "ended its response" if self.status is not None else "sent a response"
                self.error = RuntimeError(
                    f"the application returned from {self.method} {self.path} before it had {what}"
                )
        finally:
            self._transport.ended(self)
            self.wake_client()

    async def receive(self) -> Message:
        """Give the application the next event of the client."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        if self._request_stream is not None and not self.disconnected:
            try:
                chunk = await anext(self._request_stream)
            except StopAsyncIteration:
                self._request_stream = None
                return {"type": "http.request", "body": b"", "more_body": False}
            return {"type": "http.request", "body": chunk, "more_body": True}
        while not (self.complete or self.disconnected):
            if self._waiting_app is None or self._waiting_app.done():
                self._waiting_app = self._loop.create_future()
            await asyncio.shield(self._waiting_app)
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Take the next event of the application; does nothing once the client has left."""
        if self.disconnected:
            return
        kind = message["type"]
        if kind == "http.response.body":
            self._take_body(message)
            if self._size > _HIGH_WATER and not self.complete:
                self._drained = self._loop.create_future()
                await self._drained
        elif kind == "http.response.start":
            if self.status is not None:
                raise RuntimeError("http.response.start was sent twice")
            self.response_start_ns = self._transport.clock_ns()
            self.headers = message.get("headers", [])
            self.status = message["status"]
            self.wake_client()
        else:
            raise RuntimeError(f"a response cannot hold the event {kind!r}")

    def _take_body(self, message: Message) -> None:
        if self.status is None:
            raise RuntimeError("http.response.body was sent before http.response.start")
        if self.complete:
            raise RuntimeError("http.response.body was sent after the response had ended")
        body = message.get("body", b"")
        if body and self.method != "HEAD":
            self._chunks.append(body)
            self._size += len(body)
        if not message.get("more_body", False):
            self.last_byte_ns = self._transport.clock_ns()
            self.complete = True
            _wake(self._waiting_app)
        self.wake_client()

    def wake_client(self) -> None:
        """Let the client go on that waits for the response or for a part of its body."""
        _wake(self._waiting_client)

    def disconnect(self) -> None:
        """Tell the application that the client has left."""
        self.disconnected = True
        self._chunks.clear()
        _wake(self._waiting_app)
        _wake(self._drained)

    async def response_started(self) -> None:
        """Wait for the start of the response; raise what the application raised before its end."""
        while self.status is None and self.error is None:
            await self._wait()
        self._raise_error()

    async def read(self) -> bytes | None:
        """Return what has arrived of the body, or None after its end."""
        while not self._chunks:
            self._raise_error()
            if self.complete or self.error is not None:
                return None
            await self._wait()
        return self.take()

    def take(self) -> bytes:
        """Return what has arrived of the body and forget it."""
        data = b"".join(self._chunks)
        self._chunks.clear()
        self._size = 0
        _wake(self._drained)
        return data

    async def _wait(self) -> None:
        self._waiting_client = self._loop.create_future()
        await self._waiting_client

    def _raise_error(self) -> None:
        if self.error is None or self.delivered:
            return
        if self._transport.raise_app_exceptions:
            self.delivered = True
            raise self.error
        if self.status is None:
            self.status, self.complete = 500, True


def _wake(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)


if sys.version_info >= (3, 12):

    def _start(
        loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, None]
    ) -> asyncio.Task[None]:
        """Start a task at once, within this step: most requests then need no further one."""
        return asyncio.Task(coroutine, loop=loop, eager_start=True)
else:
    from asyncio.tasks import _enter_task, _leave_task

    def _start(
        loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, None]
    ) -> asyncio.Task[None]:
        """Start a task at once, as ``eager_start`` does from CPython 3.12 on."""
        task = loop.create_task(coroutine)
        ready: Any = getattr(loop, "_ready", None)
        caller = asyncio.current_task(loop)
        first: Any = ready[-1] if ready else None
        is_first = getattr(getattr(first, "_callback", None), "__self__", None) is task
        if caller is None or not is_first:
            return task  # not a loop of asyncio's own: the task starts with the next step
        ready.pop()
        _leave_task(loop, caller)
        try:
            first._context.run(first._callback, *first._args)
        finally:
            _enter_task(loop, caller)
        return task


class _Stream(httpx.AsyncByteStream):
    """The body of a response, as it arrives."""

    __slots__ = ("_call",)

    def __init__(self, call: _Call) -> None:
        self._call = call

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (data := await self._call.read()) is not None:
            yield data

    async def aclose(self) -> None:
        if not self._call.complete:
            self._call.disconnect()


class _Response(httpx.Response):
    """A response whose body, where it has arrived whole, is read without httpx's iterators.

    They cost more than all the rest of the transport (10 of 17 us). What is set here is what
    ``httpx.Response.aread`` sets.
    """

    def __init__(self, call: _Call) -> None:
        super().__init__(call.status or 500, headers=call.headers, stream=_Stream(call))
        self._call = call

    async def aread(self) -> bytes:
        """Read and return the whole body."""
        call = self._call
        if (
            call.complete
            and call.error is None
            and not self.is_stream_consumed
            and "content-encoding" not in self.headers
        ):
            self._content = call.take()
            self.is_stream_consumed = True
            self._num_bytes_downloaded = len(self._content)
            await self.aclose()
            return self._content
        return await super().aread()


class ASGITransport(httpx.AsyncBaseTransport):
    """Sends httpx's requests straight to an ASGI application on the running asyncio loop.

    With ``raise_app_exceptions`` what the application raises reaches the client, as with httpx's
    own transport; otherwise the client sees a response with status 500. ``clock_ns`` stamps the
    exchanges, in nanoseconds.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        raise_app_exceptions: bool = True,
        root_path: str = "",
        client: tuple[str, int] = ("127.0.0.1", 123),
        clock_ns: Callable[[], int] = CLOCKS.wall_ns,
    ) -> None:
        self._app = app
        self.raise_app_exceptions = raise_app_exceptions
        self.clock_ns = clock_ns
        self._root_path = root_path
        self._client = client
        self._calls: set[_Call] = set()
        self._failed: list[_Call] = []
        self._lifespan: _Lifespan | None = None
        self._ended: list[tuple[Any, ...]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Run the application for ``request``; return when its response starts."""
        url = request.url
        raw_path, _, query = url.raw_path.partition(b"?")
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": url.scheme,
            "path": url.path,
            "raw_path": raw_path,
            "query_string": query,
            "root_path": self._root_path,
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "client": self._client,
            "server": (url.host, url.port),
            "extensions": {},
        }
        if self._lifespan is not None and self._lifespan.state is not None:
            scope["state"] = self._lifespan.state.copy()
        loop = asyncio.get_running_loop()
        call = _Call(self, loop, request.method, scope["path"])
        call.feed(request)
        self._calls.add(call)
        call.task = _start(loop, call.run(self._app, scope))
        if call.status is None or call.error is not None:
            try:
                await call.response_started()
            except asyncio.CancelledError:
                call.disconnect()
                raise
        return _Response(call)

    def ended(self, call: _Call) -> None:
        """Take note of a call whose application has returned."""
        self._calls.discard(call)
        if call.error is not None:
            self._failed.append(call)
        self._ended.append(
            (
                call.method,
                call.path,
                call.status,
                call.start_ns,
                call.response_start_ns,
                call.last_byte_ns,
                self.clock_ns(),
            )
        )

    def drain(self) -> list[Exchange]:
        """Hand over the exchanges that have ended, in that order, and forget them."""
        ended, self._ended = self._ended, []
        return [Exchange(*stamps) for stamps in ended]

    def in_flight(self) -> list[Exchange]:
        """Return the exchanges on which the application still works."""
        return [
            Exchange(
                call.method,
                call.path,
                call.status,
                call.start_ns,
                call.response_start_ns,
                call.last_byte_ns,
                None,
            )
            for call in self._calls
        ]

    async def settle(self) -> None:
        """Wait until the application works on no request any more.

        Raises the first exception that it raised after a response was complete, which no request
        has raised yet; ``raise_app_exceptions`` decides.
        """
        while self._calls:
            await asyncio.wait([call.task for call in self._calls])
        failed, self._failed = self._failed, []
        for call in failed:
            if self.raise_app_exceptions and call.error is not None and not call.delivered:
                raise call.error

    async def aclose(self) -> None:
        """End what still runs: calls whose client has left at once, others after a grace."""
        for call in self._calls:
            if call.disconnected:
                call.task.cancel()
        if await _ended_in_time({call.task for call in self._calls}):
            return
        for call in self._calls:
            call.disconnect()
            call.task.cancel()
        await _ended_in_time({call.task for call in self._calls})

    async def startup(self) -> None:
        """Start the application's lifespan; raises AppStartupError. May be called twice."""
        if self._lifespan is None:
            self._lifespan = _Lifespan(self._app)
            await self._lifespan.startup()

    async def shutdown(self) -> None:
        """End what runs and the application's lifespan; raises AppShutdownError."""
        await self.aclose()
        lifespan, self._lifespan = self._lifespan, None
        if lifespan is not None:
            await lifespan.shutdown()


class _Lifespan:
    """The application's lifespan, in one task from start-up to shutdown.

    ``state`` is what the application put into the scope's state, None where it does not support
    lifespans.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._events: asyncio.Queue[Message] = asyncio.Queue()
        self._asked = False
        self._answers: dict[str, str] = {}
        self._answered = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._error: Exception | None = None
        self.state: dict[str, Any] | None = None

    async def startup(self) -> None:
        state: dict[str, Any] = {}
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": state,
        }
        self._task = asyncio.get_running_loop().create_task(self._run(scope))
        await self._ask("lifespan.startup")
        if "lifespan.startup.complete" in self._answers:
            self.state = state
            return
        message = self._answers.get("lifespan.startup.failed")
        # An application without lifespan raises before it has asked for an event.
        if message is not None or (self._error is not None and self._asked):
            reason = message or f"{type(self._error).__name__}: {self._error}"
            raise AppStartupError(f"the application's start-up failed: {reason}") from self._error

    async def shutdown(self) -> None:
        if self.state is None or self._task is None:
            await self._stop()
            return
        self._answered.clear()
        timer = _call_later(_GRACE, self._answered.set)
        try:
            await self._ask("lifespan.shutdown")
            if "lifespan.shutdown.complete" in self._answers and self._error is None:
                return
            reason = self._answers.get("lifespan.shutdown.failed")
            if self._error is not None:
                reason = reason or f"{type(self._error).__name__}: {self._error}"
            elif reason is None and not self._task.done():
                reason = f"it did not answer within {_GRACE:g} s"
            if reason is not None:
                raise AppShutdownError(
                    f"the application's shutdown failed: {reason}"
                ) from self._error
        finally:
            timer.cancel()
            timer.join()
            await self._stop()

    async def _stop(self) -> None:
        if self._task is not None and not await _ended_in_time({self._task}, 1.0):
            self._task.cancel()
            await _ended_in_time({self._task})

    async def _ask(self, kind: str) -> None:
        self._events.put_nowait({"type": kind})
        await self._answered.wait()

    async def _run(self, scope: dict[str, Any]) -> None:
        try:
            await self._app(scope, self._receive, self._send)
        except Exception as error:
            self._error = error
        finally:
            self._answered.set()

    async def _receive(self) -> Message:
        event = await self._events.get()
        self._asked = True
        return event

    async def _send(self, message: Message) -> None:
        self._answers[message["type"]] = message.get("message", "")
        self._answered.set()


def _call_later(delay: float, action: Callable[[], None]) -> threading.Timer:
    """Call ``action`` on the running loop in ``delay`` seconds, even if a test froze its clock."""
    loop = asyncio.get_running_loop()
    timer = threading.Timer(delay, lambda: loop.call_soon_threadsafe(action))
    timer.daemon = True
    timer.start()
    return timer


async def _ended_in_time(tasks: set[asyncio.Task[None]], grace: float = _GRACE) -> bool:
    """Wait for ``tasks`` for ``grace`` seconds and return whether all of them have ended."""
    pending = {task for task in tasks if not task.done()}
    if not pending:
        return True
    over = asyncio.get_running_loop().create_future()
    timer = _call_later(grace, lambda: _wake(over))
    try:
        while pending and not over.done():
            _, waiting = await asyncio.wait({*pending, over}, return_when=asyncio.FIRST_COMPLETED)
            pending = {task for task in pending if task in waiting}
    finally:
        timer.cancel()
        timer.join()
    return not pending


def make_client(
    app: ASGIApp, *, base_url: str = "http://testserver"
) -> tuple[httpx.AsyncClient, ASGITransport]:
    """Return a client on ``app`` and its transport; without time-outs, since no network is used."""
    transport = ASGITransport(app)
    return httpx.AsyncClient(transport=transport, base_url=base_url, timeout=None), transport
