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

from .clocks import CLOCKS
from .machine import machine_factor
from .results import Budget, Calibration, Evidence, Exchange, Limits, Looks, Run, Stack, Step
from .schedule import Progress, replicate
from .sentinel import (
    COPY,
    LoopStuck,
    LoopUnreachableError,
    Reading,
    Sentinel,
    clock_name,
    cores,
)
from .tasks import running_tasks

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
    ) -> None:
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
        self._look_cost = 0.0
        self._gate = anyio.Event()
        self._ready = 0
        self._left = concurrency
        self._latencies: list[float] = []
        self._ended: list[int] = []
        self._failure: BodyFailedError | None = None
        self._scope = anyio.CancelScope()
        self._cancelled = anyio.get_cancelled_exc_class()
        self._waits = sentinel.waits()
        self._tasks = running_tasks()
        self._timed_out = False
        self._stuck: Stack | None = None
        self._opened: Reading | None = None
        self._closed: Reading | None = None
        self._looks = self._looks_at_end = Looks()
        self._result: dict[str, Any] = {}

    async def run(self) -> Run:
        """Run the burst; raises BodyFailedError with what the first failing copy raised."""
        watchdog, probe = self._sentinel.watchdog, self._sentinel.probe
        try:
            with self._scope:
                async with anyio.create_task_group() as self._copies:
                    for index in range(self._concurrency):
                        self._copies.start_soon(self._copy, index)
                    while self._ready < self._concurrency:
                        await anyio.lowlevel.checkpoint()
                    watchdog.call_after(self._timeout, self._on_timeout)
                    if self._alone:
                        watchdog.call_after(self._late_after, self._on_late)
                    self._opened = self._sentinel.reading()
                    self._sentinel.on_loop(self._forget)
                    self._waits.from_ns = self._opened.wall_ns + int(self._first_pass * 1e9)
                    self._looks = watchdog.looks()
                    self._gate.set()
                    if self._alone and not self._sentinel.is_remote:
                        self._look_at_pools_soon()
                if self._failure is None:
                    await self._settle()
        finally:
            watchdog.forget_calls()
            self._waits.close()
        exchanges = [e for transport in self._transports for e in transport.drain()]
        if self._timed_out:
            exchanges += [e for transport in self._transports for e in transport.in_flight()]
            self._close()
        elif self._failure is not None:
            raise self._failure from None
        return Run(
            concurrency=self._concurrency,
            latencies=tuple(self._latencies),
            released_ns=0 if self._opened is None else self._opened.wall_ns,
            ended=tuple(self._ended),
            steps=self._steps(),
            samples=probe.take_samples(),
            yields=probe.take_yields(),
            thread_samples=watchdog.take_thread_samples(),
            waiters=self._waits.waiters,
            pools=self._waits.pools,
            workers=tuple(self._waits.workers),
            queued=self._waits.queued,
            requests=len(exchanges),
            background=max((_background(e) for e in exchanges), default=0.0),
            exchanges=tuple(exchanges),
            stays=self._sentinel.driver.take_stays() or tuple(_stays(exchanges)),
            timed_out=self._timed_out,
            stuck=self._stuck,
            **self._result,
        )

    def _forget(self) -> None:
        """Forget what was seen before the release."""
        probe = self._sentinel.probe
        probe.take_steps()
        probe.take_samples()
        probe.take_yields()
        self._sentinel.watchdog.take_thread_samples()

    async def _settle(self) -> None:
        """Wait until the app works on no request, and measure what it does until then."""
        for transport in self._transports:
            try:
                await transport.settle()
            except Exception as error:  # what the app raised after its response
                self._failure = BodyFailedError(error, 0, self._concurrency)
        if self._closed is not None and not self._timed_out:
            try:
                window = self._sentinel.close_window(self._closed)
            except LoopUnreachableError:
                return
            self._result["after"] = window.budget
            looks = self._sentinel.watchdog.looks()
            self._result["after_looks"] = looks.since(self._looks_at_end)

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
            assert self._opened is not None
            self._latencies.append((CLOCKS.wall_ns() - self._opened.wall_ns) / 1e9)
            self._ended.append(index)
            self._left -= 1
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
        makespan = (CLOCKS.wall_ns() - self._opened.wall_ns) / 1e9
        try:
            window = self._sentinel.close_window(self._opened)
        except LoopUnreachableError:
            self._result |= {"makespan": makespan, "budget": Budget(blocked=makespan)}
            return
        self._closed = window.closed
        self._looks_at_end = self._sentinel.watchdog.looks()
        self._result |= {
            "makespan": window.wall,
            "budget": window.budget,
            "pressure": window.pressure,
            "looks": self._looks_at_end.since(self._looks),
        }

    def _look_at_pools_soon(self) -> None:
        """Look how full the thread pools are in the iterations in which all copies ask for them.

        A healthy burst soon has its threads back, on a busy machine before any other thread looks.
        """
        self._sentinel.probe.as_own(self._waits.look_at_pools)
        self._early_looks -= 1
        if self._early_looks:
            self._sentinel.probe.call_soon(self._look_at_pools_soon)

    # On the watchdog's thread

    def _on_timeout(self) -> float | None:
        """Look where the copies are, then cancel them; ring again for as long as they remain."""
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
        if self._sentinel.probe.idle:
            self._post(self._look)
        opened = self._opened
        age = 0.0 if opened is None else (CLOCKS.wall_ns() - opened.wall_ns) / 1e9
        if (
            age >= self._count_at
            and not self._sentinel.is_remote
            and self._left >= self._concurrency / 5
        ):
            self._count_at = 2 * age
            self._post(self._count_queued)
        return max(self._late_after / 2, _LOOK_EVERY, _LOOK_DUTY * self._look_cost)

    def _post(self, action: Callable[[], None]) -> None:
        self._sentinel.probe.call_soon_threadsafe(action)

    # On the loop's thread, posted by the watchdog

    def _look(self) -> None:
        began = CLOCKS.wall_ns()
        self._sentinel.probe.as_own(self._waits.look)
        self._look_cost = (CLOCKS.wall_ns() - began) / 1e9

    def _count_queued(self) -> None:
        self._sentinel.probe.as_own(lambda: self._waits.count_queued(self._left))
        if not self._waits.waiters:  # the loop was not idle whenever it was looked at
            self._look()


