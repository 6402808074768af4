"""The watchdog: a thread that samples the loop's thread.

Between looks it waits on a lock instead of ``time.sleep``: locks use the interpreter's own clock,
which tests cannot freeze.
"""

from __future__ import annotations

import _thread
import contextlib
import threading
from collections.abc import Callable
from dataclasses import replace
from math import ceil
from typing import NamedTuple, Protocol

from ..clocks import CLOCKS
from ..model import Looks, Sample, Stack, State
from .helper_thread import HelperThread
from .stacks import thread_stack
from .system.clock import FallbackThreadClock, RunnableTime, ThreadClock, thread_clock
from .system.crowd import Count, Crowd
from .system.thread_state import Witness

_LONGEST_NAP_NS = 20_000_000
_GIL_LATE_NS = 1_000_000
_SAMPLES_KEPT = 512
_STACKS_A_LOOK = 8


class Watched(Protocol):
    """The part of a probe that the watchdog uses."""

    idle: bool
    step_ns: int
    thread_ident: int
    thread_id: int

    @property
    def step_runnable_ns(self) -> int:
        """For how long the loop's thread was runnable up to the start of the callback."""

    @property
    def clock(self) -> object:
        """The clock of the sampled thread."""

    def helper_used(self, cpu_ns: int) -> None:
        """Exclude CPU time of the plugin's own threads from all measurements."""

    def sampled(self, step_ns: int, state: State, stack: Stack, weight: float) -> None:
        """Record a sample of the callback that started at ``step_ns``."""

    def waits_for_files(self) -> bool:
        """Return whether the loop waits for a file descriptor other than its own."""


class _Wake(NamedTuple):
    """How the watchdog woke up, in nanoseconds: after a sleep, late for either reason.

    ``runnable_before`` and ``runnable`` are the time for which the loop's thread was runnable, up
    to the previous look and up to this one.
    """

    now: int
    slept: int
    by_process: int
    machine_late: int
    runnable_before: int
    runnable: int

    @property
    def in_time(self) -> int:
        """The time before the watchdog was late: for the rest, nobody knows what was runnable.

        Unless no other thread ran at all: one that is runnable stays so until it runs.
        """
        return max(0, self.slept - self.by_process - self.machine_late)

    @property
    def gil_late(self) -> int:
        """The time for which other threads than the loop's kept the GIL from the watchdog.

        A loop that computes holds the GIL itself until the watchdog asks for it.
        """
        return self.by_process - (self.runnable - self.runnable_before)


