"""The event loop that a sentinel measures, and calls on its thread."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from typing import TypeVar

from ..clocks import CLOCKS
from ..model import Stack
from ..originals import asyncio, made, threading
from .stacks import thread_stack

_T = TypeVar("_T")

_ANSWER_WITHIN_NS = 2_000_000_000
_IN_A_HURRY_NS = 300_000_000
_LOOK_EVERY = 0.25


class LoopClosedError(Exception):
    """The measured loop of another thread has ended."""


class LoopUnreachableError(Exception):
    """A callback of another thread's loop holds it; ``stack`` is where, None if unknown."""

    def __init__(self, stack: Stack | None) -> None:
        super().__init__("a callback holds the event loop of another thread")
        self.stack = stack


class MeasuredLoop:
    """The loop that runs in the calling thread, or one of another thread.

    A callback may keep another thread's loop from responding until ``patient_until_ns``, but at
    least for 2 s.
    """

    def __init__(self) -> None:
        self.patient_until_ns = 0
        self.in_a_hurry = False
        """Whether Ctrl-C was pressed: another thread's loop has to respond at once."""
        self._remote: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._free = made(threading.Event)
        self._free.set()

    @property
    def is_remote(self) -> bool:
        """Whether it belongs to another thread."""
        return self._remote is not None

    def runs_in(self, thread: int, loop: asyncio.AbstractEventLoop) -> None:
        """Measure the running ``loop`` of the thread with the ident ``thread``."""
        self._thread, self._remote = thread, loop

    def call(self, work: Callable[[], _T]) -> _T:
        """Call ``work`` on the loop's thread and return its result.

        Raises LoopUnreachableError if another thread's loop does not respond in time, and at
        once while an earlier call waits for it. Raises LoopClosedError if that loop has ended.
        """
        loop = self._remote
        if loop is None or asyncio._get_running_loop() is loop:
            return work()
        if loop.is_closed():
            raise LoopClosedError
        if not self._free.is_set():
            raise LoopUnreachableError(self._held_at())

        async def working() -> _T:
            return work()

        call = working()
        # In a context of its own: that of a test on trio says that this thread runs trio, too.
        try:
            answer = Context().run(asyncio.run_coroutine_threadsafe, call, loop)
        except RuntimeError:  # closed meanwhile
            call.close()
            raise LoopClosedError from None
        began_ns = CLOCKS.wall_ns()
        while not concurrent.futures.wait([answer], _LOOK_EVERY).done:
            if loop.is_closed():
                call.close()
                raise LoopClosedError
            if CLOCKS.wall_ns() > self._gives_up_ns(began_ns):
                answer.cancel()
                self._free.clear()
                with suppress(RuntimeError):  # closed meanwhile
                    loop.call_soon_threadsafe(self._free.set)
                raise LoopUnreachableError(self._held_at())
        try:
            return answer.result()
        except concurrent.futures.CancelledError:  # a loop that ends cancels its tasks
            raise LoopClosedError from None

    def _gives_up_ns(self, began_ns: int) -> int:
        if self.in_a_hurry:
            return began_ns + _IN_A_HURRY_NS
        return max(self.patient_until_ns, began_ns + _ANSWER_WITHIN_NS)

    def _held_at(self) -> Stack | None:
        return thread_stack(self._thread) or None
