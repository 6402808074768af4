"""The sentinel: one probe and one watchdog for one event loop."""

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
_BUSY_SHARE = 0.5  # not 1: schedstat's CPU time lags by up to 4 ms


class LoopStuck(BaseException):
    """Raised inside a callback that still holds the loop after the timeout.

    It is no Exception, so that a handler's ``except Exception`` cannot swallow it.
    """


class LoopUnreachableError(Exception):
    """The loop of another thread did not respond, because a callback holds it."""


def _nothing() -> int:
    return 0


@dataclass(frozen=True)
class Driver:
    """The client side of the requests, if it runs in other threads than the loop.

    ``cpu_ns`` returns its CPU time so far in nanoseconds, ``threads`` the native ids of its
    threads; both may be called from any thread.
    """

    cpu_ns: Callable[[], int] = _nothing
    threads: Callable[[], Iterable[int]] = tuple


class Reading:
    """The totals of a sentinel at the start of a window; created on the loop's thread.

    Slow readings are taken outside of windows, so that none contains their cost.
    """

    __slots__ = ("children", "mark", "reaped", "threads")

    def __init__(self, sentinel: Sentinel) -> None:
        self.children: dict[str, Usage] = sentinel.children()
        self.reaped = reaped_cpu()
        self.threads: dict[str, Usage] = other_threads(sentinel.own_threads())
        self.mark: Mark

    @property
    def wall_ns(self) -> int:
        """The start of the window (``perf_counter_ns``)."""
        return self.mark.began_ns


class Window(NamedTuple):
    """The measurements between two readings."""

    budget: Budget
    wall: float
    pressure: Pressure
    looks: Looks
    closed: Reading


