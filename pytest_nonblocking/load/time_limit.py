"""A time limit for code that blocks its thread, such as a plain test that waits for its app."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import FrameType, TracebackType

from ..originals import made, threading
from ..sentinel.helper_thread import HelperThread
from ..sigurg import SIGURG
from ..threads import Interruptible

_INTERRUPT_EVERY = 0.5


class TimeLimit:
    """Calls ``on_late`` if the block lasts longer than ``seconds``, then interrupts it.

    It is interrupted by ``error``, again and again until it ends; where no signal can be used, not
    in a call into C. ``on_late`` runs in a thread of its own and may end the block before that;
    what it raises is ignored. There is no limit where no thread can be started.
    """

    def __init__(
        self, seconds: float, error: BaseException, on_late: Callable[[], object] = lambda: None
    ) -> None:
        self._seconds = seconds
        self._error = error
        self._on_late = on_late
        self._over = made(threading.Event)
        self._due = made(threading.Event)
        self._hurries = False
        self._thread = HelperThread("timeout", self._watch)
        self.passed = False

    def __enter__(self) -> TimeLimit:
        self._ident = threading.get_ident()
        self._block = Interruptible()
        SIGURG.add(self._on_signal)
        with contextlib.suppress(RuntimeError):
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._leave()
        except type(self._error):  # which came just now
            self._leave()
        if kind is type(self._error) and self.passed:
            raise self._error from None  # raised without a signal, it has no message

    def pass_soon(self) -> None:
        """Interrupt the block soon, as if its time were over, without ``on_late``; any thread."""
        self._hurries = True
        self._due.set()

    def _leave(self) -> None:
        self._block.end()
        self._over.set()
        self._due.set()
        if self._thread.ident is not None:
            self._thread.join()
        SIGURG.discard(self._on_signal)

    def _watch(self) -> None:
        self._due.wait(self._seconds)
        if self._over.is_set():
            return
        self.passed = True
        if not self._hurries:
            with contextlib.suppress(Exception):  # the block must end all the same
                self._on_late()
        while not self._over.wait(_INTERRUPT_EVERY):
            if SIGURG.has(self._on_signal):
                SIGURG.send(self._ident)
            else:
                self._block.interrupt(type(self._error))

    def _on_signal(self, frame: FrameType | None) -> None:
        # Others send it, too: the runtime of Go does, in extension modules that are written in it.
        if self.passed and not self._over.is_set() and not _is_leaving(frame):
            raise self._error


def _is_leaving(frame: FrameType | None) -> bool:
    """Return whether a limit is just left: an exception would keep it from being undone."""
    while frame is not None:
        if frame.f_code is TimeLimit.__exit__.__code__:
            return True
        frame = frame.f_back
    return False
