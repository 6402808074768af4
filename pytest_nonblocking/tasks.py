"""Tasks and signals on asyncio or trio, whichever runs the test.

On asyncio they are futures and tasks without a layer in between: creating a future takes a tenth of
the time of an ``anyio.Event``, and every request needs some.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import sys
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable
from typing import Any, Protocol

from .giving_up import give_up_on_asyncio, give_up_on_trio
from .originals import asyncio
from .threads import Timer

GRACE = 5.0
"""Seconds to wait for tasks and threads that should end."""
PATIENCE = 1.0
"""Seconds after which a task that was cancelled is cancelled again, and then given up."""


class Signal(Protocol):
    """A one-shot event that tasks wait for."""

    def done(self) -> bool:
        """Return whether the signal is set."""

    def set_result(self, result: None, /) -> None:
        """Set the signal and wake its waiters."""

    def __await__(self) -> Generator[Any, Any, None]:
        """Wait until the signal is set."""


class Task(Protocol):
    """An independent task, not a child of the one that starts it."""

    def done(self) -> bool:
        """Return whether it has ended."""

    def cancel(self) -> object:
        """Request its cancellation."""

    def add_done_callback(self, callback: Callable[[Any], object], /) -> object:
        """Call ``callback`` with the task when it has ended."""


class Tasks(Protocol):
    """Creates tasks and signals of one library."""

    cancelled: type[BaseException]

    def signal(self) -> Signal:
        """Return a new signal."""

    def shared(self, signal: Signal) -> Awaitable[None]:
        """Return an awaitable for ``signal`` whose cancellation does not cancel the signal."""

    def start(self, coroutine: Coroutine[Any, Any, None]) -> Task:
        """Start a task in a later iteration."""

    def start_now(self, coroutine: Coroutine[Any, Any, None]) -> Task:
        """Start a task, within this callback if the library supports it."""

    def call_soon_threadsafe(self, action: Callable[[], None]) -> object:
        """Call ``action`` on the loop soon; from any thread."""

    def independent(self) -> set[Any]:
        """Return the loop's tasks that no other task waits for by itself."""

    def give_up(self, tasks: Iterable[Any]) -> list[Any]:
        """Suspend ``tasks``, which ignore their cancellation, for ever; return their coroutines.

        On trio, the tasks below them are suspended too.
        """


class TaskFactoryError(Exception):
    """The task factory of the loop, which is the user's, has raised; the text says what."""


def running_tasks() -> Tasks:
    """Return the tasks and signals of the library that runs this coroutine."""
    try:
        return _AsyncioTasks(asyncio.get_running_loop())
    except RuntimeError:
        return _TrioTasks()


class _AsyncioTasks:
    """Tasks and signals of one asyncio loop."""

    __slots__ = ("_loop", "call_soon_threadsafe", "signal")

    cancelled: type[BaseException] = asyncio.CancelledError

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.signal: Callable[[], Signal] = loop.create_future
        self.call_soon_threadsafe = loop.call_soon_threadsafe

    def start(self, coroutine: Coroutine[Any, Any, None]) -> Task:
        return _created(self._loop, coroutine)

    def shared(self, signal: Any) -> Awaitable[None]:
        """Return an awaitable for ``signal`` that never cancels it."""
        return asyncio.shield(signal)

    def independent(self) -> set[Any]:
        return asyncio.all_tasks(self._loop)

    def give_up(self, tasks: Iterable[Any]) -> list[Any]:
        return give_up_on_asyncio([task for task in tasks if not task.done()])

    if sys.version_info >= (3, 12):

        def start_now(self, coroutine: Coroutine[Any, Any, None]) -> Task:
            """Start a task within this callback: most requests then need no further one."""
            return asyncio.Task(coroutine, loop=self._loop, eager_start=True)
    else:

        def start_now(self, coroutine: Coroutine[Any, Any, None]) -> Task:
            """Start a task within this callback, as ``eager_start`` does on CPython 3.12+."""
            return _start_eagerly(self._loop, coroutine)


def _created(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, None]
) -> asyncio.Task[None]:
    """Return a new task of ``loop``; raises TaskFactoryError."""
    try:
        return loop.create_task(coroutine)
    except Exception as error:
        if loop.get_task_factory() is None:
            raise
        coroutine.close()
        raise TaskFactoryError(
            f"the loop's task factory raised {type(error).__name__}: {error}"
        ) from error


