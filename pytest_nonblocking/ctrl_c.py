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

from .clocks import CLOCKS
from .originals import anyio, asyncio, made, signal, threading
from .tasks import call_later, running_tasks

_CLOSES_WITHIN = 0.5
"""Seconds for the clean-up of a test that was interrupted."""
_ONE_PRESS_NS = 300_000_000
"""Time in which presses count as one: a key that is held down, or a shell and a tool that both send
the signal. A second exception would come in the middle of what undoes the measurement."""


class _Presses:
    """The presses of Ctrl-C of this process."""

    def __init__(self) -> None:
        self._last_ns: int | None = None

    def is_repeated(self) -> bool:
        """Note a press; return whether it counts as one with an earlier one."""
        if self._left_ns() > 0:
            return True
        self._last_ns = CLOCKS.wall_ns()
        return False

    def wait_out(self) -> None:
        """Wait until no further press would count as one with the last, which ours must handle."""
        if (left := self._left_ns()) > 0:
            made(threading.Event).wait(left / 1e9)

    def _left_ns(self) -> int:
        if self._last_ns is None:
            return 0
        return self._last_ns + _ONE_PRESS_NS - CLOCKS.wall_ns()


PRESSES = _Presses()


@contextlib.contextmanager
def on_ctrl_c(action: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Have Ctrl-C call ``action``, in this thread, and then raise KeyboardInterrupt.

    A handler of the user's own is left alone. Blocks may be nested.
    """
    before = signal.getsignal(signal.SIGINT)
    is_main = threading.current_thread() is threading.main_thread()
    if not (is_main and (before is signal.default_int_handler or _is_ours(before))):
        yield
        return

    def pressed(number: int, frame: FrameType | None) -> None:
        if not PRESSES.is_repeated():
            action()
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, pressed)
    try:
        yield
    finally:
        PRESSES.wait_out()
        if signal.getsignal(signal.SIGINT) is pressed:
            signal.signal(signal.SIGINT, before)


class CtrlC:
    """Cancels one test of the running loop at Ctrl-C.

    ``is_stuck`` returns whether only an exception can end the callback that runs; it is called in a
    signal handler. KeyboardInterrupt is then raised at once, as at a second Ctrl-C.
    """

    def __init__(self, is_stuck: Callable[[], bool]) -> None:
        self._is_stuck = is_stuck
        self._tasks = running_tasks()
        self._presses = 0
        self._abandoned = False
        self._old_handler: Any = None
        self._handler = self._pressed  # one object, to compare with
        self._test = made(anyio.CancelScope)
        self._cleanup: anyio.CancelScope | None = None

    @contextlib.contextmanager
    def ends_test(self) -> Iterator[None]:
        """Raise KeyboardInterrupt from this block, once it is cancelled, if Ctrl-C was pressed."""
        self._install()
        try:
            with _whatever_stays_open(self._test):
                yield
        except BaseException:
            # At a later Ctrl-C the loop has ended without this test: it is cancelled as pytest
            # closes the loop, whose summary another exception would end.
            if not self._presses or self._abandoned:
                raise
        finally:
            self._remove()
        if self._presses and not self._abandoned:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def cleanup(self) -> Iterator[None]:
        """Protect this block from all cancellation but a late one by Ctrl-C."""
        with made(anyio.CancelScope, shield=True) as self._cleanup:
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
        PRESSES.wait_out()
        if self._old_handler is not None and signal.getsignal(signal.SIGINT) == self._handler:
            signal.signal(signal.SIGINT, self._old_handler)

    def abandon(self, before: Any) -> None:
        """Raise no more, and restore the handler ``before`` the loop ran if ours is left.

        The test is over, but its coroutine may not be: at a second Ctrl-C, and at a time-out by a
        signal, an exception ends the loop alone.
        """
        self._abandoned = True
        PRESSES.wait_out()
        if signal.getsignal(signal.SIGINT) == self._handler:
            signal.signal(signal.SIGINT, before)

    def _pressed(self, number: int, frame: FrameType | None) -> None:
        if PRESSES.is_repeated():
            return
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
    return handler is signal.default_int_handler or _module_of(handler) in (
        asyncio.runners.__name__,
        "trio._core._ki",
    )


def _is_ours(handler: Any) -> bool:
    return _module_of(handler) == __name__


def _module_of(handler: Any) -> str:
    return getattr(handler, "__module__", None) or ""
