"""One request on its way through an ASGI application, independent of the HTTP client."""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from ..tasks import Signal, Task, Tasks, wake
from .lifespan import ASGIApp, Message

_HIGH_WATER = 65536


class ClosedError(Exception):
    """The client closed the response while waiting for more of it."""


class CallOwner(Protocol):
    """The part of a transport that its calls use."""

    raise_app_exceptions: bool
    clock_ns: Callable[[], int]
    others: set[Task]

    def ended(self, call: Call) -> None:
        """Record that the app has returned from ``call``."""


class Call:
    """One request in the app: the state shared by its task and the client."""

    __slots__ = (
        "_body",
        "_chunks",
        "_drained",
        "_inbox",
        "_scope",
        "_size",
        "_tasks",
        "_transport",
        "_upload",
        "_upload_stream",
        "_waiting_app",
        "_waiting_client",
        "_waiting_upload",
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
        transport: CallOwner,
        tasks: Tasks,
        scope: dict[str, Any],
    ) -> None:
        self._transport = transport
        self._tasks = tasks
        self._scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["path"]  # now: middleware may rewrite it
        self.status: int | None = None
        self.headers: list[tuple[bytes, bytes]] = []
        self._chunks: list[bytes] = []
        self._size = 0
        self._body: bytes | None = None
        self._upload_stream: tuple[AsyncIterator[bytes], contextvars.Context] | None = None
        self._upload: Task | None = None
        self._inbox: deque[Message | BaseException] = deque()
        self.complete = False
        self.disconnected = False
        self.delivered = False
        self.error: BaseException | None = None
        # Signals are created only by a side that has to wait.
        self._waiting_client: Signal | None = None
        self._waiting_app: Signal | None = None
        self._drained: Signal | None = None
        self._waiting_upload: Signal | None = None
        self.response_start_ns: int | None = None
        self.last_byte_ns: int | None = None
        self.start_ns = transport.clock_ns()
        self.task: Task

    def stamps(self, app_return_ns: int | None) -> tuple[Any, ...]:
        """Return the fields of an ``Exchange``, and last the endpoint that a router noted."""
        return (
            self.method,
            self.path,
            self.status,
            self.start_ns,
            self.response_start_ns,
            self.last_byte_ns,
            app_return_ns,
            self._scope.get("endpoint"),
        )

    def feed(self, body: bytes) -> None:
        """Set the request's body, which is in memory."""
        self._body = body

    def feed_from(self, stream: AsyncIterator[bytes]) -> None:
        """Set the request's body as a stream, read as the app asks for it."""
        self._upload_stream = stream, contextvars.copy_context()

    async def run(self, app: ASGIApp) -> None:
        """Run the app for this request; the coroutine of its task."""
        try:
            await app(self._scope, self.receive, self.send)
        except self._tasks.cancelled as error:
            if not self.disconnected:
                self.error = error
        except BaseException as error:
            self.error = error
        else:
            if not self.complete and not self.disconnected:
                what = "completing its" if self.status is not None else "sending a"
                self.error = RuntimeError(
                    f"the application returned from {self.method} {self.path} before {what} "
                    "response"
                )
        finally:
            self._end_upload()
            self._transport.ended(self)
            self.wake_client()

    async def receive(self) -> Message:
        """Return the client's next event; the app's ``receive``."""
        while not (self.complete or self.disconnected):
            if self._body is not None:
                body, self._body = self._body, None
                return {"type": "http.request", "body": body, "more_body": False}
            if self._inbox:
                event = self._inbox.popleft()
                if isinstance(event, BaseException):
                    raise event
                return event
            self._ask_for_upload()
            if self._inbox:
                continue  # an eager task factory of the user's has read at once
            if self._waiting_app is None or self._waiting_app.done():
                self._waiting_app = self._tasks.signal()
            await self._tasks.shared(self._waiting_app)
        return {"type": "http.disconnect"}

    def _ask_for_upload(self) -> None:
        # In a task of its own with the client's context: a cancelled receive must not end the
        # client's generator, and a waiting generator must not delay the disconnect event.
        if self._upload_stream is not None:
            (stream, context), self._upload_stream = self._upload_stream, None
            self._upload = context.run(self._tasks.start, self._read_upload(stream))
            self._transport.others.add(self._upload)
            self._upload.add_done_callback(self._transport.others.discard)
        wake(self._waiting_upload)

    async def _read_upload(self, stream: AsyncIterator[bytes]) -> None:
        try:
            async for chunk in stream:
                self._inbox.append({"type": "http.request", "body": chunk, "more_body": True})
                wake(self._waiting_app)
                self._waiting_upload = self._tasks.signal()
                await self._waiting_upload
            self._inbox.append({"type": "http.request", "body": b"", "more_body": False})
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            self._inbox.append(error)
        wake(self._waiting_app)

    def _end_upload(self) -> None:
        if self._upload is not None:
            self._upload.cancel()

    async def send(self, message: Message) -> None:
        """Accept the app's next event, its ``send``; does nothing after a disconnect."""
        if self.disconnected:
            return
        kind = message["type"]
        if kind == "http.response.body":
            self._take_body(message)
            while self._size > _HIGH_WATER and not (self.complete or self.disconnected):
                if self._drained is None or self._drained.done():
                    self._drained = self._tasks.signal()
                await self._tasks.shared(self._drained)
        elif kind == "http.response.start":
            if self.status is not None:
                raise RuntimeError("http.response.start was sent twice")
            self.response_start_ns = self._transport.clock_ns()
            self.headers = message.get("headers", [])
            self.status = message["status"]
            self.wake_client()
        else:
            raise RuntimeError(f"unexpected event {kind!r} in a response")

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
            wake(self._waiting_app)
        self.wake_client()

    def wake_client(self) -> None:
        """Wake the client if it waits for the response or its body."""
        wake(self._waiting_client)

    def disconnect(self) -> None:
        """Disconnect the client from the app."""
        self.disconnected = True
        if not self.complete:
            self._chunks.clear()
        self._end_upload()
        wake(self._waiting_app)
        wake(self._drained)
        self.wake_client()

    async def response_started(self) -> None:
        """Wait for the start of the response; raises the app's exception, if any."""
        while self.status is None and self.error is None:
            await self._wait()
        self._raise_error()

    async def read(self) -> bytes | None:
        """Return the next available part of the body, None after its end."""
        while not self._chunks:
            self._raise_error()
            if self.complete or self.error is not None:
                return None
            await self._wait()
        return self.take()

    def take(self) -> bytes:
        """Return the buffered part of the body and clear the buffer."""
        data = b"".join(self._chunks)
        self._chunks.clear()
        self._size = 0
        wake(self._drained)
        return data

    async def _wait(self) -> None:
        if self.disconnected:
            raise ClosedError(f"{self.method} {self.path} was closed before its response ended")
        self._waiting_client = self._tasks.signal()
        await self._waiting_client

    def _raise_error(self) -> None:
        if self.error is None or self.delivered:
            return
        if self._transport.raise_app_exceptions:
            self.delivered = True
            raise self.error
        if self.status is None:
            self.status, self.complete = 500, True
