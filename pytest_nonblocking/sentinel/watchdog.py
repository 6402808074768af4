"""A thread that looks at the loop thread while it is measured: stacks, waits, time-outs.

It sleeps between looks on a lock, not on ``time.sleep``: locks keep the interpreter's own clock,
which a test that freezes ``time`` does not reach.
"""

from __future__ import annotations

import _thread
import sys
import threading
from collections.abc import Callable
from typing import Protocol

from ..clocks import CLOCKS
from ..results import GilUse, Stack
from .clock import FallbackThreadClock, thread_clock
from .stacks import other_thread_stacks, thread_stack
from .syscalls import State, Witness

_LONGEST_NAP_NS = 250_000_000
_GIL_LATE_NS = 1_000_000
_SAMPLES_KEPT = 512
_COUNT_THREADS_EVERY = 4


class Watched(Protocol):
    """What the watchdog needs of a probe."""

    idle: bool
    step_ns: int
    thread_ident: int
    thread_id: int

    @property
    def clock(self) -> object:
        """The clock of the watched thread."""

    def sampled(self, step_ns: int, state: State, stack: Stack) -> None:
        """Take what was seen of the step that began at ``step_ns``."""


class Watchdog:
    """Looks at ``probe``'s thread every ``interval`` seconds, and at doublings within one step.

    ``watched`` is the time in seconds over which it slept while the loop slept too, and
    ``gil_waited`` the part of it for which this thread, though due and not kept by the machine,
    waited for the GIL: some other thread held it. ``thread_samples`` are the stacks of all other
    threads at those moments, and when the loop was seen to wait for the GIL. ``want_gil`` and
    ``run_free`` count the other threads that, while the loop slept and this thread had the GIL,
    waited for the GIL or ran without it. ``cpu_ns`` is what the looks have cost so far.
    """

    def __init__(self, probe: Watched, interval: float) -> None:
        self._probe = probe
        self._interval_ns = int(interval * 1e9)
        self._stop = _thread.allocate_lock()
        self._stop.acquire()
        self._thread = threading.Thread(
            target=self._guarded, name="pytest-nonblocking-watchdog", daemon=True
        )
        self.fault: BaseException | None = None
        self.watched = self.gil_waited = 0.0
        self.want_gil = self.run_free = 0
        self._looks = 0
        self.cpu_ns = 0
        self.thread_samples: list[Stack] = []
        self._alarms: list[tuple[int, Callable[[], float | None]]] = []

    @property
    def thread_id(self) -> int:
        """The native id of the thread, 0 before it has started."""
        return self._thread.native_id or 0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it."""
        if self._stop.locked():
            self._stop.release()
        if self._thread.ident is not None:
            self._thread.join()

    def counts(self) -> GilUse:
        """Return the counts so far."""
        return GilUse(self.watched, self.gil_waited, self.want_gil, self.run_free)

    def call_after(self, delay: float, action: Callable[[], float | None]) -> None:
        """Call ``action`` from this thread in ``delay`` seconds.

        It may return after how many seconds it wants to be called again.
        """
        self._alarms = [*self._alarms, (CLOCKS.wall_ns() + int(delay * 1e9), action)]

    def forget_calls(self) -> None:
        """Forget all actions that have not been called yet."""
        self._alarms = []

    def _guarded(self) -> None:
        # A coverage tool traces every new thread; none of this one's work is the user's.
        sys.settrace(None)
        sys.setprofile(None)
        try:
            self._run()
        except Exception as error:
            self.fault = error

    def _run(self) -> None:
        clock = thread_clock(threading.get_native_id())
        witness = Witness()
        wall_ns = CLOCKS.wall_ns
        canary = self._probe.clock if isinstance(self._probe.clock, FallbackThreadClock) else None
        nap = self._interval_ns
        try:
            while True:
                before = wall_ns()
                delay_before = clock.read().delay
                cpu_before = CLOCKS.process_cpu_ns()
                if self._stop.acquire(True, nap / 1e9):
                    return
                now = wall_ns()
                late = now - before - nap
                if canary is not None:
                    # Late because this process had the processor: it waited for the GIL.
                    used = CLOCKS.process_cpu_ns() - cpu_before
                    canary.late(max(0, late - used - _GIL_LATE_NS))
                else:
                    late -= clock.read().delay - delay_before
                nap = self._look(witness, now, now - before, late)
                self._ring(now)
                self.cpu_ns = CLOCKS.thread_cpu_ns()
        finally:
            clock.close()
            witness.close()

    def _ring(self, now: int) -> None:
        for alarm in self._alarms:
            due, action = alarm
            if now < due:
                continue
            again = action()
            # The loop's thread may have forgotten all alarms meanwhile.
            if alarm in self._alarms:
                self._alarms = [other for other in self._alarms if other is not alarm]
                if again is not None:
                    self.call_after(again, action)

    def _look(self, witness: Witness, now: int, slept: int, late: int) -> int:
        """Look once and return for how many nanoseconds to sleep."""
        probe = self._probe
        if probe.idle:
            self.watched += slept / 1e9
            self._looks += 1
            if self._looks % _COUNT_THREADS_EVERY == 0 or late >= _GIL_LATE_NS:
                self._count_threads(witness)
            if late >= _GIL_LATE_NS:
                self.gil_waited += late / 1e9
                self._sample_threads()
            return self._interval_ns
        step_ns = probe.step_ns
        state = witness.state(probe.thread_id)
        probe.sampled(step_ns, state, thread_stack(probe.thread_ident))
        if state == "gil":
            self._sample_threads()
        age = now - step_ns
        return min(max(age, self._interval_ns), _LONGEST_NAP_NS)

    def _sample_threads(self) -> None:
        if len(self.thread_samples) < _SAMPLES_KEPT:
            mine = {self._probe.thread_ident, threading.get_ident()}
            self.thread_samples += other_thread_stacks(mine)

    def _count_threads(self, witness: Witness) -> None:
        own = (self._probe.thread_ident, threading.get_ident())
        for thread in threading.enumerate():
            if thread.ident in own or not thread.native_id:
                continue
            state = witness.state(thread.native_id)
            self.want_gil += state == "gil"
            self.run_free += state == "running"
