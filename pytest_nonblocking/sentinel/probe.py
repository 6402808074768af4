"""The loop-time budget of one event loop, whatever its kind: what its callbacks and its sleep cost.

The fast path is one clock reading per callback: the end of a callback is the start of the next.
What the scheduler knows is read when the loop goes to sleep and wakes, and once a millisecond of
callbacks has gathered, so what one reading covers is a slow step and less than a millisecond of
quick ones before it.
"""

from __future__ import annotations

import abc
import gc
import heapq
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from ..clocks import CLOCKS
from ..results import Frame, Stack, Step
from .clock import FallbackThreadClock, ThreadClock, Usage, thread_clock
from .copies import COPY
from .stacks import is_user_code, suspended_stack
from .syscalls import State

_READ_EVERY_NS = 1_000_000
_STEPS_KEPT = 64
_YIELDS_KEPT = 256
_SAMPLES_KEPT = 2048
_NEVER = 1 << 62
_PREEMPTED = 1 / 3
"""Processor time for each second off the processor from which a step was preempted."""
_SURE = 2
"""How many times as long as the canary was ever late a wait must be to be called blocking."""


class Sample(NamedTuple):
    """What the watchdog saw of the loop thread during the step that began at ``step_ns``."""

    step_ns: int
    state: State
    stack: Stack


class Parts:
    """Running totals of the budget in nanoseconds since the probe was installed."""

    __slots__ = ("blocked", "cpu", "descheduled", "gc", "gil", "idle", "unwitnessed")

    def __init__(self) -> None:
        self.cpu = self.blocked = self.gil = self.gc = self.descheduled = self.idle = 0
        self.unwitnessed = 0

    def snapshot(self) -> dict[str, int]:
        """Return the totals now."""
        return {name: getattr(self, name) for name in self.__slots__}

    def seconds(self) -> dict[str, float]:
        """Return the totals now, in seconds."""
        return {name: ns / 1e9 for name, ns in self.snapshot().items()}

    @staticmethod
    def between(before: dict[str, int], after: dict[str, int]) -> dict[str, float]:
        """Return the parts in seconds that gathered between two snapshots."""
        return {name: (after[name] - before[name]) / 1e9 for name in before}


class Origin(NamedTuple):
    """For whom a step was made: the task that ran in it, and the copy for which it worked."""

    coroutine: Any
    copy: int | None


