"""The sentinel: one probe and one watchdog over the event loop of the calling thread."""

from __future__ import annotations

import asyncio
import concurrent.futures
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any, NamedTuple, TypeVar

import anyio

from ..clocks import CLOCKS
from ..model import Budget, Looks, Pressure, Stack, Step
from ..tasks import running_tasks
from . import tracers
from .probes.choice import probe_of_running_loop
from .probes.probe import Probe
from .stacks import thread_stack
from .stretches import Mark, Stretch, Stretches
from .system.children import child_processes, is_runnable, reaped_cpu
from .system.clock import Usage, cores, grown, other_threads
from .system.pressure import Counters, Gauge
from .wait_sampler import WaitSampler
from .watchdog import Watchdog

_T = TypeVar("_T")

_STUCK_NS = 50_000_000
_ANSWER_WITHIN = 2.0
_BACKGROUND = 0.02
_BUSY_SHARE = 0.5  # the CPU time of a thread that has just stopped is up to 4 ms late


class LoopStuck(BaseException):
    """Raised inside a step that still keeps the loop when the time-out is over.

    Not an Exception, so that a handler's own ``except Exception`` does not keep the loop stuck.
    """


class LoopUnreachableError(Exception):
    """The loop of another thread did not answer: a step keeps it."""


def _nothing() -> int:
    return 0


@dataclass(frozen=True)
class Driver:
    """The test's own side of the requests, where it is in other threads than the loop.

    ``cpu_ns`` returns what it has cost so far in nanoseconds, ``threads`` the native ids of its
    threads; both may be called from any thread.
    """

    cpu_ns: Callable[[], int] = _nothing
    threads: Callable[[], Iterable[int]] = tuple


class Reading:
    """The totals of a sentinel at the beginning of a window; made on the loop's thread.

    What takes long to read is read before the window begins and after it has ended, so that its
    cost falls into no window.
    """

    __slots__ = ("children", "mark", "reaped", "threads")

    def __init__(self, sentinel: Sentinel) -> None:
        self.children: dict[str, Usage] = sentinel.children()
        self.reaped = reaped_cpu()
        self.threads: dict[str, Usage] = other_threads(sentinel.own_threads())
        self.mark: Mark

    @property
    def wall_ns(self) -> int:
        """When the window begins."""
        return self.mark.began_ns


class Window(NamedTuple):
    """What was measured between two readings."""

    budget: Budget
    wall: float
    pressure: Pressure
    looks: Looks
    closed: Reading


