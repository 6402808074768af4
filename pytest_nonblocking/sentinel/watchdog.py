"""The watchdog: a thread that samples the loop's thread.

Between looks it waits on a lock instead of ``time.sleep``: locks use the interpreter's own clock,
which tests cannot freeze.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from math import ceil
from typing import NamedTuple, Protocol

from ..clocks import CLOCKS
from ..model import Looks, Sample
from ..originals import _thread, threading
from .callbacks import Callbacks
from .helper_thread import HelperThread
from .stacks import thread_stack
from .system.clock import (
    FallbackThreadClock,
    RunnableTime,
    ThreadClock,
    cpu_of_other_thread,
    thread_clock,
)
from .system.crowd import Computing, Count, Crowd, Excluded
from .system.thread_state import Witness

_LONGEST_NAP_NS = 20_000_000
_GIL_LATE_NS = 1_000_000
_ON_TIME_NS = 200_000
"""Lateness that a timer and a wake-up explain: the watchdog did not wait for the GIL or a core."""
_SAMPLES_KEPT = 512
_STACKS_A_LOOK = 8
_FIRST = 1e-3
"""Weight of a sample of a thread that is not known to have computed."""


class Watched(Protocol):
    """The part of a probe that the watchdog uses."""

    idle: bool
    step_ns: int
    thread_ident: int
    thread_id: int
    callbacks: Callbacks

    @property
    def step_runnable_ns(self) -> int:
        """For how long the loop's thread was runnable up to the start of the callback."""

    @property
    def clock(self) -> object:
        """The clock of the sampled thread."""

    def helper_used(self, cpu_ns: int) -> None:
        """Exclude CPU time of the plugin's own threads from all measurements."""

    def waits_for_files(self) -> bool:
        """Return whether the loop waits for a file descriptor other than its own."""


class _Wake(NamedTuple):
    """How the watchdog woke up after a sleep, in nanoseconds.

    It was late because of the machine, or because of this process. ``runnable_before`` and
    ``runnable`` are the time for which the loop's thread was runnable, up to the start of the sleep
    and up to now.
    """

    now: int
    slept: int
    by_process: int
    machine_late: int
    runnable_before: int
    runnable: int

    @property
    def is_on_time(self) -> bool:
        """Whether it did not wait for the GIL or a core."""
        return self.by_process + self.machine_late < _ON_TIME_NS

    @property
    def got_the_gil(self) -> bool:
        """Whether it did not wait for the GIL: no thread held it when the watchdog woke up."""
        return self.by_process < _ON_TIME_NS

    @property
    def by_others(self) -> bool:
        """Whether it certainly waited for the GIL while another thread than the loop's held it.

        A loop that computes holds the GIL itself until the watchdog asks for it.
        """
        loops = max(0, self.runnable - self.runnable_before)
        return self.by_process - loops >= _GIL_LATE_NS

    @property
    def by_any(self) -> bool:
        """Whether it waited for the GIL, whoever held it."""
        return self.by_process >= _GIL_LATE_NS