class Probe(abc.ABC):
    """Times the loop of the calling thread from inside.

    ``notice`` is the length in seconds from which a step is kept for the report. Faults of the
    probe's own never reach the loop: they end its work and stand in ``fault``. The kinds of loop
    differ in how they are hooked, in who made a step, and in how work is handed to them.
    """

    def __init__(self, notice: float) -> None:
        self.thread_ident = threading.get_ident()
        self.thread_id = threading.get_native_id()
        self.idle = False
        self.parts = Parts()
        self.samples: list[Sample] = []
        self.yields: Counter[Frame] = Counter()
        self.fault: BaseException | None = None
        self._notice_ns = int(notice * 1e9)
        self._steps: list[tuple[float, int, Step]] = []
        self._serial = 0
        self._clock: ThreadClock | FallbackThreadClock = thread_clock(self.thread_id)
        self._gc_cpu = 0
        self._gc_began: int | None = None
        self._other_gc_began: int | None = None
        self.other_gc_cpu = 0
        self.step_ns = self.due_ns = 0  # start of the current step; when to tick
        self._mark()

    @property
    def clock(self) -> ThreadClock | FallbackThreadClock:
        """The clock of the loop thread."""
        return self._clock

    # What the kinds of loop give

    @property
    @abc.abstractmethod
    def loop_name(self) -> str:
        """What kind of loop it is."""

    @abc.abstractmethod
    def _hook(self) -> None:
        """Have the loop's steps and its sleep reported to this probe."""

    @abc.abstractmethod
    def _unhook(self) -> None:
        """Undo ``_hook``; may be called twice, and from any thread."""

    @abc.abstractmethod
    def _origin(self, step: Any) -> Origin:
        """Return for whom ``step`` was made, which ``tick`` was told of."""

    @abc.abstractmethod
    def call_soon(self, action: Callable[[], None]) -> None:
        """Have ``action`` called in one of the loop's next steps; on the loop's thread."""

    @abc.abstractmethod
    def call_soon_threadsafe(self, action: Callable[[], None]) -> None:
        """Have ``action`` called in one of the loop's next steps; from any thread."""

    @abc.abstractmethod
    def running(self) -> Any:
        """Return the coroutine of the running task, None outside of any."""

    @abc.abstractmethod
    def coroutines(self) -> list[Any]:
        """Return the coroutines of all tasks; on the loop's thread."""

    def runnable_copies(self) -> int | None:
        """Return how many copies have something to run now, None where the loop does not tell."""
        return None

    @property
    def default_executor(self) -> Any:
        """The loop's own pool of threads, None where it has none."""
        return None

    # Installing and removing

    def install(self) -> None:
        """Begin to time callbacks, the selector and the collector; call it from the loop thread."""
        self._hook()
        gc.callbacks.append(self._on_gc)
        self._mark()

    def remove(self) -> None:
        """Undo what ``install`` did; may be called twice, and from any thread."""
        self._unhook()
        if self._on_gc in gc.callbacks:
            gc.callbacks.remove(self._on_gc)
            self._clock.close()

    # On the loop thread, while it runs

    def _mark(self) -> None:
        """Read all clocks: what follows is accounted from here."""
        process_ns = CLOCKS.process_cpu_ns()
        usage = self._clock.read()
        self._mark_at(CLOCKS.wall_ns(), usage, process_ns)

    def _mark_at(self, now: int, usage: Usage, process_ns: int) -> None:
        self._mark_ns = self.step_ns = now
        self._usage = usage
        self._process_ns = process_ns
        self._gc_cpu = 0
        self._other_gc_before = self.other_gc_cpu
        self.due_ns = _NEVER if self.fault else now + _READ_EVERY_NS

    def _guard(self, work: Callable[..., None], *args: Any) -> None:
        try:
            work(*args)
        except Exception as error:
            self.fault = self.fault or error
            self.due_ns = _NEVER

    def tick(self, now: int, step: Any, asleep_ns: int = 0) -> None:
        """Account for the callbacks since the last reading; ``step`` has just run.

        The loop slept for the last ``asleep_ns`` of the time, at most.
        """
        self._guard(self._tick, now, step, asleep_ns)

    def _tick(self, now: int, step: Any, asleep_ns: int) -> None:
        usage = self._clock.read()
        process_ns = CLOCKS.process_cpu_ns()
        cpu_ns = usage.cpu - self._usage.cpu
        lasted = now - self.step_ns - asleep_ns
        quick = self.step_ns - self._mark_ns
        parts = self.parts
        # Only the collector's processor time is the collector's: counted by the wall, what the
        # machine took from it would stand in two parts (seen: 12 of 16 ms of CPU gone).
        collector = min(self._gc_cpu, cpu_ns)
        own_cpu = cpu_ns - collector
        delay = usage.delay - self._usage.delay
        off = now - self._mark_ns - cpu_ns - delay
        asleep = max(0, min(off, asleep_ns))
        off -= asleep
        parts.idle += asleep
        if off < 0:  # the clocks are read one after the other, not at one instant
            delay = max(0, delay + off)
            own_cpu = now - self._mark_ns - collector - delay
            off = 0
        elif usage.sleeps is not None and usage.sleeps == self._usage.sleeps:
            # It never left the processor: a hypervisor took the processor itself away (seen with
            # busy neighbours: 1 ms per request, in neither the CPU time nor the run-queue delay).
            delay += off
            off = 0
        elif usage.sleeps is None and cpu_ns >= off * _PREEMPTED:
            # Nobody tells why it left the processor, but a step that computes is more likely to
            # have been preempted (four busy processes on two cores: 26 ms of CPU, 28 ms without).
            delay += off
            off = 0
        seen = self._samples_of(self.step_ns) if lasted >= _READ_EVERY_NS else []
        other_gc = self.other_gc_cpu - self._other_gc_before
        elsewhere = min(off, other_gc)
        off -= elsewhere
        other_cpu = process_ns - self._process_ns - cpu_ns - other_gc
        waited = _divided(off, max(0, other_cpu), seen, _SURE * self._clock.worst_ns)
        parts.cpu += own_cpu
        parts.gc += collector + elsewhere
        parts.descheduled += delay + waited.machine
        parts.gil += waited.gil
        parts.blocked += waited.blocked
        if not waited.witnessed:
            parts.unwitnessed += waited.blocked
        if lasted < _READ_EVERY_NS:
            self._mark_at(now, usage, process_ns)
            return
        # The quick callbacks before this step are taken to have been on the processor.
        cpu = max(0, own_cpu - quick)
        # Without a step it is the one that runs now: a burst ends within that of its last copy.
        origin = Origin(None, COPY.get()) if step is None else self._origin(step)
        self._note_yield(origin.coroutine)
        if cpu + waited.blocked >= self._notice_ns:
            self._keep(
                Step(
                    wall=lasted / 1e9,
                    cpu=cpu / 1e9,
                    blocked=waited.blocked / 1e9,
                    gil=waited.gil / 1e9,
                    copy=origin.copy,
                    stacks=tuple(s.stack for s in seen),
                    witnessed=waited.witnessed and waited.blocked > 0,
                    began_ns=now - lasted,
                )
            )
        self._mark()

    def _samples_of(self, step_ns: int) -> list[Sample]:
        seen: list[Sample] = []
        # A copy, since the watchdog may add another sample at any moment.
        for sample in reversed(self.samples[:]):
            if sample.step_ns < step_ns:
                break
            if sample.step_ns == step_ns:
                seen.append(sample)
        return seen

    def _keep(self, step: Step) -> None:
        self._serial += 1
        entry = (step.keep, self._serial, step)
        if len(self._steps) < _STEPS_KEPT:
            heapq.heappush(self._steps, entry)
        else:
            heapq.heappushpop(self._steps, entry)

    def _note_yield(self, coroutine: Any) -> None:
        """Remember at which line of the user's the task that just ran gave the loop back.

        CPU work in slices shorter than the watchdog's interval leaves no stack samples: the
        watchdog needs the GIL, which such a task gives up only between its slices.
        """
        frames = [f for f in suspended_stack(coroutine) if is_user_code(f.file)]
        if frames and (len(self.yields) < _YIELDS_KEPT or frames[-1] in self.yields):
            self.yields[frames[-1]] += 1

    def begin_idle(self) -> None:
        """Take it that the loop goes to sleep now."""
        self.tick(CLOCKS.wall_ns(), None)
        self.idle = True

    def end_idle(self) -> None:
        """Take it that the loop has woken up."""
        self._guard(self._account_idle)
        self.idle = False

    def _account_idle(self) -> None:
        now = CLOCKS.wall_ns()
        usage = self._clock.read()
        process_ns = CLOCKS.process_cpu_ns()
        wall = now - self._mark_ns
        cpu = min(wall, usage.cpu - self._usage.cpu)
        delay = min(wall - cpu, usage.delay - self._usage.delay)
        collector = min(wall - cpu - delay, self.other_gc_cpu - self._other_gc_before)
        self.parts.cpu += cpu
        self.parts.descheduled += delay
        self.parts.gc += collector
        self.parts.idle += wall - cpu - delay - collector
        self._mark_at(now, usage, process_ns)

    def _on_gc(self, phase: str, info: dict[str, int]) -> None:
        mine = threading.get_ident() == self.thread_ident
        self._guard(self._account_gc if mine else self._account_other_gc, phase)

    def _account_gc(self, phase: str) -> None:
        if phase == "start":
            self._gc_began = CLOCKS.thread_cpu_ns()
        elif self._gc_began is not None:
            self._gc_cpu += CLOCKS.thread_cpu_ns() - self._gc_began
            self._gc_began = None

    def _account_other_gc(self, phase: str) -> None:
        """Account for a collection in another thread, which keeps the GIL from the loop's.

        A collection that a driver's thread began made a healthy burst wait 276 ms for the GIL. Its
        CPU counts and not its wall: this callback may let go of the GIL, and forty threads that
        compete for it may have it before the collection begins (25 of 36 ms a request were seen).
        """
        if phase == "start":
            self._other_gc_began = CLOCKS.thread_cpu_ns()
        elif self._other_gc_began is not None:
            self.other_gc_cpu += CLOCKS.thread_cpu_ns() - self._other_gc_began
            self._other_gc_began = None

    # From the watchdog's thread

    def sampled(self, step_ns: int, state: State, stack: Stack) -> None:
        """Remember what the loop thread did during the step that began at ``step_ns``."""
        # Thread.start() waits until the new thread has had the GIL (3.10: 31 ms of "blocked" were
        # seen when two busy threads had it in turn), Popen() until the child has begun (11 ms
        # with busy neighbours): no blocking call of anybody's.
        if state in ("blocked", "unknown") and any(_is_start(frame) for frame in stack[-4:]):
            state = "starting"
        if len(self.samples) >= _SAMPLES_KEPT:
            del self.samples[: _SAMPLES_KEPT // 2]
        self.samples.append(Sample(step_ns, state, stack))

    # For the window of a measurement, on the loop thread

    def take_reading(self) -> dict[str, int]:
        """Account up to this very instant, within a step, and return the totals."""
        self.tick(CLOCKS.wall_ns(), None)
        return self.parts.snapshot()

    def unaccounted(self, work: Callable[[], None]) -> None:
        """Do ``work`` of the plugin's own, on the loop's thread, without counting its CPU.

        What it waits for counts: the loop would have waited for the GIL without it too.
        """
        self.tick(CLOCKS.wall_ns(), None)
        cpu, collector, steps = self.parts.cpu, self.parts.gc, list(self._steps)
        self._guard(work)
        self.tick(CLOCKS.wall_ns(), None)
        self.parts.cpu, self.parts.gc, self._steps = cpu, collector, steps

    def take_steps(self) -> tuple[Step, ...]:
        """Return the longest steps seen so far, longest first, and forget them."""
        steps = tuple(step for _, _, step in sorted(self._steps, reverse=True))
        self._steps.clear()
        return steps


_STARTS = {
    ("threading", "start"),
    ("subprocess", "_execute_child"),
    ("subprocess", "_posix_spawn"),
}


def _is_start(frame: Frame) -> bool:
    return (frame.module, frame.function.rpartition(".")[2]) in _STARTS


class _Off(NamedTuple):
    """What time off the processor was spent on, and whether that was seen."""

    blocked: int
    gil: int
    machine: int
    witnessed: bool


def _divided(off: int, other_cpu: int, seen: list[Sample], noise: int) -> _Off:
    """Divide the time off the processor.

    What the kernel showed the thread to wait for decides. Without such a witness the other
    threads' processor time over the same interval is what the GIL may have been held for. Where
    the kernel shows nothing at all, a stack that was seen is a witness for more than ``noise``.
    """
    states = Counter(sample.state for sample in seen)
    held = min(off, other_cpu)
    if states["starting"] > max(states["blocked"], states["gil"]):
        return _Off(0, held, off - held, True)
    if states["blocked"] or states["gil"]:
        # The watchdog itself holds the GIL when a wait ends under its eyes: one such sample
        # among many is its own doing.
        gil = off if states["gil"] > states["blocked"] else 0
        return _Off(off - gil, gil, 0, True)
    return _Off(off - held, held, 0, states["unknown"] > 0 and off > noise)
