"""An ASGI transport for httpx or httpx2, and clients that use it.

Unlike httpx's ASGITransport, it runs every request in a task of its own, as a server does:
responses stream, clients can disconnect, and background work does not delay the response.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from typing import Any

from ..clocks import CLOCKS
from ..model import Exchange, Limit
from ..sentinel import COPY
from ..tasks import PATIENCE, Task, all_ended, ended_in_time, running_tasks
from .client_log import answered
from .exchange import Call, ClosedError
from .handlers import handler_of
from .lifespan import DEFAULT_TIMEOUT, ASGIApp, Lifespan
from .recorder import Recorder
from .servers import MARK, LiveServer

try:
    import httpx
except ImportError:  # only the successor is installed, which has the same interface
    import httpx2 as httpx  # type: ignore[no-redef,import-not-found,unused-ignore]

_AsyncClient = httpx.AsyncClient  # before a test can patch it

LOGGER = httpx.__name__
"""The name of the client's logger."""


def _websocket_stream() -> Any:
    """Return the websocket stream class of the client's library; raises ImportError."""
    name = "httpx2.websockets._transport" if httpx.__name__ == "httpx2" else "httpx_ws.transport"
    try:
        module = importlib.import_module(name)
    except ImportError:
        raise ImportError(
            "websockets need an optional dependency: pip install 'pytest-nonblocking[websockets]'"
        ) from None
    return module.ASGIWebSocketAsyncNetworkStream


class _Stream(httpx.AsyncByteStream):
    """The streamed body of a response."""

    __slots__ = ("_call",)

    def __init__(self, call: Call) -> None:
        self._call = call

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while (data := await self._call.read()) is not None:
                yield data
        except ClosedError as error:
            raise httpx.ReadError(str(error)) from None

    async def aclose(self) -> None:
        if not self._call.complete:
            self._call.disconnect()


