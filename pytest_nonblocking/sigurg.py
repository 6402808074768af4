"""The plugin's one handler of SIGURG, which interrupts what holds the main thread.

The signal is ignored by default, so a late one is harmless. What else handles it keeps it: an app's
own handler, faulthandler, and the runtime of Go in extension modules, which sends it to itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from threading import current_thread, main_thread
from types import FrameType
from typing import Any

from .originals import os, signal

Listener = Callable[[Any], None]
"""Called in the handler with the frame that runs; it may raise an exception there."""

_OWN = "pytest_nonblocking.sentinel."
_STATUS = "/proc/self/status"
_CAUGHT = re.compile(rb"^SigCgt:\s*([0-9a-f]+)$", re.MULTILINE)


class _Handler:
    """The handler, which all listeners share."""

    def __init__(self) -> None:
        self._listeners: tuple[Listener, ...] = ()
        self._before: Any = signal.SIG_DFL
        self._ours = self._on_signal  # one object, to compare with

    def has(self, listener: Listener) -> bool:
        """Return whether ``listener`` is called at a signal."""
        return listener in self._listeners and self._is_installed()

    def add(self, listener: Listener) -> None:
        """Call ``listener`` at each signal, unless somebody else handles it; on the main thread."""
        if not (hasattr(signal, "SIGURG") and hasattr(signal, "pthread_kill")):
            return
        if current_thread() is not main_thread():
            return
        if not self._is_installed():
            if _is_handled():
                return
            self._before = signal.signal(signal.SIGURG, self._ours)
        self._listeners = (*self._listeners, listener)

    def discard(self, listener: Listener) -> None:
        """Undo ``add``; with the last listener, restore what was there. May be called twice."""
        before = self._listeners
        self._listeners = tuple(other for other in before if other != listener)
        if not before or self._listeners:
            return
        # The system restores it on the main thread only, and another's handler stays.
        if current_thread() is main_thread() and self._is_installed():
            signal.signal(signal.SIGURG, self._before)

    def send(self, thread_ident: int) -> None:
        """Send the signal to the main thread, whose ident is ``thread_ident``."""
        signal.pthread_kill(thread_ident, signal.SIGURG)

    def _is_installed(self) -> bool:
        return signal.getsignal(signal.SIGURG) == self._ours

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        module = "" if frame is None else frame.f_globals.get("__name__", "")
        if module.startswith(_OWN):
            return  # a measurement would break; the signal is sent again
        for listener in self._listeners:
            listener(frame)


def _is_handled() -> bool:
    """Return whether somebody handles SIGURG, in Python or, as Linux reports, in C."""
    if signal.getsignal(signal.SIGURG) not in (signal.SIG_DFL, signal.SIG_IGN):
        return True
    try:
        file = os.open(_STATUS, os.O_RDONLY)  # a test may have patched the builtin
    except OSError:
        return False
    try:
        found = _CAUGHT.search(os.read(file, 1 << 16))
    finally:
        os.close(file)
    return found is not None and bool(int(found[1], 16) >> (signal.SIGURG - 1) & 1)


SIGURG = _Handler()
