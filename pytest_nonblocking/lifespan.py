"""The lifespan of an ASGI application: its start-up, its shutdown, and nothing that can hang."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
ASGIApp = Callable[..., Awaitable[None]]

GRACE = 5.0


class AppStartupError(Exception):
    """The application's lifespan failed at start-up; the message is the application's own."""


class AppShutdownError(Exception):
    """The application's lifespan failed at shutdown, or did not answer."""


class Lifespan:
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
        self._error: BaseException | None = None
        self.state: dict[str, Any] | None = None

    async def startup(self) -> None:
        """Start the application; raises AppStartupError where its start-up fails."""
        state: dict[str, Any] = {}
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": state,
        }
        self._task = asyncio.get_running_loop().create_task(self._run(scope))
        try:
            await self._ask("lifespan.startup")
        except asyncio.CancelledError:
            self._task.cancel()
            await self._stop()
            raise
        if "lifespan.startup.complete" in self._answers:
            self.state = state
            return
        message = self._answers.get("lifespan.startup.failed")
        # An application without lifespan raises before it has asked for an event.
        if message is not None or (self._error is not None and self._asked):
            reason = message or f"{type(self._error).__name__}: {self._error}"
            await self._stop()
            raise AppStartupError(f"the application's start-up failed: {reason}") from self._error

    async def shutdown(self) -> None:
        """End the application; raises AppShutdownError where it fails or does not answer."""
        if self.state is None or self._task is None:
            await self._stop()
            return
        try:
            if not self._task.done():
                await self._ask_for_shutdown()
            if "lifespan.shutdown.complete" in self._answers and self._error is None:
                return
            reason = self._answers.get("lifespan.shutdown.failed")
            if self._error is not None:
                reason = reason or f"{type(self._error).__name__}: {self._error}"
            elif reason is None and not self._task.done():
                reason = f"it did not answer within {GRACE:g} s"
            if reason is not None:
                raise AppShutdownError(
                    f"the application's shutdown failed: {reason}"
                ) from self._error
        finally:
            await self._stop()

    async def _ask_for_shutdown(self) -> None:
        self._answered.clear()
        timer = _call_later(GRACE, self._answered.set)
        try:
            await self._ask("lifespan.shutdown")
        finally:
            timer.cancel()
            timer.join()

    async def _stop(self) -> None:
        if self._task is not None and not await ended_in_time({self._task}, 1.0):
            self._task.cancel()
            await ended_in_time({self._task})

    async def _ask(self, kind: str) -> None:
        self._events.put_nowait({"type": kind})
        await self._answered.wait()

    async def _run(self, scope: dict[str, Any]) -> None:
        try:
            await self._app(scope, self._receive, self._send)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
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


async def ended_in_time(tasks: set[asyncio.Task[None]], grace: float | None = None) -> bool:
    """Wait for ``tasks`` for ``grace`` seconds (GRACE); return whether all of them have ended."""
    pending = {task for task in tasks if not task.done()}
    if not pending:
        return True
    over = asyncio.get_running_loop().create_future()
    timer = _call_later(GRACE if grace is None else grace, lambda: wake(over))
    try:
        while pending and not over.done():
            _, waiting = await asyncio.wait({*pending, over}, return_when=asyncio.FIRST_COMPLETED)
            pending = {task for task in pending if task in waiting}
    finally:
        timer.cancel()
        timer.join()
    return not pending


def wake(future: asyncio.Future[None] | None) -> None:
    """Set ``future`` unless it is absent or done."""
    if future is not None and not future.done():
        future.set_result(None)