class Sentinel:
    """Measures the loop-time budget of an event loop between ``start`` and ``stop``.

    ``max_lag`` and ``max_blocked`` are seconds; callbacks are recorded, and sampled by the
    watchdog, from half of the smaller one on. Use it as a context manager around code that runs on
    the loop. ``start`` raises UnsupportedLoopError if the loop's callbacks cannot be timed.

    Set ``loop`` to measure a running loop of another thread; by default it is the loop that runs
    where the sentinel is started.
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
        """Whether the sentinel is started."""
        return self._users > 0

    def start(self) -> None:
        """Start to measure the loop; may be nested."""
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
        """Undo the matching ``start``: remove all patches and end the watchdog."""
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
        """Undo everything at any nesting, for paths on which ``stop`` was not reached."""
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
        """Whether the measured loop belongs to another thread."""
        return self.loop is not None

    def on_loop(self, work: Callable[[], _T]) -> _T:
        """Call ``work`` on the loop's thread and return its result.

        Raises LoopUnreachableError if another thread's loop does not respond within 2 s.
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
        """Return the current totals, for the start of a window."""
        return self.on_loop(self._reading)

    def _reading(self) -> Reading:
        made: list[Reading] = []
        mark = self._marked(lambda: made.append(Reading(self)))
        if not made:
            raise self.probe.fault or RuntimeError("no reading was made")
        made[0].mark = mark
        return made[0]

    def stretches(self) -> Stretches:
        """Return a new record of stretches, to be used on the loop's thread."""
        return Stretches(lambda: self._marked(lambda: None))

    def _marked(self, more: Callable[[], None]) -> Mark:
        """Return a mark of the current totals; its cost and that of ``more`` count as ``own``."""
        read: list[tuple[int, int, Counters, Looks]] = []

        def work() -> None:
            more()
            looks = self.watchdog.looks()
            read.append((self.other_cpu_ns(), self.driver.cpu_ns(), self.gauge.read(), looks))

        probe = self.probe
        probe.as_own(work)
        # After a fault, recorded by the probe, the figures are not used.
        others = read[0] if read else (0, 0, Counters(None, 0.0, 0.0, 0.0), Looks())
        return Mark(
            probe.window_end_ns, probe.window_end, probe.step_ns, probe.parts.snapshot(), *others
        )

    @contextmanager
    def without_tracers(self) -> Iterator[str | None]:
        """Suspend tracers here and on the loop's thread; yield the name of what was active.

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

    # Measurements since the start

    @property
    def fault(self) -> BaseException | None:
        """An exception in the sentinel itself, after which its figures are unusable."""
        return self.probe.fault or self.watchdog.fault

    @property
    def budget(self) -> Budget:
        """The loop-time budget since the sentinel was started, in seconds."""
        return self.since(self._first) if self._first is not None else self._budget

    @property
    def steps(self) -> tuple[Step, ...]:
        """The callbacks that held the loop longest since the start, longest first; at most 32."""
        if self.running:
            self._steps = tuple(
                sorted((*self._steps, *self.probe.take_steps()), key=lambda s: -s.loop_time)[:32]
            )
        return self._steps

    @property
    def max_lag(self) -> float:
        """The longest time in seconds for which one callback held the loop, without noise."""
        return max((step.loop_time for step in self.steps), default=0.0)

    @property
    def max_blocked(self) -> float:
        """The longest time in seconds for which one callback was blocked off the CPU."""
        return max((step.blocked for step in self.steps), default=0.0)

    def since(self, reading: Reading) -> Budget:
        """Return the budget since ``reading``, in seconds."""
        return self.close_window(reading).budget

    def close_window(self, opened: Reading, within: Stretch | None = None) -> Window:
        """Return the window since ``opened``, with the reading that starts the next one.

        ``within`` restricts the window to some stretches of it. Reading the rest of the process
        (20 ms with psutil) counts in no window.
        """
        return self.on_loop(lambda: self._close(opened, within))

    def _close(self, opened: Reading, within: Stretch | None) -> Window:
        closed = self._reading()
        stretch = Stretch.between(opened.mark, closed.mark) if within is None else within
        parts, other = stretch.seconds(), stretch.other_cpu_ns
        threads = grown(opened.threads, closed.threads)
        children = grown(opened.children, closed.children)
        # The CPU that a child used before the window is part of its total when it is reaped.
        gone = sum(use.cpu for key, use in opened.children.items() if key not in closed.children)
        reaped = max(0.0, closed.reaped - opened.reaped - gone / 1e9)
        # The delay of a thread that has ended is unknown (aiosqlite starts one per connection). Per
        # CPU second, assume the loop thread's.
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
        """Return the CPU time of the process's other threads in nanoseconds, ended ones included.

        The watchdog's is excluded. Call it on the loop's thread.
        """
        own = CLOCKS.thread_cpu_ns() + self.probe.helper_cpu_ns
        return CLOCKS.process_cpu_ns() - own

    def own_threads(self) -> set[int]:
        """Return the native ids of the loop's thread, the watchdog and the driver's threads."""
        return {self.probe.thread_id, self.watchdog.thread_id, *self.driver.threads()}

    def _not_the_apps(self) -> tuple[set[int], set[str]]:
        return self.own_threads(), self._always_busy

    def wait_sampler(self) -> WaitSampler:
        """Return a new sampler of waiting tasks."""
        return self.on_loop(lambda: WaitSampler(self.probe))

    async def learn_background(self) -> None:
        """Exclude child processes that are busy without any request.

        Otherwise a child that is always busy (a development server, a file watcher) looks like one
        of the app's workers, and a wait for a lock looks like work offloaded to it.
        """
        before = child_processes()
        if not before:
            return
        runnable = {key for key in before if is_runnable(key)}
        over, tasks = anyio.Event(), running_tasks()

        def finish() -> None:
            tasks.call_soon_threadsafe(over.set)

        # Not a sleep on the loop, whose clock a test may have frozen.
        self.watchdog.call_after(_BACKGROUND, finish)
        await over.wait()
        self._always_busy = {
            key
            for key, usage in child_processes().items()
            # A child that waits for a core all the time uses no CPU.
            if (key in runnable and is_runnable(key))
            or usage.cpu - before.get(key, usage).cpu >= _BUSY_SHARE * _BACKGROUND * 1e9
        }

    def children(self) -> dict[str, Usage]:
        """Return the usage of the child processes that ``learn_background`` did not exclude."""
        return {k: u for k, u in child_processes().items() if k not in self._always_busy}

    # Interrupting a callback that never returns

    def loop_stack(self) -> Stack | None:
        """Return the stack of the loop's thread, None while the loop is idle."""
        return None if self.probe.idle else thread_stack(self.probe.thread_ident)

    def break_step(self) -> None:
        """Raise LoopStuck in the callback that holds the loop; from any thread.

        It does nothing if the loop is not on the main thread or the system has no signals.
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
            # SIGURG is ignored by default, so a late one is harmless.
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
