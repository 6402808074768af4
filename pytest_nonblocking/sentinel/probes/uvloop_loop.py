"""The probe for uvloop: times every callback that is scheduled on the loop.

uvloop has no hook for its sleep: between two callbacks, time off the CPU counts as sleep. That
includes waits in a protocol's ``data_received``, which libuv calls directly.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from ...clocks import CLOCKS
from .asyncio_loop import LoopProbe, coroutine_of
from .probe import COPY, Origin

_TAKES_CALLBACK_AT = {
    "call_soon": 0,
    "call_soon_threadsafe": 0,
    "call_later": 1,
    "call_at": 1,
    "add_reader": 1,
    "add_writer": 1,
}
_SLEEP_NS = 50_000
"""Gap between callbacks from which the loop may have slept; within an iteration it is 1-2 us."""


class _Call(NamedTuple):
    """A callback that has just returned, and the copy of its context."""

    callback: Callable[..., object]
    copy: int | None


class UvloopProbe(LoopProbe):
    """Times the uvloop of the calling thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, notice: float) -> None:
        self._hooked = False
        super().__init__(loop, notice)

    @property
    def loop_name(self) -> str:
        """The name of the library."""
        return "uvloop"

    @property
    def default_executor(self) -> Any:
        """The executor of ``run_in_executor(None, …)``, found through the garbage collector."""
        kept = gc.get_referents(self._loop)
        return next((one for one in kept if isinstance(one, ThreadPoolExecutor)), None)

    def _hook(self) -> None:
        # On the instance, where tasks and futures find it; other loops are not affected.
        for name, position in _TAKES_CALLBACK_AT.items():
            setattr(self._loop, name, self._taking(getattr(self._loop, name), position))
        self._hooked = True

    def _unhook(self) -> None:
        if self._hooked:
            self._hooked = False
            for name in _TAKES_CALLBACK_AT:
                delattr(self._loop, name)

    def _taking(self, original: Callable[..., Any], position: int) -> Callable[..., Any]:
        def take(*args: Any, **kwargs: Any) -> Any:
            if len(args) <= position:  # passed by keyword, as only user code may do
                return original(*args, **kwargs)
            before, callback, after = args[:position], args[position], args[position + 1 :]
            return original(*before, self._timed(callback), *after, **kwargs)

        return take

    def _timed(self, callback: Callable[..., object]) -> Callable[..., object]:
        wall_ns = CLOCKS.wall_ns

        def call(*args: Any) -> object:
            if not self._hooked:
                return callback(*args)
            now = wall_ns()
            if self.idle and now - self.step_ns >= _SLEEP_NS:
                self.tick(now, None, now - self.step_ns)
            self.idle = False
            try:
                return callback(*args)
            finally:
                now = wall_ns()
                if now >= self.due_ns:
                    self.tick(now, _Call(callback, COPY.get()))
                else:
                    self.step_ns = now
                self.idle = True

        return call

    def _origin(self, step: _Call) -> Origin:
        return Origin(coroutine_of(step.callback), step.copy)
