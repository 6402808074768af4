"""What is run: copies of a scenario, alone and in closed bursts, until the verdict is safe."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import statistics
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Protocol

import anyio
import anyio.lowlevel

from ..asgi.door import Door
from ..clocks import CLOCKS
from ..model import Budget, Calibration, Evidence, Exchange, Limits, Run, Stack, Step
from ..sentinel import (
    COPY,
    LoopStuck,
    LoopUnreachableError,
    Reading,
    Sentinel,
    Stretch,
    Stretches,
    clock_name,
    cores,
)
from ..tasks import running_tasks
from .machine import slowdown
from .schedule import Progress, replicate

Body = Callable[[], Awaitable[object]]
_BREAK_EVERY = 0.02
_EARLY_LOOKS = 8
_LATE = 1.5
_LOOK_EVERY = 0.010
_LOOK_DUTY = 20
"""A look at all tasks is followed by this many times as long without one."""


class Transport(Protocol):
    """What a scenario needs of a client's transport."""

    def drain(self) -> list[Exchange]:
        """Hand over the exchanges so far and forget them."""

    def in_flight(self) -> list[Exchange]:
        """Return the exchanges on which the app still works."""

    async def settle(self) -> None:
        """Wait until the app works on no request any more."""


class BodyFailedError(Exception):
    """The body itself raised ``error``, as copy number ``copy`` of ``concurrency``."""

    def __init__(self, error: BaseException, copy: int, concurrency: int) -> None:
        super().__init__(error, copy, concurrency)
        self.error = error
        self.copy = copy
        self.concurrency = concurrency


def current_copy() -> int:
    """Return the index of the running copy, from 0; 0 outside of a burst."""
    return COPY.get() or 0


