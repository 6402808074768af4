"""Measuring one scenario: a warm-up, single runs and bursts until the verdict is safe."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

from ..analysis.places import is_lifespan
from ..asgi.door import Door
from ..clocks import CLOCKS
from ..model import Budget, Calibration, Evidence, Limits, Run, Sample, Stack, Step
from ..originals import gc, sys
from ..sentinel import (
    LoopUnreachableError,
    Sentinel,
    clock_name,
    cores,
    tracers,
)
from .budget_window import budget_of_held
from .burst import Body, Transport, run_burst
from .faults import describe_fault
from .guarded import Guard, guarded_run
from .machine import slowdown
from .schedule import Progress, replicate

_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2


class CannotMeasureError(Exception):
    """What runs before the measurement found that there is nothing to measure, and why."""


@contextlib.contextmanager
def frozen_heap() -> Iterator[None]:
    """Keep existing objects out of garbage collection inside the block.

    Collections then cost only what the requests' own objects cost, however large the heap is
    (it accounted for 108 of 175 ms in one run). A heap that the application has frozen itself is
    left alone, since unfreezing could not tell the two apart.
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
    guard: Guard | None = None,
    before: Body | None = None,
) -> Evidence:
    """Run ``body`` as often as the verdict needs and return all runs.

    ``before`` runs once at first, under the timeout, and is not measured. The first run of the body
    warms up (lazy imports, connections) and does not count. It is also the only one that a coverage
    tool or debugger sees, since a tracer makes Python 2-4x slower. The last run is the guard's, if
    there is one. Raises BodyFailedError if the body fails, and UnsupportedLoopError before anything
    runs.
    """
    _wait_for_loop(sentinel, limits)
    try:
        sentinel.start()
    except LoopUnreachableError as error:
        return _held_up(error, Calibration(slowdown(), clock=clock_name()), limits)
    evidence = Evidence()
    try:
        for unmeasured in (before, body):
            if unmeasured is None:
                continue
            warm_up = await run_burst(unmeasured, 1, limits, sentinel, transports, door=door)
            if warm_up.timed_out:
                calibration = _calibrated(sentinel, tracers.active())
                return Evidence(calibration=calibration, singles=(warm_up,))
        with sentinel.without_tracers() as tracer, frozen_heap():
            evidence = Evidence(calibration=_calibrated(sentinel, tracer))
            await sentinel.background.learn(sentinel.alarms)
            runner = _BurstRunner(body, limits, sentinel, transports, door)
            evidence = await replicate(runner, evidence, limits, progress)
            evidence = await runner.guarded(guard, evidence, progress)
    except LoopUnreachableError as error:
        return _held_up(error, evidence.calibration, limits)
    finally:
        sentinel.stop()
    return evidence


def _is_whole(evidence: Evidence) -> bool:
    """Return whether all runs were measured and ended in time."""
    return evidence.unmeasured is None and evidence.late is None


def _wait_for_loop(sentinel: Sentinel, limits: Limits) -> None:
    """Have a callback that holds the loop end in a time-out of the next run, not in a fault."""
    sentinel.loop.patient_until_ns = CLOCKS.wall_ns() + int(limits.timeout * 1e9)


def held_run(
    concurrency: int, limits: Limits, stack: Stack | None, samples: Sequence[Sample] = ()
) -> Run:
    """Return a run that timed out in a callback at ``stack``, which never returned to the loop."""
    budget = budget_of_held(samples, limits.timeout)
    return Run(concurrency, limits.timeout, (), budget, timed_out=True, stuck=stack)


def _held_up(error: LoopUnreachableError, calibration: Calibration, limits: Limits) -> Evidence:
    return Evidence(calibration=calibration, singles=(held_run(1, limits, error.stack),))


def _calibrated(sentinel: Sentinel, tracer: str | None) -> Calibration:
    """Return the current properties of the machine and the interpreter.

    Measured per test: a virtual machine lost a third of its speed within a minute, and CPython
    3.12+ stays slow while any other thread has a tracer.
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
        self._largest = self._lone_runs = 0

    async def run(self, concurrency: int, alone: tuple[float, ...]) -> Run:
        """Run one closed burst; raises BodyFailedError.

        The slowdown is measured before and after: hyperthreads share a core with neighbours that
        come and go (the same requests took up to twice the CPU time).
        """
        _wait_for_loop(self._sentinel, self._limits)
        try:
            run = await run_burst(
                self._body,
                concurrency,
                self._limits,
                self._sentinel,
                self._transports,
                alone,
                self._door,
                first=self._first_of(concurrency),
            )
        except LoopUnreachableError as error:
            return held_run(concurrency, self._limits, error.stack)
        before = self._slowdown
        if concurrency > 1 and not run.timed_out:
            self._slowdown = self._sentinel.loop.call(slowdown)
        return dataclasses.replace(run, slowdowns=(before, self._slowdown))

    def _first_of(self, concurrency: int) -> int:
        """Return the index of the first copy of the next run.

        Copies may differ, if what they request depends on their index: two of three that take ten
        times as long as copy 0 looked like a queue. Single runs after a burst are of copies that
        have run in it, spread by the golden ratio.
        """
        self._largest = max(self._largest, concurrency)
        if concurrency > 1 or self._largest == 1:
            return 0
        self._lone_runs += 1
        return int(self._largest * (self._lone_runs * _GOLDEN_RATIO % 1))

    async def guarded(
        self, guard: Guard | None, evidence: Evidence, progress: Progress | None
    ) -> Evidence:
        """Return the evidence with a run under the guard, if all runs before ended in time."""
        if guard is None or not _is_whole(evidence):
            return evidence
        if progress is not None:
            progress(evidence, 1)
        _wait_for_loop(self._sentinel, self._limits)

        def run(begin: Callable[[], None]) -> Awaitable[Run]:
            return run_burst(
                self._body,
                1,
                self._limits,
                self._sentinel,
                self._transports,
                door=self._door,
                begin=begin,
            )

        guarded = await guarded_run(guard, run, self._sentinel)
        return dataclasses.replace(evidence, guarded=guarded)

    def fault(self) -> str | None:
        """Return the message for a fault of the sentinel, None if there is none."""
        fault = self._sentinel.fault
        return None if fault is None else describe_fault(fault)


def single_run(sentinels: Sequence[Sentinel], took: float) -> Run:
    """Return a single run of ``took`` seconds from ``sentinels``, one on each loop it used.

    Start-ups and shutdowns within it are no requests: their callbacks are left out.
    """
    probes = [sentinel.probe for sentinel in sentinels]
    totals: Counter[str] = Counter()
    for probe in probes:
        totals.update(probe.parts.seconds())
    steps = [step for probe in probes for step in probe.callbacks.take_steps()]
    samples = [sample for probe in probes for sample in probe.callbacks.take_samples()]
    return run_of(steps, samples, Budget(**totals), took)


def run_of(steps: Iterable[Step], samples: Iterable[Sample], budget: Budget, took: float) -> Run:
    """Return a single run of ``took`` seconds, without start-ups and shutdowns within it."""
    requests = [step for step in steps if _is_request(step.samples)]
    return Run(
        concurrency=1,
        makespan=took,
        latencies=(took,),
        budget=budget,
        steps=tuple(sorted(requests, key=lambda step: -step.loop_time)),
        samples=tuple(sample for sample in samples if _is_request([sample])),
    )


def _is_request(samples: Sequence[Sample]) -> bool:
    """Return whether ``samples`` of one callback show no lifespan."""
    return not any(is_lifespan(frame) for sample in samples for frame in sample.stack)
