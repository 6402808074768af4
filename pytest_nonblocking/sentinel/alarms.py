"""Timed calls such as the timeout, on a thread that does nothing else.

They depend on no sampling: a fault or a long nap of the watchdog neither stops nor delays them. The
thread waits on a lock, which uses the interpreter's own clock; tests cannot freeze it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

from ..clocks import CLOCKS
from ..originals import made, threading
from .helper_thread import HelperThread

Action = Callable[[], "float | None"]


class Alarms:
    """Makes calls after a delay; the thread starts with the first one and ends with ``stop``.

    ``used`` is called with the CPU time of the thread since the last time, in nanoseconds.
    """

    def __init__(self, used: Callable[[int], None] = lambda ns: None) -> None:
        self._used = used
        # Reentrant: a signal handler may make a call while its thread holds the lock.
        self._changed = made(threading.Condition)
        self._pending: list[tuple[int, int, Action]] = []
        self._serial = 0
        self._calling: int | None = None
        self._stopped = False
        self._thread = HelperThread("alarms", self._run)
        self._fault: BaseException | None = None

    @property
    def fault(self) -> BaseException | None:
        """The first exception of a call, or of the thread itself."""
        return self._fault or self._thread.fault

    @property
    def thread_id(self) -> int:
        """The native id of the thread, 0 before it has started."""
        return self._thread.native_id or 0

    def call_after(self, delay: float, action: Action) -> None:
        """Call ``action`` on the alarms' thread in ``delay`` seconds.

        If it returns a number, it is called again after that many seconds. Raises RuntimeError if
        the thread cannot be started.
        """
        with self._changed:
            self._add(delay, action)
            if self._thread.ident is None:
                self._thread.start()
            self._changed.notify()

    def forget(self) -> None:
        """Cancel all pending calls."""
        with self._changed:
            self._pending, self._calling = [], None

    def stop(self) -> None:
        """Cancel all pending calls, end the thread and wait for it; may be called twice."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.wait()

    def _add(self, delay: float, action: Action) -> None:
        self._serial += 1
        due = CLOCKS.wall_ns() + int(delay * 1e9)
        heapq.heappush(self._pending, (due, self._serial, action))

    def _run(self) -> None:
        used = 0
        while (action := self._next()) is not None:
            try:
                again = action()
            except Exception as error:
                self._fault, again = self._fault or error, None
            with self._changed:
                # None if the calls were cancelled meanwhile.
                if again is not None and self._calling is not None:
                    self._add(again, action)
            before, used = used, CLOCKS.thread_cpu_ns()
            self._used(used - before)

    def _next(self) -> Action | None:
        """Wait for the next call that is due and return it, None to end the thread."""
        with self._changed:
            while not self._stopped:
                wait = None
                if self._pending:
                    left = self._pending[0][0] - CLOCKS.wall_ns()
                    if left <= 0:
                        _, self._calling, action = heapq.heappop(self._pending)
                        return action
                    wait = min(left / 1e9, threading.TIMEOUT_MAX)
                self._changed.wait(wait)
        return None
