"""Which asyncio loops run in the process meanwhile, whoever made them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType

from .probes.asyncio_loop import PATCHED_HANDLES


class LoopsUsed:
    """The loops of asyncio's own that ran a callback while this context was entered.

    ``on_new`` is called once for each, on its thread and between two of its callbacks. A loop of
    another kind (uvloop, trio) in another thread is not seen: nothing of it can be patched.
    """

    def __init__(self, on_new: Callable[[], object] = lambda: None) -> None:
        self._on_new = on_new
        self.fault: Exception | None = None
        self._loops: list[asyncio.AbstractEventLoop] = []

    def __enter__(self) -> LoopsUsed:
        PATCHED_HANDLES.watch(self._see)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        PATCHED_HANDLES.unwatch(self._see)

    def _see(self, loop: asyncio.AbstractEventLoop) -> None:
        # Compared by identity: a loop may be closed and another have its place in memory.
        if not any(loop is seen for seen in self._loops):
            self._loops.append(loop)
            try:
                self._on_new()
            except Exception as error:  # a fault of ours is none of the loop's
                self.fault = error

    @property
    def ended(self) -> int:
        """How many of them do not run any more."""
        return len(self._loops) - len(self.running)

    @property
    def running(self) -> list[asyncio.AbstractEventLoop]:
        """Those that still run."""
        return [loop for loop in self._loops if loop.is_running()]
