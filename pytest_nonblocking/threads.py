"""Interrupting other threads, what they share, and calls from a thread of their own.

Names of ``threading`` are bound here, before a test can patch them.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterable
from threading import Event, Thread, current_thread
from typing import TypeVar

_T = TypeVar("_T")


def snapshot(container: Iterable[_T]) -> list[_T]:
    """Return the items of a container that other threads change meanwhile.

    It is one call in C. ``tuple`` is not safe: it allocates the result after it has begun to
    iterate, which may start a garbage collection, whose callbacks may let another thread run.
    """
    return list(container)


class Timer:
    """Calls ``action`` in ``delay`` seconds, from a thread of its own.

    It makes no call where no thread can be started.
    """

    def __init__(self, delay: float, action: Callable[[], object]) -> None:
        self._delay = delay
        self._action = action
        self._over = Event()
        self._thread = Thread(target=self._run, name="pytest-nonblocking-timer", daemon=True)
        with contextlib.suppress(RuntimeError):
            self._thread.start()

    def end(self) -> None:
        """Prevent the call, or wait until it has returned."""
        self._over.set()
        if self._thread.ident is not None and self._thread is not current_thread():
            self._thread.join()

    def _run(self) -> None:
        if not self._over.wait(self._delay):
            self._action()


def raise_in(thread_ident: int, error: type[BaseException]) -> None:
    """Raise ``error`` in another thread, before the next bytecode that it runs.

    A call into C that never returns is not interrupted.
    """
    ident = ctypes.c_ulong(thread_ident)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(error))