if sys.version_info < (3, 12):
    from asyncio.tasks import _enter_task, _leave_task

    def _start_eagerly(
        loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, None]
    ) -> asyncio.Task[None]:
        task = _created(loop, coroutine)
        ready: Any = getattr(loop, "_ready", None)
        caller = asyncio.current_task(loop)
        first: Any = ready[-1] if ready else None
        is_first = getattr(getattr(first, "_callback", None), "__self__", None) is task
        if caller is None or not is_first:
            return task  # a loop of another kind, or a thread has just posted: it starts later
        context, step, arguments = first._context, first._callback, first._args

        def begin() -> None:
            # Cancelled where it is. To pop it lost what another thread had just appended: a request
            # that waited for its database thread hung (once in 200 bursts beside busy processes).
            first.cancel()
            step(*arguments)

        _leave_task(loop, caller)
        try:
            context.run(begin)
        except RuntimeError:
            if first.cancelled():
                raise
            # A task factory of the user's shares the caller's context: the task starts later.
        finally:
            _enter_task(loop, caller)
        return task


class _TrioTasks:
    """Tasks and signals of the running trio run."""

    __slots__ = ("_token", "cancelled")

    def __init__(self) -> None:
        import trio

        self.cancelled: type[BaseException] = trio.Cancelled
        self._token = trio.lowlevel.current_trio_token()

    def signal(self) -> Signal:
        return _TrioSignal()

    def shared(self, signal: Signal) -> Awaitable[None]:
        return signal

    def start(self, coroutine: Coroutine[Any, Any, None]) -> Task:
        return _TrioTask(coroutine)

    start_now = start

    def call_soon_threadsafe(self, action: Callable[[], None]) -> None:
        import trio

        # A run that has ended needs no more calls; one that ends just now has closed its socket.
        with contextlib.suppress(trio.RunFinishedError, OSError):
            self._token.run_sync_soon(action)

    def independent(self) -> set[Any]:
        return set()  # each belongs to a nursery

    def give_up(self, tasks: Iterable[Any]) -> list[Any]:
        return [coroutine for task in tasks if not task.done() for coroutine in task.give_up()]


class _TrioSignal:
    __slots__ = ("_event",)

    def __init__(self) -> None:
        import trio

        self._event = trio.Event()

    def done(self) -> bool:
        return self._event.is_set()

    def set_result(self, result: None, /) -> None:
        self._event.set()

    def __await__(self) -> Generator[Any, Any, None]:
        return self._event.wait().__await__()


class _TrioTask:
    """A trio system task, which like an asyncio task is not a child of another one."""

    __slots__ = ("_callbacks", "_cancelled", "_done", "_native", "_scope")

    def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
        import trio

        self._scope = trio.CancelScope()
        self._cancelled = trio.Cancelled
        self._done = False
        self._callbacks: list[Callable[[Any], object]] = []
        self._native = trio.lowlevel.spawn_system_task(
            self._run, coroutine, context=contextvars.copy_context()
        )

    async def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        # The coroutines record their errors themselves. One that escapes here would end the whole
        # run with a TrioInternalError.
        try:
            with self._scope:
                await coroutine
        except self._cancelled:
            raise
        except BaseException:
            pass
        finally:
            self._end()

    def _end(self) -> None:
        self._done = True
        for callback in self._callbacks:
            callback(self)

    def give_up(self) -> list[Any]:
        coroutines = give_up_on_trio(self._native)
        self._end()
        return coroutines

    def done(self) -> bool:
        return self._done

    def cancel(self) -> None:
        self._scope.cancel()

    def add_done_callback(self, callback: Callable[[Any], object], /) -> None:
        if self._done:
            callback(self)
        else:
            self._callbacks.append(callback)


def wake(signal: Signal | None) -> None:
    """Set ``signal`` unless it is None or already set."""
    if signal is not None and not signal.done():
        signal.set_result(None)


async def all_ended(tasks: Iterable[Task], over: Signal | None = None) -> None:
    """Wait until all ``tasks`` have ended or ``over`` is set."""
    left = {task for task in tasks if not task.done()}
    signal = running_tasks().signal() if over is None else over

    def ended(task: Task, _: object) -> None:
        left.discard(task)
        if not left:
            wake(signal)

    for task in tuple(left):
        # Not what is passed: a task factory may return another object than the task itself.
        task.add_done_callback(functools.partial(ended, task))
    if left:
        await signal


async def ended_in_time(tasks: Iterable[Task], grace: float | None = None) -> bool:
    """Wait up to ``grace`` seconds (default GRACE); return whether all ``tasks`` have ended."""
    pending = [task for task in tasks if not task.done()]
    if not pending:
        return True
    over = running_tasks().signal()
    timer = call_later(GRACE if grace is None else grace, lambda: wake(over))
    try:
        await all_ended(pending, over)
    finally:
        timer.end()
    return all(task.done() for task in pending)


def call_later(delay: float, action: Callable[[], None]) -> Timer:
    """Call ``action`` on the running loop in ``delay`` seconds, even if its clock is frozen."""
    tasks = running_tasks()

    def call() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            tasks.call_soon_threadsafe(action)

    return Timer(delay, call)