class Sentinel:
    """Measures the loop-time budget of the running event loop while it is started.

    ``max_lag`` and ``max_blocked`` are seconds: steps are kept for the report, and looked at by
    the watchdog, from half of the smaller one on. Use it as a context manager around any code
    that runs on the loop; ``start`` raises UnsupportedLoopError where callbacks cannot be timed.

    ``loop`` is the loop that it watches, a running one of another thread; without it that is the
    loop that runs where it is started.
    """

    def __init__(self, max_lag: float = 0.020, max_blocked: float = 0.005) -> None:
        self._notice = min(max_lag, max_blocked) / 2
        self._users = 0
        self._always_busy: set[str] = set()
        self._first: Reading | None = None
        self._steps: tuple[Step, ...] = ()
        self._budget = Budget()
        self._old_handler: Any = None
        self._breaks_step: int | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.driver = Driver()
        self.probe: Probe
        self.watchdog: Watchdog
        self.gauge = Gauge.closed()

    # Life

    @property
    def running(self) -> bool:
        """Whether the sentinel measures now."""
        return self._users > 0

    def start(self) -> None:
        """Begin to measure the running loop; may be nested."""
        if self._users == 0:
            self.probe = self.on_loop(lambda: probe_of_running_loop(self._notice))
            self.watchdog = Watchdog(self.probe, self._notice, cores(), self._not_the_apps)
            self.gauge = Gauge()
            self._steps = ()
            self._users = 1
            try:
                self.on_loop(self.probe.install)
                self.watchdog.start()
                self._arm()
                self._first = self.reading()
            except BaseException:
                self.stop()
                raise
        else:
            self._users += 1

    def stop(self) -> None:
        """End what the matching ``start`` began: patches undone, the thread gone."""
        if self._users == 1 and self._first is not None and not self.fault:
            with suppress(LoopUnreachableError):
                self._budget = self.budget
                self._steps = self.steps
        self._users -= 1
        if self._users == 0:
            self._first = None
            self._disarm()
            self.probe.remove()
            self.watchdog.stop()
            self.gauge.close()

    def abandon(self) -> None:
        """Undo everything whatever the nesting; for paths on which ``stop`` was never reached."""
        if self.running:
            self._users = 1
            self._first = None
            self.stop()

    def __enter__(self) -> Sentinel:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # Work on the loop's thread

    @property
    def is_remote(self) -> bool:
        """Whether the loop that is watched is another than the one that runs here."""
        return self.loop is not None

    def on_loop(self, work: Callable[[], _T]) -> _T:
        """Return what ``work`` returns on the loop's thread.

        Raises LoopUnreachableError where the loop of another thread does not answer.
        """
        if self.loop is None or asyncio._get_running_loop() is self.loop:
            return work()

        async def working() -> _T:
            return work()

        answer = asyncio.run_coroutine_threadsafe(working(), self.loop)
        if not concurrent.futures.wait([answer], _ANSWER_WITHIN).done:
            answer.cancel()
            raise LoopUnreachableError
        return answer.result()

    def reading(self) -> Reading:
        """Return the totals now, for the beginning of a window."""
        return self.on_loop(self._reading)

    def _reading(self) -> Reading:
        made: list[Reading] = []
        mark = self._marked(lambda: made.append(Reading(self)))
        if not made:
            raise self.probe.fault or RuntimeError("no reading was made")
        made[0].mark = mark
        return made[0]

    def stretches(self) -> Stretches:
        """Return a fresh record of stretches of time; to be used on the loop's thread."""
        return Stretches(lambda: self._marked(lambda: None))

    def _marked(self, more: Callable[[], None]) -> Mark:
        """Return a mark of now; what it takes to make it, and ``more``, is charged to nobody."""
        read: list[tuple[int, int, Counters, Looks]] = []

        def work() -> None:
            more()
            looks = self.watchdog.looks()
            read.append((self.other_cpu_ns(), self.driver.cpu_ns(), self.gauge.read(), looks))

        probe = self.probe
        probe.as_own(work)
        # A fault of ours stands in the probe, after which no figure means anything.
        others = read[0] if read else (0, 0, Counters(None, 0.0, 0.0, 0.0), Looks())
        return Mark(
            probe.window_end_ns, probe.window_end, probe.step_ns, probe.parts.snapshot(), *others
        )

    @contextmanager
    def without_tracers(self) -> Iterator[str | None]:
        """Suspend coverage tools and debuggers here and on the loop's thread; yield what there was.

        As with ``tracers.suspended``, leave the block in the frame in which it was entered.
        """
        with tracers.suspended() as tracer:
            if self.loop is None:
                yield tracer
                return
            there = tracers.suspended()
            traced = self.on_loop(there.__enter__)
            try:
                yield tracer or traced
            finally:
                self.on_loop(lambda: there.__exit__(None, None, None))

    # What has been measured since the start

    @property
    def fault(self) -> BaseException | None:
        """A fault of the sentinel's own, after which its figures mean nothing."""
        return self.probe.fault or self.watchdog.fault

    @property
    def budget(self) -> Budget:
        """The loop-time budget since the sentinel was started, in seconds."""
        return self.since(self._first) if self._first is not None else self._budget

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps that kept the loop longest since the start, longest first; 32 at most."""
        if self.running:
            self._steps = tuple(
                sorted((*self._steps, *self.probe.take_steps()), key=lambda s: -s.loop_time)[:32]
            )
        return self._steps

    @property
    def max_lag(self) -> float:
        """The longest time in seconds for which one step kept the loop, noise taken out."""
        return max((step.loop_time for step in self.steps), default=0.0)

    @property
    def max_blocked(self) -> float:
        """The longest time in seconds that one step waited off the CPU in a blocking call."""
        return max((step.blocked for step in self.steps), default=0.0)

    def since(self, reading: Reading) -> Budget:
        """Return the budget since ``reading``, up to this instant."""
        return self.close_window(reading).budget

    def close_window(self, opened: Reading, within: Stretch | None = None) -> Window:
        """Return what was measured since ``opened``, and the reading with which the next begins.

        ``within`` is what was measured of the loop in the stretches meanwhile that count, where
        not all of them do. What it takes to ask for the rest of the process is charged to nobody
        (psutil: 20 ms).
        """
        return self.on_loop(lambda: self._close(opened, within))

    def _close(self, opened: Reading, within: Stretch | None) -> Window:
        closed = self._reading()
        stretch = Stretch.between(opened.mark, closed.mark) if within is None else within
        parts, other = stretch.seconds(), stretch.other_cpu_ns
        threads = grown(opened.threads, closed.threads)
        children = grown(opened.children, closed.children)
        # What a child had used before the window comes with it when it is reaped.
        gone = sum(use.cpu for key, use in opened.children.items() if key not in closed.children)
        reaped = max(0.0, closed.reaped - opened.reaped - gone / 1e9)
        # A thread that has ended has taken its record along (aiosqlite makes one per connection):
        # its delay is taken to be what the loop's own thread met, per second of CPU.
        ended_cpu = max(0, other - threads.cpu) / 1e9
        ended_delay = ended_cpu * parts.get("descheduled", 0.0) / max(parts.get("cpu", 0.0), 1e-6)
        budget = Budget(
            **parts,
            other_cpu=other / 1e9,
            driver_cpu=stretch.driver_cpu_ns / 1e9,
            other_delay=threads.delay / 1e9 + ended_delay,
            child_cpu=children.cpu / 1e9 + reaped,
            child_delay=children.delay / 1e9,
        )
        return Window(budget, stretch.wall_ns / 1e9, stretch.pressure, stretch.looks, closed)

    def other_cpu_ns(self) -> int:
        """Return the CPU of the process's other threads so far, those that have ended included.

        The watchdog's is not counted. Call it on the loop's thread.
        """
        own = CLOCKS.thread_cpu_ns() + self.probe.helper_cpu_ns
        return CLOCKS.process_cpu_ns() - own

    def own_threads(self) -> set[int]:
        """Return the native ids of the loop's thread, the watchdog's and the test's own."""
        return {self.probe.thread_id, self.watchdog.thread_id, *self.driver.threads()}

    def _not_the_apps(self) -> tuple[set[int], set[str]]:
        return self.own_threads(), self._always_busy

    def wait_sampler(self) -> WaitSampler:
        """Return a fresh record of where the tasks of the loop wait."""
        return self.on_loop(lambda: WaitSampler(self.probe))

    async def learn_background(self) -> None:
        """Learn which child processes are busy anyway, to leave them out of what follows.

        A child that is always busy (a development server, a watcher) would otherwise pass for a
        worker of the application's, and the wait for a lock for work that was offloaded to it.
        """
        before = child_processes()
        if not before:
            return
        runnable = {key for key in before if is_runnable(key)}
        over, tasks = anyio.Event(), running_tasks()

        def finish() -> None:
            tasks.call_soon_threadsafe(over.set)

        # Not a sleep of the loop's: a test may have frozen its clock.
        self.watchdog.call_after(_BACKGROUND, finish)
        await over.wait()
        self._always_busy = {
            key
            for key, usage in child_processes().items()
            # What waits for the processor all along shows no usage until it has had it.
            if (key in runnable and is_runnable(key))
            or usage.cpu - before.get(key, usage).cpu >= _BUSY_SHARE * _BACKGROUND * 1e9
        }

    def children(self) -> dict[str, Usage]:
        """Return the usage of the child processes that are not busy anyway."""
        return {k: u for k, u in child_processes().items() if k not in self._always_busy}

    # Ending a step that never ends

    def loop_stack(self) -> Stack | None:
        """Return the stack of the loop's thread, or None while it waits for events."""
        return None if self.probe.idle else thread_stack(self.probe.thread_ident)

    def break_step(self) -> None:
        """Raise LoopStuck in the step that keeps the loop, where Python can; any thread.

        Only the main thread can be interrupted, and only where the system has signals.
        """
        step_ns = self.probe.step_ns
        lasts = CLOCKS.wall_ns() - step_ns
        if self._old_handler is not None and not self.probe.idle and lasts >= _STUCK_NS:
            self._breaks_step = step_ns
            signal.pthread_kill(self.probe.thread_ident, signal.SIGURG)

    def _arm(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        if hasattr(signal, "SIGURG") and hasattr(signal, "pthread_kill"):
            # SIGURG is ignored by default: one that comes late harms nobody.
            self._old_handler = signal.signal(signal.SIGURG, self._on_signal)

    def _disarm(self) -> None:
        if self._old_handler is not None and (
            threading.current_thread() is threading.main_thread()
        ):
            signal.signal(signal.SIGURG, self._old_handler)
            self._old_handler = None

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if not self.probe.idle and self.probe.step_ns == self._breaks_step:
            self._breaks_step = None
            raise LoopStuck("the step kept the event loop beyond the time-out")
