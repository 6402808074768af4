"""The lifespan of an ASGI application: start-up and shutdown, neither of which can hang."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from types import FrameType
from typing import Any

from .. import tasks
from ..analysis.user_code import is_user_code
from ..model import Limit, Stack
from ..originals import anyio, made, threading
from ..sentinel import LoopStuck
from ..sentinel.alarms import Alarms
from ..sentinel.stacks import is_called_by, is_in, raise_within, suspended_stack, thread_stack
from ..sigurg import SIGURG
from ..tasks import Task, call_later, ended_in_time, running_tasks, wake

Message = MutableMapping[str, Any]
ASGIApp = Callable[..., Awaitable[None]]


class AppStartupError(RuntimeError):
    """The app's lifespan failed at start-up; the message contains the app's own."""


class AppShutdownError(RuntimeError):
    """The app's lifespan failed at shutdown or did not respond."""


_BREAK_EVERY = 0.1
NO_REASON = "no reason given"
DEFAULT_TIMEOUT = Limit(30.0, "default")


def seconds_within(timeout: Limit) -> float:
    """Return for how many seconds a start-up or a shutdown may last under ``timeout``.

    A short timeout is meant for requests: a start-up may take GRACE in any case.
    """
    return max(float(timeout.value), tasks.GRACE)


def error_text(error: BaseException) -> str:
    """Return the type and the message of an app's ``error``, whose ``__str__`` may be broken."""
    try:
        message = str(error)
    except Exception as broken:
        message = f"its __str__ raises {type(broken).__name__}"
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def place_text(stack: Stack) -> str:
    """Return the innermost line of the user's code in ``stack``, and what it calls, as text."""
    users = [number for number, one in enumerate(stack) if is_user_code(one.file)]
    if not users:
        return stack[-1].function if stack else "an unknown place"
    innermost = stack[users[-1]]
    called = [f"{one.module}.{one.function}" for one in stack[users[-1] + 1 :][:1]]
    place = f"{innermost.function} ({innermost.file}:{innermost.line})"
    return " → ".join([place, *called])


def late_text(phase: str, stack: Stack, timeout: Limit) -> str:
    """Return the message for a lifespan that has not answered in time, with its ``stack``."""
    limit = seconds_within(timeout)
    origin = "default" if timeout.origin == "default" else f"from {timeout.origin}"
    why = f"timeout {origin}"
    if limit > timeout.value:
        why = f"the least for a {phase}; timeout {timeout.value:g} s {origin}"
    return (
        f"the {phase} of the app's lifespan has not ended within {limit:g} s ({why}); it waits in "
        f"{place_text(stack)}. Find what should end this wait, bound it with "
        "anyio.fail_after(…), or raise the timeout"
    )


class Lifespan:
    """The app's lifespan, in one task from start-up to shutdown.

    ``state`` is the lifespan state set by the app, None if the app does not support lifespans.
    """

    def __init__(self, app: ASGIApp, timeout: Limit = DEFAULT_TIMEOUT) -> None:
        self._app = app
        self._timeout = timeout
        self._events: deque[Message] = deque()
        self._event_sent = made(anyio.Event)
        self._asked = False
        self._answers: dict[str, str] = {}
        self._answered = made(anyio.Event)
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
        self._coroutine = self._run(scope)
        self._task = running_tasks().start(self._coroutine)
        try:
            late = await self._ask("startup", "start-up")
        except running_tasks().cancelled:
            self._task.cancel()
            with made(anyio.CancelScope, shield=True):
                await self._stop()
            raise
        if late is not None:
            self._task.cancel()
            await self._stop()
            raise AppStartupError(f"application startup failed: {late}")
        if "lifespan.startup.complete" in self._answers:
            self.state = state
            return
        message = self._answers.get("lifespan.startup.failed")
        # An app without lifespan support raises before it receives an event.
        if message is not None or (self._error is not None and self._asked):
            reason = message or (NO_REASON if self._error is None else error_text(self._error))
            await self._stop()
            raise AppStartupError(f"application startup failed: {reason}") from self._error

    async def shutdown(self) -> None:
        """Shut the app down; raises AppShutdownError if that fails or takes too long."""
        if self.state is None or self._task is None:
            await self._stop()
            return
        late = None
        try:
            if not self._task.done():
                self._answered = made(anyio.Event)
                late = await self._ask("shutdown", "shutdown")
            if "lifespan.shutdown.complete" in self._answers and self._error is None:
                return
            reason = self._answers.get("lifespan.shutdown.failed") or late
            if self._error is not None:
                reason = reason or error_text(self._error)
            if reason is not None:
                raise AppShutdownError(f"application shutdown failed: {reason}") from self._error
        finally:
            await self._stop()

    async def _stop(self) -> None:
        if self._task is not None and not await ended_in_time({self._task}, 1.0):
            self._task.cancel()
            if not await ended_in_time({self._task}):
                running_tasks().give_up([self._task])

    async def _ask(self, event: str, phase: str) -> str | None:
        """Send an event and wait for an answer; return why there is none."""
        late: list[str] = []

        def give_up() -> None:
            if not self._answered.is_set():
                late.append(late_text(phase, suspended_stack(self._coroutine), self._timeout))
                self._answered.set()

        self._events.append({"type": f"lifespan.{event}"})
        self._event_sent.set()
        with self._interrupted(phase, late):
            await self._app_has_had_its_turn()
            timer = call_later(seconds_within(self._timeout), give_up)
            try:
                await self._answered.wait()
            finally:
                timer.end()
        return late[0] if late else None

    @contextlib.contextmanager
    def _interrupted(self, phase: str, late: list[str]) -> Iterator[None]:
        """Interrupt the app if it holds the loop past the timeout, until it ends.

        The reason is added to ``late``. Without signals, a call into C is not interrupted.
        """
        code, ident, alarms = Lifespan._run.__code__, threading.get_ident(), Alarms()

        def on_signal(frame: FrameType | None) -> None:
            if late and is_called_by(code, frame):
                raise LoopStuck("the app's lifespan held the event loop past the timeout")

        def interrupt() -> float:
            if is_in(code, ident):
                if not late:
                    late.append(late_text(phase, thread_stack(ident), self._timeout))
                if SIGURG.has(on_signal):
                    SIGURG.send(ident)
                else:
                    raise_within(code, ident, LoopStuck)
            return _BREAK_EVERY

        SIGURG.add(on_signal)
        try:
            with contextlib.suppress(RuntimeError):  # no thread can be started
                alarms.call_after(seconds_within(self._timeout), interrupt)
            yield
        finally:
            alarms.stop()
            SIGURG.discard(on_signal)

    async def _app_has_had_its_turn(self) -> None:
        """Wait until the app's task has run: a machine that stalls before is none of its waits."""
        tasks = running_tasks()
        turn = tasks.signal()
        tasks.call_soon_threadsafe(lambda: wake(turn))
        await turn

    async def _run(self, scope: dict[str, Any]) -> None:
        __tracebackhide__ = True
        try:
            await self._app(scope, self._receive, self._send)
        except KeyboardInterrupt as error:
            self._error = error
            raise
        except BaseException as error:
            self._error = error
        finally:
            self._answered.set()

    async def _receive(self) -> Message:
        while not self._events:
            self._event_sent = made(anyio.Event)
            await self._event_sent.wait()
        self._asked = True
        return self._events.popleft()

    async def _send(self, message: Message) -> None:
        self._answers[message["type"]] = message.get("message", "")
        self._answered.set()
