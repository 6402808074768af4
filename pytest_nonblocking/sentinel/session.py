"""The sentinel: one probe, one watchdog and the alarms for one event loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType

from ..clocks import CLOCKS
from ..model import Budget, Looks, Stack, Step
from ..originals import threading
from . import tracers
from .alarms import Alarms
from .background import Background
from .forks import FORK
from .interrupt import Interrupter
from .last_stacks import LastStacks
from .measured_loop import LoopClosedError, LoopUnreachableError, MeasuredLoop
from .probes.choice import probe_of_running_loop
from .probes.probe import Probe
from .stacks import thread_stack
from .stretches import Mark, Stretch, Stretches
from .system.children import reaped_cpu
from .system.clock import cores, other_threads
from .system.crowd import Excluded
from .system.pressure import Counters, Gauge
from .wait_sampler import WaitSampler
from .watchdog import Watchdog
from .windows import Reading, Window, window_between

BREAK_EVERY = 0.02
"""Seconds between attempts to interrupt a callback."""


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


class Sentinel:
    """Measures the loop-time budget of an event loop between ``start`` and ``stop``.

    ``max_lag`` and ``max_blocked`` are seconds; callbacks are recorded, and sampled by the
    watchdog, from half of the smaller one on. Use it as a context manager around code that runs on
    the loop. ``start`` raises UnsupportedLoopError if the loop's callbacks cannot be timed.

    ``loop`` is the loop that runs where the sentinel is started, unless it is said to run in
    another thread.
    """

    def __init__(self, max_lag: float = 0.020, max_blocked: float = 0.005) -> None:
        self._notice = min(max_lag, max_blocked) / 2
        self._users = 0
        self._abandoned = 0
        self._first: Reading | None = None
        self._steps: tuple[Step, ...] = ()
        self._budget = Budget()
        self._interrupter: Interrupter | None = None
        self._tests_thread = threading.get_ident()
        self.loop = MeasuredLoop()
        self.background = Background()
        self.driver = Driver()
        self.last_stacks = LastStacks()
        self.probe: Probe
        self.watchdog: Watchdog
        self.alarms: Alarms
        self.gauge = Gauge.closed()

    # Start and stop

    @property
    def running(self) -> bool:
        """Whether the sentinel is started and not yet stopped as often."""
        return self._users > 0

    def start(self) -> None:
        """Start to measure the loop that runs in this thread.

        Starts may be nested: the figures are those since the first one, and the measurement ends
        with the stop that matches it. Raises UnsupportedLoopError if there is no loop, or one whose
        callbacks cannot be timed.
        """
        if self._users == 0:
            FORK.watch()
            self.probe = self.loop.call(lambda: probe_of_running_loop(self._notice))
            self.watchdog = Watchdog(self.probe, self._notice, cores(), self._not_the_apps)
            self.alarms = Alarms(self.probe.helper_used)
            self._interrupter = Interrupter(self.probe, self._tests_thread)
            self._steps, self._budget = (), Budget()
            self._users = 1
            try:
                self.gauge = Gauge()
                self.loop.call(self.probe.install)
                self.watchdog.start()
                self._interrupter.arm()
                self._first = self.reading()
            except BaseException:
                self.stop()
                raise
        else:
            self._users += 1

    def stop(self) -> None:
        """Undo the matching ``start``: the last one removes all patches and ends all threads.

        Raises RuntimeError if the sentinel is not started.
        """
        if self._users == 0:
            if self._abandoned > 0:
                self._abandoned -= 1
                return
            raise RuntimeError(
                "the sentinel is not started: call start() once before each stop(), or use "
                "`with loop_sentinel:`"
            )
        try:
            if self._users == 1:
                self._keep_figures()
        finally:
            self._users -= 1
            if self._users == 0:
                self._undo()

    def _keep_figures(self) -> None:
        if self._first is None or self.fault:
            return
        try:
            self._budget = self.budget
            self._steps = self.steps
        except (LoopUnreachableError, LoopClosedError):
            pass
        except Exception as error:  # our fault must not reach the test
            self.probe.fault = self.probe.fault or error

    def _undo(self) -> None:
        self._first = None
        try:
            with ExitStack() as undo:  # all of it, whatever fails
                undo.callback(FORK.has_ended)
                undo.callback(self.last_stacks.cancel)
                undo.callback(self.gauge.close)
                undo.callback(self.alarms.stop)
                undo.callback(self.watchdog.stop)
                undo.callback(self.probe.remove)
                if self._interrupter is not None:
                    undo.callback(self._interrupter.disarm)
        except Exception as error:  # in place of the test's own, it would pass a test that fails
            self.probe.fault = self.probe.fault or error

    def abandon(self) -> None:
        """Undo everything at any nesting, for paths on which ``stop`` was not reached."""
        if self.running:
            # What was to stop it may still do so, as a fixture does after its test.
            self._abandoned = self._users
            if not self.loop.is_remote and self.probe.thread_ident == threading.get_ident():
                self._keep_figures()
            self._users = 0
            self._undo()

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

    # Readings, on the loop's thread

    def reading(self) -> Reading:
        """Return the current totals, for the start of a window."""
        return self.loop.call(self._reading)

    def _reading(self) -> Reading:
        made: list[Reading] = []

        def read() -> None:
            children, reaped = self.background.others(), reaped_cpu()
            made.append(Reading(children, reaped, other_threads(self.own_threads())))

        mark = self._marked(read)
        if not made:
            raise self.probe.fault or RuntimeError("no reading was made")
        made[0].mark = mark
        return made[0]

    def stretches(self) -> Stretches:
        """Return a new record of stretches, to be used on the loop's thread."""
        return Stretches(lambda: self._marked(lambda: None), lambda: self.probe.parts.snapshot())

    def _marked(self, more: Callable[[], None]) -> Mark:
        """Return a mark of the current totals; its cost and that of ``more`` count as ``own``."""
        read: list[tuple[int, int, int, Counters, Looks]] = []

        def work() -> None:
            ended = self.other_cpu_ns()
            more()
            looks, pressure = self.watchdog.looks(), self.gauge.read()
            read.append((ended, self.other_cpu_ns(), self.driver.cpu_ns(), pressure, looks))

        probe = self.probe
        probe.as_own(work)
        # After a fault, recorded by the probe, the figures are not used.
        others = read[0] if read else (0, 0, 0, Counters(None, 0.0, 0.0, 0.0), Looks())
        return Mark(
            probe.window_end_ns,
            probe.window_end,
            probe.step_ns,
            probe.parts.snapshot(),
            probe.own_gil_ns,
            *others,
        )

    @contextmanager
    def without_tracers(self) -> Iterator[str | None]:
        """Suspend tracers here and on the loop's thread; yield the name of what was active.

        As with ``tracers.suspended``, leave the block in the frame in which it was entered.
        """
        with tracers.suspended() as tracer:
            if not self.loop.is_remote:
                yield tracer
                return
            there = tracers.suspended()
            traced = self.loop.call(there.__enter__)
            try:
                yield tracer or traced
            finally:
                # Otherwise the thread ends without it.
                with suppress(LoopUnreachableError, LoopClosedError):
                    self.loop.call(lambda: there.__exit__(None, None, None))

    # Measurements since the start

    @property
    def fault(self) -> BaseException | None:
        """An exception in the sentinel itself, after which its figures are unusable."""
        return self.probe.fault or self.watchdog.fault or self.alarms.fault

    @property
    def budget(self) -> Budget:
        """The loop-time budget since the sentinel was started, in seconds.

        After the last stop, that of the whole measurement; before the first start, all zero.
        """
        return self.since(self._first) if self._first is not None else self._budget

    @property
    def steps(self) -> tuple[Step, ...]:
        """The callbacks that held the loop longest since the start, longest first; at most 32.

        Only those from half of the smaller of ``max_lag`` and ``max_blocked`` on are kept. Their
        times ``wall``, ``cpu``, ``blocked`` and ``gil`` are seconds.
        """
        return self.probe.callbacks.longest()[:32] if self.running else self._steps

    @property
    def max_lag(self) -> float:
        """The longest time in seconds for which one callback held the loop, without noise.

        0.0 if none is among ``steps``.
        """
        return max((step.loop_time for step in self.steps), default=0.0)

    @property
    def max_blocked(self) -> float:
        """The longest time in seconds for which one callback was blocked off the CPU.

        0.0 if none is among ``steps``.
        """
        return max((step.blocked for step in self.steps), default=0.0)

    def since(self, reading: Reading) -> Budget:
        """Return the budget since ``reading``, in seconds."""
        return self.close_window(reading).budget

    def close_window(self, opened: Reading, within: Stretch | None = None) -> Window:
        """Return the window since ``opened``, with the reading that starts the next one.

        ``within`` restricts the window to some stretches of it. Reading the rest of the process
        (20 ms with psutil) counts in no window.
        """

        def close() -> Window:
            window = window_between(opened, self._reading(), within)
            window.closed.mark = window.closed.mark.with_wait()
            return window

        return self.loop.call(close)

    def other_cpu_ns(self) -> int:
        """Return the CPU time of the process's other threads in nanoseconds, ended ones included.

        That of the plugin's own threads is excluded. Call it on the loop's thread.
        """
        # The process's time first: reading one may cost the core, and others run on meanwhile.
        helpers, process = self.probe.helper_cpu_ns, CLOCKS.process_cpu_ns()
        return process - helpers - CLOCKS.thread_cpu_ns()

    def own_threads(self) -> set[int]:
        """Return the native ids of the loop's thread, of the driver's and of our own."""
        own = {self.probe.thread_id, self.watchdog.thread_id, self.alarms.thread_id}
        return own | self.last_stacks.threads | {*self.driver.threads()}

    def _not_the_apps(self) -> Excluded:
        return Excluded(self.own_threads(), self.background.busy, {*self.driver.threads()})

    def wait_sampler(self) -> WaitSampler:
        """Return a new sampler of waiting tasks, for copies that are yet to start."""

        def made() -> WaitSampler:
            sampler = WaitSampler(self.probe, self.own_threads)
            sampler.note_before()
            return sampler

        return self.loop.call(made)

    # Interrupting a callback that never returns

    def loop_stack(self) -> Stack | None:
        """Return the stack of the loop's thread, None while the loop is idle."""
        return None if self.probe.idle else thread_stack(self.probe.thread_ident)

    def break_step(self) -> None:
        """Raise LoopStuck in the callback that holds the loop, if possible; from any thread."""
        if self._interrupter is not None:
            self._interrupter.break_step()

    def break_steps(self) -> bool:
        """Break each callback that holds the loop until the burst ends; return False if impossible.

        It may be called in a signal handler: no thread is started.
        """
        if self._interrupter is None or not (self._interrupter.armed and self.alarms.thread_id):
            return False

        def again() -> float:
            self.break_step()
            return BREAK_EVERY

        self.alarms.call_after(0.0, again)
        return True
