"""A thread with a loop of its own that runs a server, and that ends even if the app does not."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

from ..giving_up import give_up_on_asyncio
from ..model import Stack
from ..originals import asyncio, made, threading
from ..sentinel import LoopStuck, tracers
from ..sentinel.stacks import thread_stack
from ..threads import Interruptible, Thread
from .observed import News

_FREE_WITHIN = 1.0
"""Seconds in which the loop must respond before the callback that holds it is interrupted."""
_BREAK_EVERY = 0.1
_GIVEN_UP_WITHIN = 0.3
_BREAKS = 30
_BREAKS_AT_ONCE = 10


class ServerThread:
    """Runs ``serve`` on a loop in a thread; ``news`` is spread when it ends.

    ``error`` is what ended it, None if it returned, and ``forced`` whether ``end`` may have caused
    it.
    """

    def __init__(
        self, name: str, serve: Callable[[], Coroutine[Any, Any, None]], news: News
    ) -> None:
        self._serve = serve
        self._news = news
        self._main: asyncio.Task[None] | None = None
        self._thread = Thread(self._run, name)
        self._running: Interruptible | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.ended = False
        self.forced = False
        self.error: BaseException | None = None

    @property
    def ident(self) -> int:
        """The thread's identifier, 0 before its start."""
        return self._thread.ident or 0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    async def until(self, condition: Callable[[], bool], within: float) -> bool:
        """Wait for ``condition`` or the end, up to ``within`` seconds; return whether it holds."""
        await self._news.until(lambda: condition() or self.ended, within)
        return condition()

    async def end(
        self, leave: Callable[[], object], within: float, on_late: Callable[[], object]
    ) -> Stack | None:
        """Have the server leave within some seconds, then cancel it, then interrupt it.

        ``on_late`` is called if it has not left in time. Returns where the thread is if nothing
        ends it. Cancelled, it ends the thread at once, if that is possible: while its server prints
        a traceback, pytest could not print one (CPython 3.11 cannot parse in two threads).
        """
        self._post(leave)
        try:
            if await self._free() and not await self._ends(within):
                on_late()
                self.forced = True
                self._post(self._cancel)
                if not await self._ends(_FREE_WITHIN):
                    self._post(self._give_up)
                if not await self._ends(_GIVEN_UP_WITHIN):
                    await self._break(lambda: self.ended)
        except BaseException:
            self._end_at_once()
            raise
        if not self.ended:
            return thread_stack(self.ident)
        self._thread.join()
        return None

    def _end_at_once(self) -> None:
        self._post(self._cancel)
        self._thread.join(_GIVEN_UP_WITHIN)
        self._post(self._give_up)
        with tracers.suspended():  # see ``withdraw``
            for _ in range(_BREAKS_AT_ONCE):
                self._thread.join(_BREAK_EVERY)
                if not self._thread.is_alive():
                    return
                self._interrupt()
            self._leave()

    async def _ends(self, within: float) -> bool:
        return await self.until(lambda: self.ended, within)

    def _cancel(self) -> None:
        if self._main is not None:
            self._main.cancel()

    def _give_up(self) -> None:
        """Suspend what ignores its cancellation: a loop that is broken off would close it."""
        tasks = asyncio.all_tasks(self.loop) - {self._main}
        give_up_on_asyncio([task for task in tasks if not task.done()])

    async def _free(self) -> bool:
        """Interrupt callbacks until the loop responds; return whether it does."""
        free = made(threading.Event)

        def respond() -> None:
            free.set()
            self._news.spread()

        self._post(respond)
        if not await self.until(free.is_set, _FREE_WITHIN):
            await self._break(free.is_set)
        return free.is_set()

    async def _break(self, condition: Callable[[], bool]) -> None:
        with tracers.suspended():  # see ``withdraw``
            for _ in range(_BREAKS):
                if condition() or self.ended:
                    return
                self._interrupt()
                await self.until(condition, _BREAK_EVERY)
            self._leave()

    def _interrupt(self) -> None:
        self.forced = True
        if self._running is not None:
            self._running.interrupt(LoopStuck)
        self._post(lambda: None)  # the loop may sleep

    def _leave(self) -> None:
        if self._running is not None:
            self._running.leave()

    def _post(self, action: Callable[[], object]) -> None:
        # The loop may be closed at any time.
        with contextlib.suppress(RuntimeError):
            if self.loop is not None:
                self.loop.call_soon_threadsafe(action)

    def _run(self) -> None:
        running = self._running = Interruptible()
        try:
            try:
                _run_to_the_end(self._served())
            finally:
                running.end()
        except BaseException as error:
            self.error = error
        finally:
            self.ended = True
            self._news.spread()

    async def _served(self) -> None:
        self.loop, self._main = asyncio.get_running_loop(), asyncio.current_task()
        await self._serve()


def _run_to_the_end(main: Coroutine[Any, Any, None]) -> None:
    """Run ``main`` like ``asyncio.run``, and end all tasks if one raises ``SystemExit``.

    ``asyncio.run`` cancels them once. If another one exits then too, it closes the loop while the
    rest are suspended: their sockets stay open, and the next test gets the warnings.
    """
    loop = asyncio.new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(main)
    finally:
        try:
            _end_tasks(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            asyncio.set_event_loop(None)
            loop.close()


def _end_tasks(loop: asyncio.AbstractEventLoop) -> None:
    while tasks := asyncio.all_tasks(loop):
        for task in tasks:
            task.cancel()
        with contextlib.suppress(SystemExit, KeyboardInterrupt):
            # A future and no task: ``_give_up`` ends all tasks.
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        for task in tasks:
            if task.done() and not task.cancelled() and (error := task.exception()):
                message = "unhandled exception while the server's loop ended"
                loop.call_exception_handler({"message": message, "exception": error, "task": task})
