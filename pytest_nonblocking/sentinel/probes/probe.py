"""The base class of all probes: accounts for the callbacks and the sleep of one event loop.

The fast path is one clock reading per callback, since the end of a callback is the start of the
next. Scheduler statistics are read when the loop goes to sleep or wakes up, and after each
millisecond of callbacks: one reading covers at most one slow callback and less than 1 ms of quick
ones before it.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from contextvars import ContextVar
from types import CodeType, FrameType
from typing import Any, NamedTuple

from ...clocks import CLOCKS
from ...model import Step
from ...originals import gc, threading
from ..accounting import Parts, Reading, slice_of_own, slice_of_sleep, slice_of_steps
from ..awaited import Walk
from ..callbacks import Callbacks
from ..stacks import is_called_by, suspended_stack
from ..system.clock import FallbackThreadClock, ThreadClock, thread_clock

COPY: ContextVar[int | None] = ContextVar("nonblocking_copy", default=None)
"""The index of the copy that the current context works for; tasks and worker threads inherit it."""

_READ_EVERY_NS = 1_000_000
_NEVER = 1 << 62


class UnsupportedLoopError(Exception):
    """The running event loop cannot be timed; the message says why and what to do instead."""

    def __init__(self, what: str, instead: str = "use asyncio, uvloop or trio") -> None:
        super().__init__(f"the event loop is {what}, which is not supported; {instead}")


class Origin(NamedTuple):
    """The origin of a callback: the task that ran in it, and the copy that it worked for."""

    coroutine: Any
    copy: int | None


class Probe(abc.ABC):
    """Times the loop of the calling thread from inside.

    ``notice`` is the loop time in seconds from which a callback is recorded. Exceptions in the
    probe itself never reach the loop: they are kept in ``fault`` and end the accounting. Subclasses
    define how a loop is hooked, who a callback belongs to, and how work is posted to the loop.
    """

    callback: CodeType | None = None
    """The function in Python within which the loop runs each callback, None if there is none."""

    def __init__(self, notice: float) -> None:
        self.thread_ident = threading.get_ident()
        self.thread_id = threading.get_native_id()
        self.idle = False
        self.parts = Parts()
        self.window_end: dict[str, int] = {}
        self.window_end_ns = 0  # the time of the last ``as_own``; above, the totals at that time
        self.own_gil_ns = 0  # for which the plugin's last own work waited for the GIL
        self.helper_cpu_ns = 0  # that of the plugin's own threads, which is excluded everywhere
        self._helpers = threading.Lock()
        self.callbacks = Callbacks()
        self.fault: BaseException | None = None
        self._notice_ns = int(notice * 1e9)
        self._clock: ThreadClock | FallbackThreadClock = thread_clock(self.thread_id)
        self._gc_cpu = 0
        self._gc_began: int | None = None
        self.step_ns = self.due_ns = 0  # start of the current callback; time of the next tick
        self._mark()

    @property
    def clock(self) -> ThreadClock | FallbackThreadClock:
        """The clock of the loop's thread."""
        return self._clock

    # Defined by each kind of loop

    @property
    @abc.abstractmethod
    def loop_name(self) -> str:
        """The name of the loop's library."""

    @abc.abstractmethod
    def _hook(self) -> None:
        """Report the loop's callbacks and its sleep to this probe."""

    @abc.abstractmethod
    def _unhook(self) -> None:
        """Undo ``_hook``; may be called twice, and from any thread."""

    @abc.abstractmethod
    def _origin(self, step: Any) -> Origin:
        """Return the origin of ``step``, the object that was passed to ``tick``."""

    @abc.abstractmethod
    def call_soon(self, action: Callable[[], None]) -> None:
        """Call ``action`` in a later callback; on the loop's thread."""

    @abc.abstractmethod
    def call_soon_threadsafe(self, action: Callable[[], None]) -> None:
        """Call ``action`` in a later callback; from any thread."""

    @abc.abstractmethod
    def running(self) -> Any:
        """Return the coroutine of the running task, None outside of a task."""

    @abc.abstractmethod
    def tasks(self) -> dict[Any, Any]:
        """Return all tasks, and the coroutine of each; on the loop's thread."""

    @abc.abstractmethod
    def awaited(self, task: Any, walk: Walk) -> list[Any]:
        """Return the tasks that ``task`` waits for; ``walk`` are its frames."""

    def runnable_copies(self) -> int | None:
        """Return the number of copies with something to run, None if the loop cannot say."""
        return None

    @property
    def default_executor(self) -> Any:
        """The loop's default thread pool, None if it has none."""
        return None

    def is_in_callback(self, frame: FrameType) -> bool:
        """Return whether ``frame``, one of this thread, belongs to a callback.

        Otherwise it is the loop's own, which an exception would end.
        """
        return self.callback is None or is_called_by(self.callback, frame)

    # Installing and removing

    def install(self) -> None:
        """Start to time callbacks, sleep and garbage collection; on the loop's thread."""
        self._hook()
        gc.callbacks.append(self._on_gc)
        self._mark()

    def remove(self) -> None:
        """Undo ``install``; may be called twice, and from any thread."""
        self._unhook()
        if self._on_gc in gc.callbacks:
            gc.callbacks.remove(self._on_gc)
        self._clock.close()

    # On the loop's thread, while it runs

    def _mark(self) -> None:
        """Read all clocks and start accounting from here."""
        self._mark_at(self._read(CLOCKS.wall_ns()))

    def _read(self, now: int) -> Reading:
        helpers, times = self.helper_cpu_ns, self._clock.read()
        return Reading(now, times.cpu, times.delay, times.sleeps, times.process - helpers)

    def _mark_at(self, reading: Reading) -> None:
        self._before = reading
        self.step_ns = reading.wall
        self._gc_cpu = 0
        self.due_ns = _NEVER if self.fault else reading.wall + _READ_EVERY_NS

    def _resume(self, reading: Reading) -> None:
        """Charge the time since ``reading`` to the plugin, and continue from here."""
        wall, cpu = CLOCKS.wall_ns(), CLOCKS.thread_cpu_ns()
        took, used = wall - reading.wall, cpu - reading.cpu
        if took - used > _READ_EVERY_NS:  # the thread was descheduled meanwhile
            self._skip(reading)
            return
        self.parts.own += took
        self._mark_at(reading._replace(wall=wall, cpu=cpu, process=reading.process + used))

    def _skip(self, before: Reading) -> None:
        """Charge the time since ``before`` to the plugin, except its run-queue delay."""
        reading = self._read(CLOCKS.wall_ns())
        part = slice_of_own(before, reading)
        self.parts.descheduled += part.delay
        self.parts.own += part.own
        self.own_gil_ns = part.gil
        self._mark_at(reading)

    def _guard(self, work: Callable[..., None], *args: Any) -> None:
        try:
            work(*args)
        except Exception as error:
            self.fault = self.fault or error
            self.due_ns = _NEVER

    def tick(self, now: int, step: Any, asleep_ns: int = 0) -> None:
        """Account for the callbacks since the last reading; ``step`` has just returned.

        ``asleep_ns`` is the longest time for which the loop may have slept at the end.
        """
        self._guard(self._tick, now, step, asleep_ns)

    def _tick(self, now: int, step: Any, asleep_ns: int) -> None:
        reading = self._read(now)
        before = self._before
        lasted = now - self.step_ns - asleep_ns
        quick = self.step_ns - before.wall
        seen = self.callbacks.samples_of(self.step_ns) if lasted >= _READ_EVERY_NS else []
        part = slice_of_steps(
            before,
            reading,
            collector=self._gc_cpu,
            asleep=asleep_ns,
            seen=seen,
            worst=self._clock.worst_ns,
        )
        self.parts.add(part)
        # None stands for the running callback: a burst ends within the last one of its copies.
        origin = Origin(None, COPY.get()) if step is None else self._origin(step)
        if not seen:
            self.callbacks.add_slice(suspended_stack(origin.coroutine), part.cpu / 1e9)
        if lasted >= _READ_EVERY_NS:
            # Assume that the quick callbacks before this one were on the CPU.
            cpu = max(0, part.cpu - quick)
            seen_blocked = part.blocked - part.unwitnessed
            blocked = seen_blocked or part.blocked
            if cpu + part.blocked >= self._notice_ns:
                self.callbacks.add(
                    Step(
                        wall=lasted / 1e9,
                        cpu=cpu / 1e9,
                        blocked=blocked / 1e9,
                        gil=part.gil / 1e9,
                        copy=origin.copy,
                        samples=tuple(seen),
                        witnessed=seen_blocked > 0,
                        began_ns=now - lasted,
                        unconfirmed=(part.blocked - blocked) / 1e9,
                    )
                )
        self._resume(reading)

    def begin_idle(self) -> None:
        """Mark the loop idle."""
        self.tick(CLOCKS.wall_ns(), None)
        self.idle = True

    def end_idle(self) -> None:
        """Mark the loop active."""
        self._guard(self._account_idle)
        self.idle = False

    def _account_idle(self) -> None:
        reading = self._read(CLOCKS.wall_ns())
        self.parts.add(slice_of_sleep(self._before, reading, collector=self._gc_cpu))
        self._resume(reading)

    def _on_gc(self, phase: str, info: dict[str, int]) -> None:
        if threading.get_ident() == self.thread_ident:
            self._guard(self._account_gc, phase)

    def _account_gc(self, phase: str) -> None:
        if phase == "start":
            self._gc_began = CLOCKS.thread_cpu_ns()
        elif self._gc_began is not None:
            self._gc_cpu += CLOCKS.thread_cpu_ns() - self._gc_began
            self._gc_began = None

    # From the threads of the watchdog and the alarms

    @property
    def step_runnable_ns(self) -> int:
        """For how long the loop's thread was runnable up to the start of the current callback.

        It assumes that the quick callbacks since the last reading were on the CPU.
        """
        before = self._before
        return before.cpu + before.delay + max(0, self.step_ns - before.wall)

    def helper_used(self, cpu_ns: int) -> None:
        """Exclude CPU time of the plugin's own threads from all measurements."""
        with self._helpers:
            self.helper_cpu_ns += cpu_ns

    # For the window of a measurement, on the loop's thread

    def take_reading(self) -> dict[str, int]:
        """Account up to now, within the running callback, and return the totals."""
        self.tick(CLOCKS.wall_ns(), None)
        return self.parts.snapshot()

    def as_own(self, work: Callable[[], None]) -> None:
        """Call ``work`` on the loop's thread, and charge its time to the plugin."""
        self.tick(CLOCKS.wall_ns(), None)
        before = self._before
        self.window_end, self.window_end_ns = self.parts.snapshot(), before.wall
        self._guard(work)
        self._guard(self._skip, before)

    def waits_for_files(self) -> bool:
        """Return whether the loop may wait for a file descriptor other than its own."""
        return True
