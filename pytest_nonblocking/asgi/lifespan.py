"""The lifespan of an ASGI application: start-up and shutdown, neither of which can hang."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import anyio

from .. import tasks
from ..tasks import Task, call_later, ended_in_time, running_tasks

Message = MutableMapping[str, Any]
ASGIApp = Callable[..., Awaitable[None]]


class AppStartupError(Exception):
    """The app's lifespan failed at start-up; the message contains the app's own."""


class AppShutdownError(Exception):
    """The app's lifespan failed at shutdown or did not respond."""


class Lifespan:
    """The app's lifespan, in one task from start-up to shutdown.

    ``state`` is the lifespan state set by the app, None if the app does not support lifespans.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._events: deque[Message] = deque()
        self._event_sent = anyio.Event()
        self._asked = False
        self._answers: dict[str, str] = {}
        self._answered = anyio.Event()
        self._task: Task | None = None
        self._error: BaseException | None = None
        self.state: dict[str, Any] | None = None

    async def startup(self) -> None:
        """Start the app; raises AppStartupError if its start-up fails."""
        state: dict[str, Any] = {}
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": state,
        }
        self._task = running_tasks().start(self._run(scope))
        try:
            await self._ask("lifespan.startup")
        except anyio.get_cancelled_exc_class():
            self._task.cancel()
            with anyio.CancelScope(shield=True):
                await self._stop()
            raise
        if "lifespan.startup.complete" in self._answers:
            self.state = state
            return
        message = self._answers.get("lifespan.startup.failed")
        # An app without lifespan support raises before it receives an event.
        if message is not None or (self._error is not None and self._asked):
            reason = message or f"{type(self._error).__name__}: {self._error}"
            await self._stop()
            raise AppStartupError(f"application startup failed: {reason}") from self._error

    async def shutdown(self) -> None:
        """Shut the app down; raises AppShutdownError if that fails or takes longer than GRACE."""
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
                reason = f"it did not answer within {tasks.GRACE:g} s"
            if reason is not None:
                raise AppShutdownError(f"application shutdown failed: {reason}") from self._error
        finally:
            await self._stop()

    async def _ask_for_shutdown(self) -> None:
        self._answered = anyio.Event()
        timer = call_later(tasks.GRACE, self._answered.set)
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
        self._events.append({"type": kind})
        self._event_sent.set()
        await self._answered.wait()

    async def _run(self, scope: dict[str, Any]) -> None:
        try:
            await self._app(scope, self._receive, self._send)
        except (KeyboardInterrupt, SystemExit) as error:
            self._error = error
            raise
        except BaseException as error:
            self._error = error
        finally:
            self._answered.set()

    async def _receive(self) -> Message:
        while not self._events:
            self._event_sent = anyio.Event()
            await self._event_sent.wait()
        self._asked = True
        return self._events.popleft()

    async def _send(self, message: Message) -> None:
        self._answers[message["type"]] = message.get("message", "")
        self._answered.set()