class _Burst:
    """One closed burst: all copies are released at one instant, and latency counts from there.

    Measured from its own start, the latency of a blocking handler would look flat: request k
    begins only when request k - 1 has ended (coordinated omission).
    """

    def __init__(
        self,
        body: Body,
        concurrency: int,
        sentinel: Sentinel,
        transports: Sequence[Transport],
        timeout: float,
        alone: tuple[float, ...],
        door: Door | None,
    ) -> None:
        self._door = door
        self._body = body
        self._concurrency = concurrency
        self._sentinel = sentinel
        self._transports = transports
        self._timeout = timeout
        self._alone = alone
        self._early_looks = _EARLY_LOOKS
        # The median: after one slow lone run there would be no look before the end.
        self._first_pass = statistics.median(alone or (0.0,))
        self._late_after = _LATE * self._first_pass
        self._count_at = 3 * self._late_after
        self._look_at = self._look_cost = 0.0
        self._gate = anyio.Event()
        self._ready = 0
        self._left = concurrency
        self._latencies: dict[int, float] = {}
        self._failure: BodyFailedError | None = None
        self._scope = anyio.CancelScope()
        self._cancelled = anyio.get_cancelled_exc_class()
        self._wait_sampler = sentinel.wait_sampler()
        self._tasks = running_tasks()
        self._timed_out = False
        self._stuck: Stack | None = None
        self._opened: Reading | None = None
        self._closed: Reading | None = None
        self._began_ns = 0
        self._stretches: Stretches | None = None
        self._result: dict[str, Any] = {}

    async def run(self) -> Run:
        """Run the burst; raises BodyFailedError with what the first failing copy raised."""
        try:
            with self._scope:
                async with anyio.create_task_group() as self._copies:
                    for index in range(self._concurrency):
                        self._copies.start_soon(self._copy, index)
                    while self._ready < self._concurrency:
                        await anyio.lowlevel.checkpoint()
                    self._release()
                if self._failure is None:
                    await self._settle()
        finally:
            self._sentinel.watchdog.forget_calls()
            self._wait_sampler.close()
            self._leave_door()
        exchanges = [e for transport in self._transports for e in transport.drain()]
        if self._timed_out:
            exchanges += [e for transport in self._transports for e in transport.in_flight()]
            self._close()
        elif self._failure is not None:
            raise self._failure from None
        return self._run_of(tuple(exchanges))

    def _run_of(self, exchanges: tuple[Exchange, ...]) -> Run:
        watchdog, probe = self._sentinel.watchdog, self._sentinel.probe
        return Run(
            concurrency=self._concurrency,
            latencies=tuple(self._latencies.values()),
            released_ns=self._began_ns,
            ended=tuple(self._latencies),
            steps=self._steps(),
            samples=probe.take_samples(),
            yields=probe.take_yields(),
            thread_samples=watchdog.take_thread_samples(),
            waiters=self._wait_sampler.waiters,
            pools=self._wait_sampler.pools,
            workers=tuple(self._wait_sampler.workers),
            queued=self._wait_sampler.queued,
            requests=len(exchanges),
            background=max((_background(e) for e in exchanges), default=0.0),
            exchanges=exchanges,
            residences=tuple(_residences(exchanges)),
            timed_out=self._timed_out,
            stuck=self._stuck,
            **self._result,
        )

    def _release(self) -> None:
        """Let the copies go: their bodies begin, and where there is no door, the window too."""
        watchdog = self._sentinel.watchdog
        if self._door is not None:
            self._stretches = self._sentinel.stretches()
            self._door.shut(self._concurrency, self._stretches, self._begin_at_door)
            watchdog.call_after(_LOOK_EVERY, self._look_at_door)
        watchdog.call_after(self._timeout, self._on_timeout)
        self._opened = self._sentinel.reading()
        self._sentinel.on_loop(self._begin)
        self._began_ns = self._opened.wall_ns
        if self._alone:
            watchdog.call_after(self._late_after, self._on_late)
        self._gate.set()
        if self._alone and self._door is None:
            self._look_at_pools_soon()

    def _begin(self) -> None:
        """Forget what was seen before the release; on the loop's thread."""
        self._began_ns = CLOCKS.wall_ns()
        probe = self._sentinel.probe
        probe.take_steps()
        probe.take_samples()
        probe.take_yields()
        self._sentinel.watchdog.take_thread_samples()
        self._wait_sampler.from_ns = self._began_ns + int(self._first_pass * 1e9)

    def _begin_at_door(self) -> None:
        """Begin anew: the first requests are let in now."""
        probe = self._sentinel.probe
        probe.as_own(self._begin)
        if self._alone:
            probe.call_soon(self._look_at_pools_soon)

    def _leave_door(self) -> None:
        if self._door is not None:
            self._door.open()

    async def _settle(self) -> None:
        """Wait until the app works on no request, and measure what it does until then."""
        for transport in self._transports:
            try:
                await transport.settle()
            except Exception as error:  # what the app raised after its response
                self._failure = BodyFailedError(error, 0, self._concurrency)
        if self._closed is None or self._timed_out:
            return
        with contextlib.suppress(LoopUnreachableError):
            self._result |= self._after(self._closed)

    def _after(self, closed: Reading) -> dict[str, Any]:
        """Return what the app did from its last answer until it had nothing to do."""
        stretch = self._stretch_after()
        if stretch is not None:
            return {"after": Budget(**stretch.seconds()), "after_looks": stretch.looks}
        window = self._sentinel.close_window(closed)
        return {"after": window.budget, "after_looks": window.looks}

    def _steps(self) -> tuple[Step, ...]:
        try:
            return self._sentinel.on_loop(self._sentinel.probe.take_steps)
        except LoopUnreachableError:
            return ()

    async def _copy(self, index: int) -> None:
        __tracebackhide__ = True
        COPY.set(index)
        self._ready += 1
        await self._gate.wait()
        try:
            await self._body()
        except self._cancelled:
            if self._scope.cancel_called or self._copies.cancel_scope.cancel_called:
                raise
            self._failed(index, RuntimeError("the body was cancelled from inside"))
        except LoopStuck:
            self._timed_out = True
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            self._failed(index, error)
        else:
            self._latencies[index] = (CLOCKS.wall_ns() - self._began_ns) / 1e9
            self._left -= 1
            if self._door is not None:
                self._door.ended(index)
            if self._left == 0:
                self._close()

    def _failed(self, index: int, error: BaseException) -> None:
        if self._failure is None:
            self._failure = BodyFailedError(error, index, self._concurrency)
        self._scope.cancel()

    def _close(self) -> None:
        """End the window of the budget: with the last copy, not with what comes after it."""
        assert self._opened is not None
        if self._result:
            return
        makespan = (CLOCKS.wall_ns() - self._began_ns) / 1e9
        try:
            within = self._within()
            window = self._sentinel.close_window(self._opened, within)
        except LoopUnreachableError:
            self._result |= {"makespan": makespan, "budget": Budget(blocked=makespan)}
            return
        self._closed = window.closed
        self._result |= {
            "makespan": window.wall,
            "budget": window.budget,
            "pressure": window.pressure,
            "looks": window.looks,
        }

    def _within(self) -> Stretch | None:
        """Return what was measured while requests were in the app, where the door knows."""
        door, stretches = self._door, self._stretches
        if door is None or stretches is None or not door.has_begun:
            return None
        if self._timed_out:
            self._sentinel.on_loop(lambda: stretches.turn(None))
        within = self._sentinel.on_loop(lambda: stretches.total("window"))
        self._latencies = door.latencies
        return within

    def _stretch_after(self) -> Stretch | None:
        if self._door is None or self._stretches is None or not self._door.has_begun:
            return None
        stretches = self._stretches
        return self._sentinel.on_loop(lambda: stretches.total("after"))

    def _look_at_pools_soon(self) -> None:
        """Look how full the thread pools are in the iterations in which all copies ask for them.

        A healthy burst soon has its threads back, on a busy machine before any other thread looks.
        """
        self._sentinel.probe.as_own(self._wait_sampler.look_at_pools)
        self._early_looks -= 1
        if self._early_looks > 0:
            self._sentinel.probe.call_soon(self._look_at_pools_soon)

    # On the watchdog's thread

    def _look_at_door(self) -> float | None:
        """Have those let go that wait at the door for copies that do not come."""
        assert self._door is not None
        self._door.look()
        return _LOOK_EVERY

    def _on_timeout(self) -> float | None:
        """Look where the copies are, then cancel them; ring again for as long as they remain."""
        if self._age < self._timeout:  # the door was opened meanwhile
            return self._timeout - self._age
        if not self._timed_out:
            self._timed_out = True
            self._stuck = self._sentinel.loop_stack()
            self._post(self._look)
            self._tasks.call_soon_threadsafe(self._scope.cancel)
        else:
            self._sentinel.break_step()
        return _BREAK_EVERY

    def _on_late(self) -> float | None:
        """Look where tasks wait, once the burst takes longer than a healthy one would."""
        age = self._age
        if age < self._late_after:
            return self._late_after - age
        if self._is_with_clients:
            return _LOOK_EVERY
        if age >= self._look_at and self._sentinel.probe.idle:
            self._post(self._look)
            self._look_at = age + max(self._late_after / 2, _LOOK_DUTY * self._look_cost)
        if age >= self._count_at and self._unanswered >= self._concurrency / 5:
            self._count_at = 2 * age
            self._post(self._count_queued)
        # Counting is cheap: a look that was slow on a busy machine must not put it off.
        return max(min(self._look_at, self._count_at) - age, _LOOK_EVERY)

    @property
    def _age(self) -> float:
        return (CLOCKS.wall_ns() - self._began_ns) / 1e9

    @property
    def _unanswered(self) -> int:
        has_begun = self._door is not None and self._door.has_begun
        return self._door.inside if self._door is not None and has_begun else self._left

    @property
    def _is_with_clients(self) -> bool:
        """Whether it is for the clients that everything waits."""
        door = self._door
        return door is not None and (door.is_gathering or (door.has_begun and not door.inside))

    def _post(self, action: Callable[[], None]) -> None:
        self._sentinel.probe.call_soon_threadsafe(action)

    # On the loop's thread, posted by the watchdog

    def _look(self) -> None:
        began = CLOCKS.wall_ns()
        self._sentinel.probe.as_own(self._wait_sampler.look)
        self._look_cost = (CLOCKS.wall_ns() - began) / 1e9

    def _count_queued(self) -> None:
        self._sentinel.probe.as_own(lambda: self._wait_sampler.count_queued(self._unanswered))
        if not self._wait_sampler.waiters:  # the loop was not idle whenever it was looked at
            self._look()


