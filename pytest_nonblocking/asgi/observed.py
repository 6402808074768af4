"""Recording and holding an app's requests between the app and its server."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from ..clocks import CLOCKS
from ..model import Exchange
from ..originals import asyncio
from ..tasks import Signal, Tasks, call_later, running_tasks, wake
from ..threads import snapshot
from .door import Door, Visit
from .handlers import handler_of
from .lifespan import ASGIApp, Message

_MOST_KEPT = 65536
"""Bytes of a response that are held back at most: the high-water mark of uvicorn and ours."""


class News:
    """Notifies tasks on any loop of changes in the server's thread."""

    def __init__(self) -> None:
        self._listeners: list[tuple[Tasks, Signal]] = []

    def spread(self) -> None:
        """Wake all listeners, which check their conditions; from any thread."""
        listeners, self._listeners = self._listeners, []
        for tasks, signal in listeners:
            # The loop of a former listener may be closed.
            with contextlib.suppress(RuntimeError):
                tasks.call_soon_threadsafe(lambda signal=signal: wake(signal))  # type: ignore[misc]

    async def until(self, condition: Callable[[], bool], within: float | None = None) -> None:
        """Wait until ``condition`` holds, for up to ``within`` seconds."""
        tasks = running_tasks()
        late: list[bool] = []

        def give_up() -> None:
            late.append(True)
            self.spread()

        timer = None if within is None else call_later(within, give_up)
        try:
            while True:
                signal = tasks.signal()
                self._listeners.append((tasks, signal))  # before the check, to miss no change
                if condition() or late:
                    return
                await signal
        finally:
            if timer is not None:
                timer.end()


class _Request:
    """The timestamps of one request, as seen by the app."""

    def __init__(self, scope: dict[str, Any], start_ns: int) -> None:
        self._method = scope.get("method", "WEBSOCKET")
        self._path = scope["path"]
        self._status: int | None = None
        self._start_ns = start_ns
        self._response_start_ns: int | None = None
        self._last_byte_ns: int | None = None

    def sees(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._response_start_ns = CLOCKS.wall_ns()
        elif _is_last(message):
            self._last_byte_ns = CLOCKS.wall_ns()

    def exchange(self, app_return_ns: int | None, endpoint: object = None) -> Exchange:
        return Exchange(
            self._method,
            self._path,
            self._status,
            self._start_ns,
            self._response_start_ns,
            self._last_byte_ns,
            app_return_ns,
            handler_of(endpoint),
        )


def _is_last(message: Message) -> bool:
    return message["type"] == "http.response.body" and not message.get("more_body", False)


class _Answer:
    """A response of the app, held back until the door releases it."""

    def __init__(self, visit: Visit, send: Callable[[Message], Awaitable[None]]) -> None:
        self._visit = visit
        self._send = send
        self._kept: list[Message] = []
        self._size = 0
        self._delivery: asyncio.Task[None] | None = None

    async def send(self, message: Message) -> None:
        """Accept the app's next event."""
        if not self._kept and self._delivery is None and not self._visit.keeps_answers:
            await self._send(message)
        else:
            await self._keep(message)
        if _is_last(message):
            self._visit.answered()

    async def _keep(self, message: Message) -> None:
        self._kept.append(message)
        if self._delivery is None and message.get("more_body", False):
            # The app may wait for the client's reaction to this part.
            delivery = asyncio.ensure_future(self._deliver())
            if delivery.done():  # an eager task factory of the user's has delivered at once
                delivery.result()
            else:
                self._delivery = delivery
        self._size += len(message.get("body", b""))
        if self._size > _MOST_KEPT and not _is_last(message):
            self._visit.pass_out()
            await self.delivered()

    async def delivered(self) -> None:
        """Wait until everything held back has been sent."""
        if self._delivery is not None:
            await self._delivery
        await self._deliver()

    async def _deliver(self) -> None:
        await self._visit.way_out()
        while self._kept:
            message = self._kept.pop(0)
            self._size -= len(message.get("body", b""))
            await self._send(message)
        self._delivery = None

    def drop(self) -> None:
        """Discard everything held back."""
        self._kept.clear()
        if self._delivery is not None:
            self._delivery.cancel()


class Requests:
    """Serves the requests of one app through a door, and records their exchanges.

    It implements the transport protocol of a scenario. ``news`` is spread when a request ends.
    ``is_closed`` is whether no other request is let in.
    """

    def __init__(self, door: Door, news: News) -> None:
        self._door = door
        self._news = news
        self._running: set[_Request] = set()
        self._ended: list[tuple[_Request, int, object]] = []
        self.is_closed = False

    def close(self) -> None:
        """Let no other request into the app; from any thread."""
        self.is_closed = True

    async def serve(
        self, app: ASGIApp, scope: dict[str, Any], receive: Any, send: Any, copy: int | None
    ) -> None:
        """Have ``app`` serve a request of ``copy``; None for requests outside of any copy."""
        # A websocket is a dialogue: its messages cannot wait for other copies.
        visit = await self._door.enter(copy if scope["type"] == "http" else None)
        if self.is_closed:
            visit.gone()
            return
        request = _Request(scope, visit.start_ns)
        answer = _Answer(visit, send)
        self._running.add(request)

        async def seen(message: Message) -> None:
            request.sees(message)
            await answer.send(message)

        try:
            try:
                await app(scope, receive, seen)
            finally:
                self._running.discard(request)
                self._ended.append((request, CLOCKS.wall_ns(), scope.get("endpoint")))
                visit.returned()
                self._news.spread()
        except Exception:
            await answer.delivered()
            raise
        except BaseException:
            answer.drop()
            raise
        else:
            await answer.delivered()
        finally:
            visit.gone()

    def drain(self) -> list[Exchange]:
        """Return the finished exchanges and clear the record."""
        ended, self._ended = self._ended, []
        return [request.exchange(at_ns, endpoint) for request, at_ns, endpoint in ended]

    def in_flight(self) -> list[Exchange]:
        """Return the exchanges that the app is still processing."""
        return [request.exchange(None) for request in snapshot(self._running)]

    async def settle(self) -> None:
        """Wait until the app has no request in progress."""
        await self._news.until(lambda: not self._running)
