"""Ctrl-C while a test is measured: the same end on every loop, whichever task runs.

By default KeyboardInterrupt is raised in whatever code runs. On trio and uvloop that may be a
loop's own code or another task than the test's, in which it is lost or ends the loop.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from .originals import anyio, asyncio, signal, threading
from .tasks import call_later, running_tasks

_CLOSES_WITHIN = 0.5
"""Seconds for the clean-up of a test that was interrupted."""


class CtrlC:
    """Cancels one test of the running loop at Ctrl-C.

    ``is_stuck`` returns whether only an exception can end the callback that runs; it is called in a
    signal handler. KeyboardInterrupt is then raised at once, as at a second Ctrl-C.
    """

    def __init__(self, is_stuck: Callable[[], bool]) -> None:
        self._is_stuck = is_stuck
        self._tasks = running_tasks()
        self._presses = 0
        self._old_handler: Any = None
        self._handler = self._pressed  # one object, to compare with
        self._test = anyio.CancelScope()
        self._cleanup: anyio.CancelScope | None = None

    @contextlib.contextmanager
    def ends_test(self) -> Iterator[None]:
        """Raise KeyboardInterrupt from this block, once it is cancelled, if Ctrl-C was pressed."""
        self._install()
        try:
            with _whatever_stays_open(self._test):
                yield
        except BaseException:
            if not self._presses:
                raise
        finally:
            self._remove()
        if self._presses:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def cleanup(self) -> Iterator[None]:
        """Protect this block from all cancellation but a late one by Ctrl-C."""
        with anyio.CancelScope(shield=True) as self._cleanup:
            if not self._presses:
                yield
                return
            timer = call_later(_CLOSES_WITHIN, self._cleanup.cancel)
            try:
                yield
            finally:
                timer.end()

    def _install(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        current = signal.getsignal(signal.SIGINT)
        if _is_a_loops(current):  # leave a user's own handler alone
            self._old_handler = current
            signal.signal(signal.SIGINT, self._handler)

    def _remove(self) -> None:
        if self._old_handler is not None and signal.getsignal(signal.SIGINT) == self._handler:
            signal.signal(signal.SIGINT, self._old_handler)

    def abandon(self, before: Any) -> None:
        """Restore the handler ``before`` the loop ran, if the loop has ended and ours is left.

        So does a time-out by a signal, whose exception ends the loop but not the test's coroutine.
        """
        if signal.getsignal(signal.SIGINT) == self._handler:
            signal.signal(signal.SIGINT, before)

    def _pressed(self, number: int, frame: FrameType | None) -> None:
        self._presses += 1
        if self._presses > 1 or self._is_stuck():
            raise KeyboardInterrupt
        self._tasks.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        self._test.cancel()
        if self._cleanup is not None:
            self._cleanup.cancel()


@contextlib.contextmanager
def _whatever_stays_open(scope: anyio.CancelScope) -> Iterator[None]:
    """Enter ``scope``, and leave it even if the block leaves a scope of its own open.

    anyio raises RuntimeError then: a test of anyio's own suite passed only without this plugin.
    """
    scope.__enter__()
    try:
        yield
    except BaseException as error:
        if not _leave(scope, error):
            raise
    else:
        _leave(scope, None)


def _leave(scope: anyio.CancelScope, error: BaseException | None) -> bool:
    traceback = None if error is None else error.__traceback__
    try:
        return bool(scope.__exit__(None if error is None else type(error), error, traceback))
    except RuntimeError:
        return False


def _is_a_loops(handler: Any) -> bool:
    if isinstance(handler, functools.partial):
        handler = handler.func
    module = getattr(handler, "__module__", None) or ""
    return handler is signal.default_int_handler or module in (
        asyncio.runners.__name__,
        "trio._core._ki",
    )