def _residences(exchanges: Sequence[Exchange]) -> Iterator[float]:
    for exchange in exchanges:
        if exchange.app_return_ns is not None:
            yield (exchange.app_return_ns - exchange.start_ns) / 1e9


def _background(exchange: Exchange) -> float:
    if exchange.app_return_ns is None or exchange.last_byte_ns is None:
        return 0.0
    return max(0, exchange.app_return_ns - exchange.last_byte_ns) / 1e9


@contextlib.contextmanager
def frozen_heap() -> Iterator[None]:
    """Keep the objects that are there from being collected again, within the block.

    What collections cost in it then comes from objects that the requests make, and not from a heap
    that happens to be large (108 of 175 ms were seen). A heap that the application has frozen
    itself stays as it is: it could not be told from ours afterwards.
    """
    freezes = gc.get_freeze_count() == 0
    if freezes:
        gc.freeze()
    try:
        yield
    finally:
        if freezes:
            gc.unfreeze()


async def measure(
    body: Body,
    limits: Limits,
    sentinel: Sentinel,
    *,
    transports: Sequence[Transport] = (),
    door: Door | None = None,
    progress: Progress | None = None,
) -> Evidence:
    """Run ``body`` until the evidence is safe, at most as often as the verdict asks for.

    The first run warms up (lazy imports, connections) and does not count. It is also the one that
    a coverage tool or a debugger sees: a tracer makes Python two to four times as dear, so that
    the others are made without. Raises BodyFailedError where the body fails, and
    UnsupportedLoopError before anything is run.
    """
    sentinel.start()
    evidence = Evidence()
    try:
        warm_up = await run_burst(body, 1, limits, sentinel, transports, door=door)
        with sentinel.without_tracers() as tracer, frozen_heap():
            evidence = Evidence(calibration=_calibrated(sentinel, tracer))
            if warm_up.timed_out:
                return dataclasses.replace(evidence, singles=(warm_up,))
            await sentinel.learn_background()
            runner = _BurstRunner(body, limits, sentinel, transports, door)
            evidence = await replicate(runner, evidence, limits, progress)
    finally:
        sentinel.stop()
    return evidence


