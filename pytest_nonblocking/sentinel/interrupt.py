"""Interrupting a callback that never returns to the event loop."""

from __future__ import annotations

import logging
import operator
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, TypeVar

from ..clocks import CLOCKS
from ..originals import threading
from ..sigurg import SIGURG
from .probes.probe import Probe
from .stacks import is_called_by, is_in, raise_within

_F = TypeVar("_F", bound=Callable[..., Any])

_STUCK_NS = 50_000_000
"""Age of a callback from which it may be interrupted."""


class LoopStuck(BaseException):
    """Raised inside a callback that still holds the loop after the timeout.

    It is no Exception, so that a handler's ``except Exception`` cannot swallow it. It is in no log:
    the verdict says where the callback was, and no exception of the app's was raised.
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        for log in LOGS_OF_ENDS:
            # For good: a task that ended by it is logged when it is freed, at any later time.
            log.addFilter(_is_of_users)


LOGS_OF_ENDS = (logging.getLogger("asyncio"), logging.getLogger("uvicorn.error"))
"""The logs of what has ended a callback or a request for which nobody waits."""


def logs_only(kind: type[BaseException], record: logging.LogRecord) -> bool:
    """Return whether ``record`` is about an exception of this kind, or a group of them."""
    return isinstance(record.exc_info, tuple) and _is_only(kind, record.exc_info[1])


def _is_only(kind: type[BaseException], error: BaseException | None) -> bool:
    within: tuple[BaseException, ...] = getattr(error, "exceptions", ())
    return all(_is_only(kind, one) for one in within) if within else isinstance(error, kind)


def _is_of_users(record: logging.LogRecord) -> bool:
    return not logs_only(LoopStuck, record)


_OURS: set[CodeType] = set()


def uninterrupted(function: _F) -> _F:
    """Mark a function of the plugin: a callback in which it runs is not interrupted."""
    _OURS.add(function.__code__)
    return function


class Interrupter:
    """Raises LoopStuck in the running callback of the loop that ``probe`` measures.

    It uses a signal handler on the main thread. If pytest runs in another thread, ``tests_thread``,
    or the system has no signals, or the app handles the signal, calls into C are not interrupted.
    """

    def __init__(self, probe: Probe, tests_thread: int) -> None:
        self._probe = probe
        self._tests_thread = tests_thread
        self._breaks_step: int | None = None
        self._without_signal = False

    def arm(self) -> None:
        """Install the signal handler; does nothing for the loop of another thread than pytest's."""
        ident = threading.get_ident()
        if ident == self._probe.thread_ident:
            SIGURG.add(self._on_signal)
            self._without_signal = ident == self._tests_thread

    def disarm(self) -> None:
        """Restore the previous signal handler with the last interrupter; may be called twice."""
        SIGURG.discard(self._on_signal)
        self._without_signal = False

    @property
    def armed(self) -> bool:
        """Whether callbacks can be interrupted by a signal."""
        return SIGURG.has(self._on_signal)

    def break_step(self) -> None:
        """Raise LoopStuck in the callback that holds the loop, if it is old; from any thread."""
        step_ns = self._probe.step_ns
        lasts = CLOCKS.wall_ns() - step_ns
        if self._probe.idle or lasts < _STUCK_NS:
            return
        if self.armed:
            self._breaks_step = step_ns
            SIGURG.send(self._probe.thread_ident)
        elif self._without_signal and not any(
            is_in(code, self._probe.thread_ident) for code in _OURS
        ):
            # By the time when it is raised, the callback may have ended.
            now = map(operator.attrgetter("idle", "step_ns"), (self._probe,))
            still = map((False, step_ns).__eq__, now)
            raise_within(self._probe.callback, self._probe.thread_ident, LoopStuck, still)

    def _on_signal(self, frame: FrameType | None) -> None:
        """Raise LoopStuck if the callback to be interrupted still runs."""
        if self._probe.idle or self._probe.step_ns != self._breaks_step:
            return
        if frame is not None and not self._may_break(frame):
            return
        self._breaks_step = None
        raise LoopStuck("a callback held the event loop past the timeout")

    def _may_break(self, frame: FrameType) -> bool:
        # The loop's own code, or ours, is slow beside other processes and threads, too.
        is_ours = any(is_called_by(code, frame) for code in _OURS)
        return self._probe.is_in_callback(frame) and not is_ours