class Watchdog:
    """Samples the thread of ``probe`` every ``interval`` seconds, less often in long callbacks.

    Within one callback the interval doubles, up to 20 ms. ``thread_samples`` are stacks of other
    threads, taken while one of them held the GIL and the loop was idle or waited for it.
    ``excluded`` returns the thread ids and child processes that do not belong to the app.
    """

    def __init__(
        self,
        probe: Watched,
        interval: float,
        cores: float = 1.0,
        excluded: Callable[[], tuple[set[int], set[str]]] = lambda: (set(), set()),
    ) -> None:
        self._probe = probe
        self._interval_ns = int(interval * 1e9)
        self._cores = max(1, ceil(cores))
        self._excluded = excluded
        self._stop = _thread.allocate_lock()
        self._stop.acquire()
        self._thread = HelperThread("watchdog", self._run)
        self._looks = Looks()
        self._turn = 0
        self.thread_samples: list[Sample] = []

    @property
    def fault(self) -> BaseException | None:
        """The exception that ended the watchdog early."""
        return self._thread.fault

    @property
    def thread_id(self) -> int:
        """The native id of the watchdog thread, 0 before it has started."""
        return self._thread.native_id or 0

    def start(self) -> None:
        """Start the watchdog thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the watchdog thread and wait for it."""
        if self._stop.locked():
            self._stop.release()
        self._thread.wait()

    def looks(self) -> Looks:
        """Return the totals of all looks so far."""
        return self._looks

    def take_thread_samples(self) -> tuple[Sample, ...]:
        """Return the stacks of other threads sampled so far, and clear them."""
        samples, self.thread_samples = self.thread_samples, []
        return tuple(samples)

    def _run(self) -> None:
        with contextlib.ExitStack() as opened:
            clock = thread_clock(threading.get_native_id())
            opened.callback(clock.close)
            witness = Witness()
            opened.callback(witness.close)
            loop = RunnableTime(self._probe.thread_id)
            opened.callback(loop.close)
            self._watch(clock, witness, loop)

    def _watch(
        self, clock: ThreadClock | FallbackThreadClock, witness: Witness, loop: RunnableTime
    ) -> None:
        crowd = None
        if witness.works:
            crowd = Crowd(witness, self._probe.thread_id, self._excluded)
        wall_ns = CLOCKS.wall_ns
        canary = self._probe.clock if isinstance(self._probe.clock, FallbackThreadClock) else None
        nap, used = self._interval_ns, 0
        runnable = loop.read_ns()
        while True:
            before = wall_ns()
            delay_before = clock.read().delay
            cpu_before = CLOCKS.process_cpu_ns()
            if self._stop.acquire(True, nap / 1e9):
                return
            now = wall_ns()
            late = max(0, now - before - nap)
            if canary is not None:
                # Late while this process used the CPU: that part was a wait for the GIL.
                used_by_all = CLOCKS.process_cpu_ns() - cpu_before
                machine = max(0, late - used_by_all - _GIL_LATE_NS)
                canary.late(machine)
            else:
                machine = clock.read().delay - delay_before
            runnable, runnable_before = loop.read_ns(), runnable
            wake = _Wake(now, now - before, late - machine, machine, runnable_before, runnable)
            nap = self._look(witness, crowd, wake)
            used, used_before = CLOCKS.thread_cpu_ns(), used
            self._probe.helper_used(used - used_before)

    def _look(self, witness: Witness, crowd: Crowd | None, wake: _Wake) -> int:
        """Take one look; return the nanoseconds to sleep before the next."""
        probe, before, slept = self._probe, self._looks, wake.slept / 1e9
        late = before.late + wake.machine_late / 1e9
        self._looks = replace(before, wakes=before.wakes + 1, late=late)
        if probe.idle:
            count = Count(0, 0) if crowd is None else crowd.look(self._cores)
            held = count.wanting > 0 or wake.gil_late >= _GIL_LATE_NS
            self._note(count, wake, held, crowd is not None)
            if held:
                self._sample_threads(witness, slept)
            return self._interval_ns
        step_ns = probe.step_ns
        age = wake.now - step_ns
        stands = min(max(age, 0), wake.slept)
        state = witness.state(probe.thread_id)
        if state == "gil":
            ran = max(0, wake.runnable - max(wake.runnable_before, probe.step_runnable_ns))
            if ran > stands / 2:
                state = "running"  # until the watchdog asked for the GIL
            else:
                stands -= ran
        probe.sampled(step_ns, state, thread_stack(probe.thread_ident), stands / 1e9)
        if state not in ("running", "unknown"):
            # The loop's thread is off the CPU: if the GIL is held, another thread holds it.
            held = state == "gil" or wake.gil_late >= _GIL_LATE_NS
            self._tried(slept, held)
            if held:
                self._sample_threads(witness, stands / 1e9)
        return min(max(age, self._interval_ns), _LONGEST_NAP_NS)

    def _tried(self, stands: float, held: bool) -> None:
        before = self._looks
        self._looks = replace(before, held=before.held + held * stands, tried=before.tried + stands)

    def _note(self, count: Count, wake: _Wake, held: bool, states: bool) -> None:
        before, cores, stands = self._looks, self._cores, wake.slept / 1e9
        active = count.free + count.wanting > 0
        quiet = states and not active and not (held and count.ran)
        full = count.free >= cores
        maybe = full or (count.free > 0 and count.free + (count.wanting > 0) >= cores)
        self._looks = replace(
            before,
            count=before.count + 1,
            watched=before.watched + stands,
            saturated=before.saturated + full * stands,
            maybe_saturated=before.maybe_saturated + maybe * stands,
            free=before.free + min(count.free, cores) * stands,
            active=before.active + active * stands,
            quiet=before.quiet + quiet * (wake.in_time if count.ran else wake.slept) / 1e9,
            held=before.held + held * stands,
            tried=before.tried + stands,
            external=before.external + self._probe.waits_for_files(),
            states=states,
        )

    def _sample_threads(self, witness: Witness, stands: float) -> None:
        if len(self.thread_samples) >= _SAMPLES_KEPT:
            return
        threads = [
            thread
            for thread in threading.enumerate()
            if thread.ident not in (None, self._probe.thread_ident)
            and not isinstance(thread, HelperThread)
        ]
        # Up to 8 threads, others each time: 40 stacks at once would hold the GIL for 1 ms.
        self._turn = (self._turn + _STACKS_A_LOOK) % max(1, len(threads))
        taken = 0
        for thread in (*threads[self._turn :], *threads[: self._turn]):
            state = witness.state(thread.native_id or 0)
            if state not in ("blocked", "sleep", "lock") and (
                stack := thread_stack(thread.ident or 0)
            ):
                self.thread_samples.append(Sample(stack, state, stands))
                taken += 1
                if taken >= _STACKS_A_LOOK:
                    return
