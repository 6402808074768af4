"""Discovery of the asyncio loops that run in this process, whoever created them."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from ..originals import asyncio
from .probes.asyncio_loop import PATCHES


class LoopsUsed:
    """The asyncio loops that ran a callback while this context was active.

    ``on_new`` is called once per loop, on its thread and before a callback. Loops of uvloop and
    trio are not seen: they offer nothing that could be patched from another thread.
    """

    def __init__(self, on_new: Callable[[], object] = lambda: None) -> None:
        self._on_new = on_new
        self.fault: Exception | None = None
        self._loops: list[asyncio.AbstractEventLoop] = []

    def __enter__(self) -> LoopsUsed:
        PATCHES.watch(self._see)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        PATCHES.unwatch(self._see)

    def _see(self, loop: asyncio.AbstractEventLoop) -> None:
        # By identity of a kept reference: a new loop may reuse the address of a closed one.
        if not any(loop is seen for seen in self._loops):
            self._loops.append(loop)
            try:
                self._on_new()
            except Exception as error:  # our fault must not reach the loop
                self.fault = error

    @property
    def ended(self) -> int:
        """The number of loops that have stopped."""
        return len(self._loops) - len(self.running)

    @property
    def running(self) -> list[asyncio.AbstractEventLoop]:
        """The loops that still run."""
        return [loop for loop in self._loops if loop.is_running()]
