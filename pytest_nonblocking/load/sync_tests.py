"""Tests that are plain functions: their copies run in threads, their requests on other loops."""

from __future__ import annotations

import concurrent.futures
import contextlib
import contextvars
import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator

from ..analysis.places import is_in_callback
from ..analysis.stopping import needs_run_alone
from ..clocks import CLOCKS
from ..ctrl_c import on_ctrl_c
from ..guard import CallProfile
from ..model import Calibration, Category, Evidence, Guarded, Limits, Run, Stack, Waiters
from ..originals import asyncio, made, statistics, threading
from ..sentinel import (
    Driver,
    LoopStuck,
    LoopsUsed,
    NoThreadLeftError,
    Sentinel,
    clock_name,
    cpu_of_other_thread,
    tracers,
)
from ..sentinel.helper_thread import HelperThread
from ..tasks import PATIENCE
from ..threads import Thread, raising, snapshot, withdraw
from . import scenario
from .burst import BodyFailedError
from .faults import describe_fault
from .guarded import LATE, Guard, why_failed
from .machine import slowdown
from .plain_waits import is_of_user, waits_of_body
from .schedule import Progress
from .sync_clients import TestClients
from .time_limit import TimeLimit

SyncBody = Callable[[], object]

_LOOK_EVERY = 0.25
_GRACE = 1.0
_NO_LOOP = (
    "no event loop of asyncio's own ran during the test (trio's and uvloop's are not seen); a "
    "plain test is measured on the loop of Starlette's TestClient, so send its requests through one"
)
_LOOP_EACH = (
    "each request ran on its own event loop, so requests could not wait for one another: lag and "
    "blocking were judged, scaling was not; share one loop with `with TestClient(app) as client:`"
)
_LOOP_ENDED = (
    "the event loop of the test's client ended during the measurement; look for a request that "
    "stops it, or raises an exception that ends it, such as SystemExit"
)
_MANY_LOOPS = (
    "the test used {} event loops at once: lag and blocking were judged, scaling was not; use only "
    "one TestClient in the test"
)