class Watchdog:
    """Samples the thread of ``probe`` every ``interval`` seconds, less often in long callbacks.

    Within one callback the interval doubles, up to 20 ms. ``thread_samples`` are stacks of other
    threads, taken while one of them held the GIL and the loop was idle or waited for it.
    ``excluded`` returns what does not belong to the app.
    """

    def __init__(
        self,
        probe: Watched,
        interval: float,
        cores: float = 1.0,
        excluded: Callable[[], Excluded] = lambda: Excluded(set(), set(), set()),
    ) -> None:
        self._probe = probe
        self._interval_ns = int(interval * 1e9)
        self._cores = max(1, ceil(cores))
        self._excluded = excluded
        self._stop = _thread.allocate_lock()
        self._stop.acquire()
        self._thread = HelperThread("watchdog", self._run)
        self._looks = Looks()
        self._computing = Computing(lambda: excluded().threads)
        self._has_core = False
        self._turn = 0
        self.thread_samples: list[Sample] = []
        self._cpu_when_sampled: dict[int, int] = {}

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
        self._cpu_when_sampled = {}
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
        while True:
            runnable_before = loop.read_ns()
            before = wall_ns()
            delay_before = clock.read().delay
            cpu_before = 0 if canary is None else CLOCKS.process_cpu_ns()
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
            runnable = loop.read_ns()
            wake = _Wake(now, now - before, late - machine, machine, runnable_before, runnable)
            nap = self._look(witness, crowd, wake)
            used, used_before = CLOCKS.thread_cpu_ns(), used
            self._probe.helper_used(used - used_before)

    def _look(self, witness: Witness, crowd: Crowd | None, wake: _Wake) -> int:
        """Take one look; return the nanoseconds to sleep before the next."""
        probe, before = self._probe, self._looks
        late = before.late + wake.machine_late / 1e9
        self._looks = replace(before, wakes=before.wakes + 1, late=late)
        age = max(0, wake.now - probe.step_ns)
        stands = min(age, wake.slept)
        if probe.idle:
            state = witness.state(probe.thread_id)
            self._look_around(witness, crowd, wake, stands, is_awake=state in ("running", "gil"))
            return self._interval_ns
        self._look_at_step(witness, wake, stands)
        return min(max(age, self._interval_ns), _LONGEST_NAP_NS)

    def _look_at_step(self, witness: Witness, wake: _Wake, stands: int) -> None:
        """Sample the loop's thread in a callback; the look stands for ``stands`` nanoseconds."""
        probe = self._probe
        step_ns, state = probe.step_ns, witness.state(probe.thread_id)
        stack = thread_stack(probe.thread_ident)
        if state == "gil":
            # It ran, or was to run, until the watchdog asked for the GIL.
            ran = min(stands, wake.runnable - max(wake.runnable_before, probe.step_runnable_ns))
            if ran > 0:
                probe.callbacks.add_sample(step_ns, "running", stack, ran / 1e9)
                stands -= ran
        probe.callbacks.add_sample(step_ns, state, stack, stands / 1e9)
        if state in ("running", "unknown"):
            return
        # The loop's thread is off the CPU: if the GIL is held, another thread holds it.
        held = state == "gil"
        self._tried(stands, held or wake.by_others, held or wake.by_any)
        if (held and stands >= _GIL_LATE_NS) or wake.by_others:
            self._sample_threads(witness, stands / 1e9)

    def _look_around(
        self, witness: Witness, crowd: Crowd | None, wake: _Wake, stands: int, *, is_awake: bool
    ) -> None:
        """Look at the other threads while the loop is idle; ``is_awake``: it is about to run."""
        count = Count(0, 0) if crowd is None else crowd.look(self._cores)
        held = count.wanting > 0 or (count.ran and wake.by_others)
        self._tried(stands, held, count.wanting > 0 or (count.ran and wake.by_any))
        # A thread that is runnable stays so until it runs: if none did, a late look shows as much.
        quiet = count.quiet and not is_awake and (wake.is_on_time or not count.ran)
        self._note(count, stands / 1e9, wake.got_the_gil, quiet, crowd is not None)
        if held:
            self._sample_threads(witness, stands / 1e9)

    def _tried(self, stands: int, held: bool, maybe: bool) -> None:
        before, seconds = self._looks, stands / 1e9
        self._looks = replace(
            before,
            held=before.held + held * seconds,
            maybe_held=before.maybe_held + maybe * seconds,
            tried=before.tried + seconds,
        )

    def _note(
        self, count: Count, stands: float, gil_was_free: bool, quiet: bool, states: bool
    ) -> None:
        before, cores = self._looks, self._cores
        full = count.free >= cores
        maybe = full or (count.free > 0 and count.free + (count.wanting > 0) >= cores)
        # A watchdog that waits for the GIL gets it from a thread that goes on without it, and would
        # count all of that thread's CPU time as computed without it.
        has_core = count.free < cores and count.wanting == 0 and gil_was_free
        has_core, self._has_core = self._has_core, has_core
        is_alone = has_core and self._has_core and count.free > 0
        used = count.used_ns / 1e9
        self._looks = replace(
            before,
            count=before.count + 1,
            used=before.used + used,
            used_alone=before.used_alone + used * is_alone,
            watched=before.watched + stands,
            saturated=before.saturated + full * stands,
            maybe_saturated=before.maybe_saturated + maybe * stands,
            free=before.free + min(count.free, cores) * stands,
            active=before.active + (count.free + count.wanting > 0) * stands,
            several=before.several + (count.free + (count.wanting > 0) > 1) * stands,
            quiet=before.quiet + quiet * stands,
            external=before.external + (count.blocked or self._probe.waits_for_files()),
            states=states,
        )

    def _computed(self, thread_id: int, stands: float) -> float:
        """Return how many seconds a thread has computed since its last sample.

        A thread that wakes from a sleep waits for the GIL at the line of the sleep, and is seen
        there as often as the one that computes is at its own. The first sample of a thread counts
        only if there is no other. Where CPU times are unknown, it is what the look stands for.
        """
        now = cpu_of_other_thread(thread_id)
        before = self._cpu_when_sampled.get(thread_id)
        self._cpu_when_sampled[thread_id] = now
        if now == 0:
            return stands
        return max(_FIRST * stands, 0.0 if before is None else (now - before) / 1e9)

    def _sample_threads(self, witness: Witness, stands: float) -> None:
        if len(self.thread_samples) >= _SAMPLES_KEPT:
            return
        # To read the states of 150 idle threads took 2 ms, for which this thread held the GIL.
        computing = self._computing.threads() if witness.works else None
        threads = [
            thread
            for thread in threading.enumerate()
            if thread.ident not in (None, self._probe.thread_ident)
            and not isinstance(thread, HelperThread)
            and (computing is None or thread.native_id in computing)
        ]
        # Up to 8 threads, others each time: 40 stacks at once would hold the GIL for 1 ms.
        self._turn = (self._turn + _STACKS_A_LOOK) % max(1, len(threads))
        taken = 0
        for thread in (*threads[self._turn :], *threads[: self._turn]):
            state = witness.state(thread.native_id or 0)
            if state not in ("blocked", "sleep", "lock") and (
                stack := thread_stack(thread.ident or 0)
            ):
                computed = self._computed(thread.native_id or 0, stands)
                self.thread_samples.append(Sample(stack, state, computed))
                taken += 1
                if taken >= _STACKS_A_LOOK:
                    return