def _stays(exchanges: Sequence[Exchange]) -> Iterator[float]:
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
    calibration: Calibration,
    transports: Sequence[Transport] = (),
    progress: Progress | None = None,
) -> Evidence:
    """Run ``body`` until the evidence is safe, at most as often as the verdict asks for.

    The first run warms up (lazy imports, connections) and does not count. It is also the one that
    a coverage tool or a debugger sees: a tracer makes Python two to four times as dear, so that
    the others are made without. Raises BodyFailedError where the body fails, and
    UnsupportedLoopError before anything is run.
    """
    sentinel.start()
    evidence = Evidence(calibration=calibration)
    try:
        warm_up = await run_burst(body, 1, limits, sentinel, transports)
        with sentinel.without_tracers() as tracer, frozen_heap():
            # Anew for each test: a virtual machine was seen to lose a third of its speed within a
            # minute, and CPython 3.12 and later go on to pay for a tracer as long as any other
            # thread has one.
            calibration = dataclasses.replace(
                calibration,
                factor=machine_factor(),
                tracer=tracer,
                loop=sentinel.probe.loop_name,
                cores=cores(),
                switch_interval=sys.getswitchinterval(),
            )
            evidence = dataclasses.replace(evidence, calibration=calibration)
            if warm_up.timed_out:
                return dataclasses.replace(evidence, solos=(warm_up,))
            await sentinel.learn_background()
            runner = _BurstRunner(body, limits, sentinel, transports)
            evidence = await replicate(runner, evidence, limits, progress)
    finally:
        sentinel.stop()
    return evidence


class _BurstRunner:
    """Runs copies of a scenario on the running loop."""

    def __init__(
        self, body: Body, limits: Limits, sentinel: Sentinel, transports: Sequence[Transport]
    ) -> None:
        self._body = body
        self._limits = limits
        self._sentinel = sentinel
        self._transports = transports
        self._slowdown = machine_factor()

    async def run(self, concurrency: int, alone: tuple[float, ...]) -> Run:
        """Run one closed burst; raises BodyFailedError.

        The slowdown is measured before and after each: processors share their units with a
        neighbour that comes and goes (twice the CPU time for the same requests was seen).
        """
        run = await run_burst(
            self._body, concurrency, self._limits, self._sentinel, self._transports, alone
        )
        before = self._slowdown
        if concurrency > 1:
            self._slowdown = self._sentinel.on_loop(machine_factor)
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
) -> Run:
    """Run one closed burst under a started sentinel; raises BodyFailedError.

    With the latencies of lone runs in ``alone`` it is looked at how full the thread pools are
    just after the release, and at where the tasks wait once it would be over.
    """
    return await _Burst(body, concurrency, sentinel, transports, limits.timeout, alone).run()


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
        steps=tuple(sorted(steps, key=lambda step: -step.keep)),
        samples=tuple(sample for probe in probes for sample in probe.take_samples()),
    )


def watched(sentinel: Sentinel, transports: Sequence[Transport], took: float) -> Evidence:
    """Return what a running ``sentinel`` has seen of a test that ran once, for ``took`` seconds."""
    sentinel.probe.take_reading()  # the step that is not over yet
    exchanges = tuple(e for transport in transports for e in transport.drain())
    run = dataclasses.replace(lone_run([sentinel], took), exchanges=exchanges)
    if sentinel.fault is not None:
        return Evidence(unmeasured=describe_fault(sentinel.fault))
    calibration = Calibration(machine_factor(), clock=clock_name(), loop=sentinel.probe.loop_name)
    return Evidence(calibration=calibration, solos=(run,), watched=True)


def describe_fault(fault: BaseException) -> str:
    """Return what a report tells of a fault of the sentinel's own."""
    return f"the sentinel itself failed ({type(fault).__name__}: {fault}); please report this"
