"""Interrupting other threads, what they share, and calls from a thread of their own.

Names of ``threading`` are those from before a test could patch them.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from .originals import as_before, made, threading

_T = TypeVar("_T")


def snapshot(container: Iterable[_T]) -> list[_T]:
    """Return the items of a container that other threads change meanwhile.

    It is one call in C. ``tuple`` is not safe: it allocates the result after it has begun to
    iterate, which may start a garbage collection, whose callbacks may let another thread run.
    """
    return list(container)


class Thread(threading.Thread):
    """A daemon thread, which starts whatever a test has put into ``threading``.

    A hook for exceptions that is None keeps a thread from being made, and what fails as a thread
    begins leaves its start waiting for ever.
    """

    def __init__(self, target: Callable[[], object], name: str) -> None:
        with as_before(threading):
            super().__init__(target=target, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread; raises RuntimeError if that is impossible."""
        with as_before(threading):
            super().start()


class Timer:
    """Calls ``action`` in ``delay`` seconds, from a thread of its own.

    It makes no call where no thread can be started.
    """

    def __init__(self, delay: float, action: Callable[[], object]) -> None:
        self._delay = delay
        self._action = action
        self._over = made(threading.Event)
        self._thread = Thread(self._run, "pytest-nonblocking-timer")
        with contextlib.suppress(RuntimeError):
            self._thread.start()

    def end(self) -> None:
        """Prevent the call, or wait until it has returned."""
        self._over.set()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        if not self._over.wait(self._delay):
            self._action()


_set_exception = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_ulong, ctypes.py_object)(
    ("PyThreadState_SetAsyncExc", ctypes.pythonapi)
)


def raising(threads: Iterable[int], error: type[BaseException]) -> Iterator[int]:
    """Return an iterator, each step of which raises ``error`` in one of ``threads``, by its ident.

    The thread raises it before the next bytecode that it runs; a call into C that never returns is
    not interrupted. It is all in C: no other thread runs between what chooses an ident, if that is
    in C too, and the raise. Otherwise the exception could come when what it ends is over, and would
    end the loop, or pytest.
    """
    return map(_set_exception, threads, itertools.repeat(error))


if sys.version_info[:2] == (3, 11):
    _clear_exception = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p)(
        ("PyThreadState_SetAsyncExc", ctypes.pythonapi)
    )

    _SOON = 1000
    """Iterations in which the interpreter raises what was set: it looks at the end of each."""

    class _Taken(BaseException):
        """Raised in the calling thread; no code sees it."""

    def withdraw(threads: Iterable[int]) -> None:
        """Withdraw what was raised in ``threads`` by their idents, and has not come yet.

        While an exception waits for a thread that is in C, each call of Python code in any thread
        that is traced or profiled spins for ever on CPython 3.11.
        """
        for ident in threads:
            _clear_exception(ident, None)
        # The interpreter looks until some thread has taken one.
        with contextlib.suppress(_Taken):
            _set_exception(threading.get_ident(), _Taken)
            for _ in range(_SOON):
                pass

else:

    def withdraw(threads: Iterable[int]) -> None:
        """Leave what was raised in ``threads``: it comes once they have returned from C."""


class Interruptible:
    """Code of the calling thread that other threads may interrupt until it calls ``end``.

    ``end`` is a single call in C, right after which an exception comes at the latest.
    """

    def __init__(self) -> None:
        self._threads = [threading.get_ident()]
        self.end = self._threads.clear

    def interrupt(self, error: type[BaseException]) -> None:
        """Raise ``error`` in the code, unless it has ended; from any thread."""
        list(raising(self._threads, error))

    def leave(self) -> None:
        """Interrupt the code no more: it is in C and does not return."""
        withdraw(self._threads)