def _calibrated(sentinel: Sentinel, tracer: str | None) -> Calibration:
    """Return what the machine and the interpreter are like now.

    Anew for each test: a virtual machine was seen to lose a third of its speed within a minute,
    and CPython 3.12 and later go on to pay for a tracer as long as any other thread has one.
    """
    return Calibration(
        factor=slowdown(),
        tracer=tracer,
        loop=sentinel.probe.loop_name,
        cores=cores(),
        switch_interval=sys.getswitchinterval(),
        clock=clock_name(),
    )


class _BurstRunner:
    """Runs copies of a scenario on the running loop."""

    def __init__(
        self,
        body: Body,
        limits: Limits,
        sentinel: Sentinel,
        transports: Sequence[Transport],
        door: Door | None,
    ) -> None:
        self._body = body
        self._limits = limits
        self._door = door
        self._sentinel = sentinel
        self._transports = transports
        self._slowdown = slowdown()

    async def run(self, concurrency: int, alone: tuple[float, ...]) -> Run:
        """Run one closed burst; raises BodyFailedError.

        The slowdown is measured before and after each: processors share their units with a
        neighbour that comes and goes (twice the CPU time for the same requests was seen).
        """
        run = await run_burst(
            self._body,
            concurrency,
            self._limits,
            self._sentinel,
            self._transports,
            alone,
            self._door,
        )
        before = self._slowdown
        if concurrency > 1:
            self._slowdown = self._sentinel.on_loop(slowdown)
        return dataclasses.replace(run, slowdowns=(before, self._slowdown))

    def fault(self) -> str | None:
        """Return what is told of a fault of the sentinel's own."""
        fault = self._sentinel.fault
        return None if fault is None else describe_fault(fault)


async def run_burst(
    body: Body,
    concurrency: int,
    limits: Limits,
    sentinel: Sentinel,
    transports: Sequence[Transport],
    alone: tuple[float, ...] = (),
    door: Door | None = None,
) -> Run:
    """Run one closed burst under a started sentinel; raises BodyFailedError.

    With the latencies of lone runs in ``alone`` it is looked at how full the thread pools are
    just after the release, and at where the tasks wait once it would be over. ``door`` is that of
    the application, where the clients do not run on its loop.
    """
    burst = _Burst(body, concurrency, sentinel, transports, limits.timeout, alone, door)
    return await burst.run()


def lone_run(sentinels: Sequence[Sentinel], took: float) -> Run:
    """Return what ``sentinels`` have seen, one on each loop, as a lone run of ``took`` seconds."""
    probes = [sentinel.probe for sentinel in sentinels]
    totals: Counter[str] = Counter()
    for probe in probes:
        totals.update(probe.parts.seconds())
    steps = [step for probe in probes for step in probe.take_steps()]
    return Run(
        concurrency=1,
        makespan=took,
        latencies=(took,),
        budget=Budget(**totals),
        steps=tuple(sorted(steps, key=lambda step: -step.loop_time)),
        samples=tuple(sample for probe in probes for sample in probe.take_samples()),
    )


def watched(sentinel: Sentinel, transports: Sequence[Transport], took: float) -> Evidence:
    """Return what a running ``sentinel`` has seen of a test that ran once, for ``took`` seconds."""
    sentinel.probe.take_reading()  # the step that is not over yet
    exchanges = tuple(e for transport in transports for e in transport.drain())
    run = dataclasses.replace(lone_run([sentinel], took), exchanges=exchanges)
    if sentinel.fault is not None:
        return Evidence(unmeasured=describe_fault(sentinel.fault))
    calibration = Calibration(slowdown(), clock=clock_name(), loop=sentinel.probe.loop_name)
    return Evidence(calibration=calibration, singles=(run,), watched=True)


def describe_fault(fault: BaseException) -> str:
    """Return what a report tells of a fault of the sentinel's own."""
    return f"the sentinel itself failed ({type(fault).__name__}: {fault}); please report this"
