"""Interrupting a callback that never returns to the event loop."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from ..clocks import CLOCKS
from ..threads import raise_in
from .probes.probe import Probe

_STUCK_NS = 50_000_000
"""Age of a callback from which it may be interrupted."""
_OWN = "pytest_nonblocking.sentinel."


class LoopStuck(BaseException):
    """Raised inside a callback that still holds the loop after the timeout.

    It is no Exception, so that a handler's ``except Exception`` cannot swallow it.
    """


class Interrupter:
    """Raises LoopStuck in the running callback of the loop that ``probe`` measures.

    It uses a signal handler on the main thread. If pytest runs in another thread, ``tests_thread``,
    or the system has no signals, calls into C are not interrupted.
    """

    def __init__(self, probe: Probe, tests_thread: int) -> None:
        self._probe = probe
        self._tests_thread = tests_thread
        self._breaks_step: int | None = None
        self._without_signal = False

    def arm(self) -> None:
        """Install the signal handler; does nothing for the loop of another thread than pytest's."""
        ident = threading.get_ident()
        if ident != self._probe.thread_ident:
            return
        if ident == threading.main_thread().ident:
            _HANDLER.add(self)
        self._without_signal = ident == self._tests_thread and not _HANDLER.has(self)

    def disarm(self) -> None:
        """Restore the previous signal handler with the last interrupter; may be called twice."""
        _HANDLER.discard(self)
        self._without_signal = False

    @property
    def armed(self) -> bool:
        """Whether callbacks can be interrupted by a signal."""
        return _HANDLER.has(self)

    def break_step(self) -> None:
        """Raise LoopStuck in the callback that holds the loop, if it is old; from any thread."""
        step_ns = self._probe.step_ns
        lasts = CLOCKS.wall_ns() - step_ns
        if self._probe.idle or lasts < _STUCK_NS:
            return
        if self.armed:
            self._breaks_step = step_ns
            signal.pthread_kill(self._probe.thread_ident, signal.SIGURG)
        elif self._without_signal:
            raise_in(self._probe.thread_ident, LoopStuck)

    def on_signal(self) -> None:
        """Raise LoopStuck if the callback to be interrupted still runs."""
        if not self._probe.idle and self._probe.step_ns == self._breaks_step:
            self._breaks_step = None
            raise LoopStuck("a callback held the event loop past the timeout")


class _Handler:
    """The handler of SIGURG, which all interrupters share.

    The signal is ignored by default, so a late one is harmless.
    """

    def __init__(self) -> None:
        self._interrupters: tuple[Interrupter, ...] = ()
        self._before: Any = None

    def has(self, interrupter: Interrupter) -> bool:
        return interrupter in self._interrupters

    def add(self, interrupter: Interrupter) -> None:
        if not (hasattr(signal, "SIGURG") and hasattr(signal, "pthread_kill")):
            return
        if signal.getsignal(signal.SIGURG) != self._on_signal:
            self._before = signal.signal(signal.SIGURG, self._on_signal)
        self._interrupters = (*self._interrupters, interrupter)

    def discard(self, interrupter: Interrupter) -> None:
        before = self._interrupters
        self._interrupters = tuple(other for other in before if other is not interrupter)
        if not before or self._interrupters:
            return
        # The system restores it on the main thread only, and another's handler stays.
        on_main = threading.current_thread() is threading.main_thread()
        if on_main and signal.getsignal(signal.SIGURG) == self._on_signal:
            signal.signal(signal.SIGURG, self._before or signal.SIG_DFL)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        module = "" if frame is None else frame.f_globals.get("__name__", "")
        if module.startswith(_OWN):
            return  # a measurement would break; the signal is sent again
        for interrupter in self._interrupters:
            interrupter.on_signal()


_HANDLER = _Handler()