class SyncTest:
    """A test that is a plain function, and the time-out of its runs.

    ``stays`` is where the loop's thread of a test client is, if nothing could end its request.
    """

    def __init__(self, body: SyncBody, limits: Limits, sentinel: Sentinel) -> None:
        self._body = body
        self._limits = limits
        self._sentinel = sentinel
        self.stays: Stack | None = None

    def run(self, loops: LoopsUsed) -> Run | None:
        """Call the body in this thread; return the run if it has not ended in time.

        ``loops`` holds those that the body runs. An exception of the body is raised unchanged.
        """
        __tracebackhide__ = True
        clients, seconds = TestClients(), self._limits.timeout
        late: list[Run] = []
        ident = threading.get_ident()

        def give_up() -> None:
            try:
                late.append(clients.late_run(seconds, waits_of_body(ident, loops.running)))
            finally:
                self.stays = clients.end()

        limit = TimeLimit(seconds, LoopStuck("the test has timed out"), give_up)
        presses: list[bool] = []

        def press() -> None:
            presses.append(True)
            _in_thread(end_requests)

        def end_requests() -> None:
            try:
                clients.end()
            finally:
                limit.pass_soon()  # the body's clean-up may wait for what was given up

        try:
            # A client waits for its request while KeyboardInterrupt is raised.
            with clients, on_ctrl_c(press), limit:
                self._body()
        except KeyboardInterrupt:
            self.stays = clients.end()  # which the client's teardown would wait for
            raise
        except BaseException:
            if not limit.passed:
                raise
        if limit.passed and presses:
            self.stays = clients.end()
            raise KeyboardInterrupt
        if limit.passed and not late:  # a fault of ours: where it waits is unknown
            late.append(scenario.held_run(1, self._limits, None))
        return late[0] if late else None

    def measure(
        self, used: LoopsUsed, progress: Progress | None = None, guard: Guard | None = None
    ) -> Evidence:
        """Run the body as often as the verdict needs, each copy in a thread of its own.

        ``used`` holds the loops that served the requests of an earlier run. If they share one
        loop, bursts are released from it and measured there. If each request has its own, only
        single runs are made. Raises BodyFailedError.
        """
        loops = used.running
        if len(loops) == 1 and not used.ended:
            return self._on_shared_loop(loops[0], progress, guard)
        if not loops and not used.ended:
            return Evidence(unmeasured=_NO_LOOP)
        why = _MANY_LOOPS.format(len(loops)) if len(loops) > 1 else _LOOP_EACH
        return self._alone(why, guard)

    def _on_shared_loop(
        self, loop: asyncio.AbstractEventLoop, progress: Progress | None, guard: Guard | None
    ) -> Evidence:
        copies, clients, sentinel = _CopyThreads(), TestClients(loop), self._sentinel
        sentinel.driver = Driver(copies.cpu_ns, copies.ids)

        async def in_thread() -> None:
            await copies.run(self._body)

        async def measuring() -> Evidence:
            clients.spared.add(asyncio.current_task())
            return await scenario.measure(
                in_thread,
                self._limits,
                sentinel,
                transports=[clients.requests],
                door=clients.door,
                progress=progress,
                guard=guard,
            )

        future = asyncio.run_coroutine_threadsafe(measuring(), loop)
        with clients:
            try:
                while not concurrent.futures.wait([future], _LOOK_EVERY).done:
                    if _is_stuck(sentinel, self._limits):
                        samples = sentinel.probe.callbacks.take_samples()
                        run = scenario.held_run(1, self._limits, sentinel.loop_stack(), samples)
                        exchanges = tuple(clients.requests.in_flight())
                        return timed_out(dataclasses.replace(run, exchanges=exchanges))
                return _with_waits(future.result(), copies)
            except concurrent.futures.CancelledError:  # by the loop, as it was closed
                return Evidence(unmeasured=_LOOP_ENDED)
            except BodyFailedError as failure:
                copies.wait()
                if isinstance(failure.error, NoThreadLeftError):  # the body has not even begun
                    return Evidence(unmeasured=str(failure.error))
                raise
            finally:
                future.cancel()
                self.stays = clients.end()
                if self.stays is None:
                    concurrent.futures.wait([future], _GRACE)
                copies.interrupt()

    def _alone(self, why: str, guard: Guard | None) -> Evidence:
        """Make single runs of the body, with a sentinel on each loop that it uses."""
        limits = self._limits
        with tracers.suspended() as tracer:
            slowdowns = [slowdown()]
            calibration = Calibration(slowdowns[0], tracer, clock=clock_name())
            evidence = Evidence(calibration=calibration, scaling_unmeasured=why)
            while needs_run_alone(evidence, limits):
                sentinels: list[Sentinel] = []

                def follow(sentinels: list[Sentinel] = sentinels) -> None:
                    sentinels.append(Sentinel(limits.max_lag, limits.max_blocked))
                    sentinels[-1].start()

                began = CLOCKS.wall_ns()
                try:
                    with LoopsUsed(follow) as used:
                        late = self._called(used)
                    took = (CLOCKS.wall_ns() - began) / 1e9
                    run = late or scenario.single_run(sentinels, took)
                    fault = used.fault or next((s.fault for s in sentinels if s.fault), None)
                finally:
                    for sentinel in sentinels:
                        sentinel.abandon()
                if fault is not None:
                    return Evidence(unmeasured=describe_fault(fault))
                evidence = dataclasses.replace(evidence, singles=(*evidence.singles, run))
                if late is not None:
                    return evidence
                slowdowns.append(slowdown())
            # A neighbour on the same core made one of them 3.1, and the others 1.2 to 1.8.
            usual = statistics.median(slowdowns)
            calibration = dataclasses.replace(calibration, factor=usual)
            evidence = dataclasses.replace(evidence, calibration=calibration)
            if guard is not None:
                evidence = dataclasses.replace(evidence, guarded=self._guarded(guard))
        return evidence

    def _guarded(self, guard: Guard) -> Guarded:
        """Make one run under the guard, with a profile of the thread of each loop it uses."""
        profiles: list[CallProfile] = []

        def follow() -> None:
            profiles.append(guard())
            profiles[-1].install()

        try:
            with LoopsUsed(follow) as loops:
                late = self._called(loops)
        except BodyFailedError as failure:
            return Guarded(unmeasured=why_failed(failure))
        finally:
            for profile in profiles:
                profile.remove()
        if late is not None:
            return Guarded(unmeasured=LATE)
        found = [profile.guarded(0) for profile in profiles]
        calls = (call for one in found for call in one.calls if is_in_callback(call.stack))
        open_ones = [one for one in found if one.unmeasured]
        unmeasured = next((one.unmeasured for one in open_ones), None)
        unknown = frozenset[Category]().union(*(one.unknown for one in open_ones))
        return Guarded(tuple(calls), unmeasured=unmeasured, unknown=unknown)

    def _called(self, loops: LoopsUsed) -> Run | None:
        try:
            return self.run(loops)
        except Exception as error:
            raise BodyFailedError(error, 0, 1) from None


