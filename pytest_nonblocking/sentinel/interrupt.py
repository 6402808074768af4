"""Interrupting a callback that never returns to the event loop."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from ..clocks import CLOCKS
from .probes.probe import Probe

_STUCK_NS = 50_000_000
"""Age of a callback from which it may be interrupted."""


class LoopStuck(BaseException):
    """Raised inside a callback that still holds the loop after the timeout.

    It is no Exception, so that a handler's ``except Exception`` cannot swallow it.
    """


class Interrupter:
    """Raises LoopStuck in the running callback of the loop that ``probe`` measures.

    It uses a signal handler, so it does nothing if the loop is not on the main thread or the system
    has no signals.
    """

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._old_handler: Any = None
        self._breaks_step: int | None = None

    def arm(self) -> None:
        """Install the signal handler; on the main thread, otherwise it does nothing."""
        if threading.current_thread() is not threading.main_thread():
            return
        if hasattr(signal, "SIGURG") and hasattr(signal, "pthread_kill"):
            # SIGURG is ignored by default, so a late one is harmless.
            self._old_handler = signal.signal(signal.SIGURG, self._on_signal)

    def disarm(self) -> None:
        """Restore the previous signal handler; may be called twice."""
        if self._old_handler is not None and (
            threading.current_thread() is threading.main_thread()
        ):
            signal.signal(signal.SIGURG, self._old_handler)
            self._old_handler = None

    def break_step(self) -> None:
        """Raise LoopStuck in the callback that holds the loop, if it is old; from any thread."""
        step_ns = self._probe.step_ns
        lasts = CLOCKS.wall_ns() - step_ns
        if self._old_handler is not None and not self._probe.idle and lasts >= _STUCK_NS:
            self._breaks_step = step_ns
            signal.pthread_kill(self._probe.thread_ident, signal.SIGURG)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if not self._probe.idle and self._probe.step_ns == self._breaks_step:
            self._breaks_step = None
            raise LoopStuck("a callback held the event loop past the timeout")