class _Response(httpx.Response):
    """A response that reads a complete body without httpx's iterators.

    The iterators cost more than the rest of the transport (10 of 17 us per request). The attributes
    set here are those that ``httpx.Response.aread`` sets.
    """

    def __init__(self, call: Call) -> None:
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
    """Sends httpx requests directly to an ASGI application, on asyncio or trio.

    With ``raise_app_exceptions``, exceptions of the app are raised in the client, as with httpx's
    own transport; otherwise the client gets a response with status 500. ``clock_ns`` provides the
    exchanges' timestamps in nanoseconds. ``timeout`` limits the app's start-up and its shutdown.
    ``recorder`` is given the requests while it is on.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        raise_app_exceptions: bool = True,
        root_path: str = "",
        client: tuple[str, int] = ("127.0.0.1", 123),
        clock_ns: Callable[[], int] = CLOCKS.wall_ns,
        timeout: Limit = DEFAULT_TIMEOUT,
        recorder: Recorder | None = None,
    ) -> None:
        self._app = app
        self._timeout = timeout
        self._recorder = recorder or Recorder()
        self.raise_app_exceptions = raise_app_exceptions
        self.clock_ns = clock_ns
        self._root_path = root_path
        self._client = client
        self._calls: set[Call] = set()
        self.others: set[Task] = set()  # uploads and websockets
        self._failed: list[Call] = []
        self._lifespan: Lifespan | None = None
        self._ended: list[tuple[Any, ...]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Run the app for ``request``; return when its response starts."""
        if self._recorder.is_on:
            self._recorder.add(request)
        if request.headers.get("upgrade") == "websocket":
            return await self._open_websocket(request)
        scope = self._scope_of(request)
        tasks = running_tasks()
        call = Call(self, tasks, scope)
        try:
            call.feed(request.content)
        except httpx.RequestNotRead:
            stream: Any = request.stream
            call.feed_from(aiter(stream))
        self._calls.add(call)
        call.task = tasks.start_now(call.run(self._app))
        if call.status is None or call.error is not None:
            try:
                await call.response_started()
            except tasks.cancelled:
                call.disconnect()
                raise
            except ClosedError as error:
                raise httpx.ReadError(str(error)) from None
        answered(request.url)
        return _Response(call)

    def _scope_of(self, request: httpx.Request) -> dict[str, Any]:
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
        return scope

    async def _open_websocket(self, request: httpx.Request) -> httpx.Response:
        protocols = request.headers.get("sec-websocket-protocol", "")
        scope = self._scope_of(request) | {
            "type": "websocket",
            "scheme": request.url.scheme.replace("http", "ws"),
            "subprotocols": [name.strip() for name in protocols.split(",") if name.strip()],
            "extensions": {"websocket.http.response": {}},
        }
        # The stream runs the app in its task group: pass ourselves, who outlive this request. There
        # is no network, and so no timeout for the app to accept.
        stream = _websocket_stream()(self._app, scope, self, math.inf)
        _, accepted = await stream.__aenter__()
        lines = [line for line in accepted.decode("utf-8").splitlines()[1:] if line]
        headers = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
        return httpx.Response(101, headers=headers, extensions={"network_stream": stream})

    def start_soon(self, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run the app for a websocket: the part of a task group that its stream uses."""
        scope = run.__self__.scope  # type: ignore[attr-defined]  # a method of the stream
        start_ns = self.clock_ns()

        async def run_and_tell() -> None:
            try:
                await run()
            finally:
                ends = (start_ns, None, None, self.clock_ns())
                self._ended.append(("WEBSOCKET", scope["path"], None, *ends, None))

        task = running_tasks().start(run_and_tell())
        self.others.add(task)
        task.add_done_callback(self.others.discard)

    def ended(self, call: Call) -> None:
        """Record a call for which the app has returned."""
        self._calls.discard(call)
        if call.error is not None:
            self._failed.append(call)
        self._ended.append(call.stamps(self.clock_ns()))

    def drain(self) -> list[Exchange]:
        """Return the finished exchanges in the order of their ends, and clear the record."""
        ended, self._ended = self._ended, []
        return [_exchange(*stamps) for stamps in ended]

    def in_flight(self) -> list[Exchange]:
        """Return the exchanges that the app is still processing."""
        return [_exchange(*call.stamps(None)) for call in self._calls]

    async def settle(self) -> None:
        """Wait until the app has no request in progress.

        With ``raise_app_exceptions``, raises the first exception that the app raised after a
        response was complete.
        """
        while tasks := self._working():
            await all_ended(tasks)
        self.raise_failure()

    def raise_failure(self) -> None:
        """Raise the first exception of the app that no request has raised yet."""
        failed, self._failed = self._failed, []
        for call in failed:
            error = call.error
            if call.delivered:
                continue
            if isinstance(error, (KeyboardInterrupt, SystemExit)) or (
                self.raise_app_exceptions and isinstance(error, Exception)
            ):
                raise error

    async def aclose(self) -> None:
        """End all requests: those of disconnected clients at once, the others after GRACE.

        What ignores its cancellation is given up.
        """
        try:
            await self._end_calls()
        finally:
            running_tasks().give_up(self._working())

    async def _end_calls(self) -> None:
        for call in self._calls:
            if call.disconnected:
                call.task.cancel()
        if await ended_in_time(self._working()):
            return
        for call in self._calls:
            call.disconnect()
            call.task.cancel()
        for task in self.others:
            task.cancel()
        await ended_in_time(self._working(), PATIENCE)

    def _working(self) -> set[Task]:
        # Exclude tasks whose done callback is pending: waiting for them does not suspend, so the
        # loop would never get to call it.
        others = {task for task in self.others if not task.done()}
        return {call.task for call in self._calls if not call.task.done()} | others

    async def startup(self) -> None:
        """Start the app's lifespan; raises AppStartupError. May be called twice."""
        if self._lifespan is None:
            self._lifespan = Lifespan(self._app, self._timeout)
            try:
                await self._lifespan.startup()
            except BaseException:
                self._lifespan = None  # so that a second attempt fails too
                raise

    async def shutdown(self) -> None:
        """End all requests and the app's lifespan; raises AppShutdownError."""
        await self.aclose()
        lifespan, self._lifespan = self._lifespan, None
        if lifespan is not None:
            await lifespan.shutdown()


class _MarkingTransport(httpx.AsyncHTTPTransport):
    """Marks requests to our server with the copy that sends them."""

    def __init__(self, port: int, recorder: Recorder) -> None:
        # No connection limit, which would make copies wait. Keep only 10 alive: httpx inspects all
        # of them for every request (8 ms for 50), which costs more than new connections.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=10)
        super().__init__(limits=limits, trust_env=False)
        self._port = port
        self._recorder = recorder

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request``; return when its response starts."""
        copy = COPY.get()
        is_ours = request.url.port == self._port
        if is_ours and self._recorder.is_on:
            self._recorder.add(request)
        if is_ours and copy is not None:
            request.headers[MARK] = str(copy)
        response = await super().handle_async_request(request)
        answered(request.url)
        return response


def _exchange(*stamps: Any) -> Exchange:
    *seen, endpoint = stamps
    return replace(Exchange(*seen), handler=handler_of(endpoint))


def make_live_client(
    app: ASGIApp, server: str, timeout: Limit, recorder: Recorder
) -> tuple[httpx.AsyncClient, LiveServer]:
    """Return a client without timeouts for ``app`` behind a real server, and the server."""
    live = LiveServer(app, server, timeout)
    base_url = f"http://127.0.0.1:{live.port}"
    transport = _MarkingTransport(live.port, recorder)
    client = _AsyncClient(base_url=base_url, transport=transport, timeout=None, trust_env=False)
    return client, live


def make_client(
    app: ASGIApp,
    *,
    base_url: str = "http://testserver",
    timeout: Limit = DEFAULT_TIMEOUT,
    recorder: Recorder | None = None,
) -> tuple[httpx.AsyncClient, ASGITransport]:
    """Return an in-process client without timeouts for ``app``, and its transport."""
    transport = ASGITransport(app, timeout=timeout, recorder=recorder)
    return _AsyncClient(transport=transport, base_url=base_url, timeout=None), transport