def _in_thread(action: Callable[[], object]) -> None:
    """Call ``action`` in a thread of its own, if one can be started."""
    with contextlib.suppress(NoThreadLeftError):
        HelperThread("ctrl-c", action).start()


def timed_out(run: Run) -> Evidence:
    """Return the evidence of a test whose ``run`` has not ended in time."""
    return Evidence(calibration=Calibration(slowdown(), clock=clock_name()), singles=(run,))


def _with_waits(evidence: Evidence, copies: _CopyThreads) -> Evidence:
    """Return ``evidence`` with where the copies of a late run wait in their threads.

    Where a task of the run shows that, it is returned as it is: to the loop, a copy that waits for
    no request only waits for its thread.
    """
    late = evidence.runs[-1] if evidence.runs else None
    if late is None or not late.timed_out or any(is_of_user(one.stack) for one in late.waiters):
        return evidence
    late = dataclasses.replace(late, waiters=copies.waiters(late.makespan))
    if evidence.bursts:
        return dataclasses.replace(evidence, bursts=(*evidence.bursts[:-1], late))
    return dataclasses.replace(evidence, singles=(*evidence.singles[:-1], late))


def _is_stuck(sentinel: Sentinel, limits: Limits) -> bool:
    """Return whether a callback has held the loop so long that no timeout can take effect."""
    if not sentinel.running or sentinel.probe.idle:
        return False
    lasts = (CLOCKS.wall_ns() - sentinel.probe.step_ns) / 1e9
    return lasts > limits.timeout + _GRACE


class _CopyThreads:
    """Runs copies in threads and accounts for the CPU time of these threads."""

    def __init__(self) -> None:
        self._ended_ns = 0
        self._running: dict[int, int] = {}  # idents by native ids
        self._lock = made(threading.Condition)

    def ids(self) -> tuple[int, ...]:
        """Return the native ids of the running threads."""
        return tuple(snapshot(self._running))

    def cpu_ns(self) -> int:
        """Return the CPU time of all of them so far, those that have ended included."""
        with self._lock:
            return self._ended_ns + sum(map(cpu_of_other_thread, self._running))

    def waiters(self, seconds: float) -> tuple[Waiters, ...]:
        """Return where the running copies have waited for ``seconds``."""
        with self._lock:
            idents = tuple(self._running.values())
        places = Counter(stack for ident in idents for stack in waits_of_body(ident))
        return tuple(Waiters(stack, times, times * seconds) for stack, times in places.items())

    def wait(self) -> None:
        """Wait a moment for the copies that still run to end by themselves.

        One that is interrupted within its client leaves the client's streams open, of which a later
        test of the user's would be warned.
        """
        with self._lock:
            self._lock.wait_for(lambda: not self._running, PATIENCE)

    def interrupt(self) -> None:
        """Interrupt the copies that still run, unless they wait in C."""
        with tracers.suspended(), self._lock:  # a thread that has ended is not among them
            list(raising(self._running.values(), LoopStuck))
            if not self._lock.wait_for(lambda: not self._running, PATIENCE):
                withdraw(self._running.values())

    async def run(self, body: SyncBody) -> None:
        """Run ``body`` in a new thread, in this task's context.

        A thread pool of the loop would share its threads with the app.
        """
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()
        context = contextvars.copy_context()

        def end(error: BaseException | None) -> None:
            if over.done():
                return
            if error is None:
                over.set_result(None)
            else:
                over.set_exception(error)

        def work() -> None:
            failure: BaseException | None = None
            # An interrupt may come late.
            with contextlib.suppress(LoopStuck), self._counted():
                try:
                    context.run(body)
                except BaseException as error:
                    failure = error
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(end, failure)

        try:
            Thread(work, "pytest-nonblocking-copy").start()
        except RuntimeError as error:
            raise NoThreadLeftError(error) from None
        await over

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        thread = threading.get_native_id()
        with self._lock:
            self._running[thread] = threading.get_ident()
        try:
            yield
        finally:
            with self._lock:
                del self._running[thread]
                self._lock.notify_all()
                self._ended_ns += CLOCKS.thread_cpu_ns()
