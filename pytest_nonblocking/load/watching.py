"""The one run of a test that is watched, without the blocks of its set-up."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from ..analysis.places import Place
from ..analysis.user_code import package_of
from ..clocks import CLOCKS
from ..guard import CallProfile
from ..model import Budget, Calibration, Evidence, Exchange, Sample, Stack, Step
from ..sentinel import LoopClosedError, LoopUnreachableError, Sentinel, clock_name
from .burst import Transport
from .faults import describe_fault
from .gathering import why_unmeasured
from .guarded import end_profile
from .machine import slowdown
from .scenario import run_of

_CALLERS = frozenset(("pytest_nonblocking", "pytest_asyncio", "anyio", "asyncio", "unittest"))
"""Packages whose coroutines run a test."""


class Watch:
    """Watches one run of the current loop, from now on, with ``sentinel``.

    ``profile`` is the guard's of that run, if there is one. Python is 2 to 16 times slower with it,
    by the code, so the CPU time of all callbacks is left out.
    """

    def __init__(
        self, sentinel: Sentinel, transports: Sequence[Transport], profile: CallProfile | None
    ) -> None:
        self._sentinel = sentinel
        self._transports = transports
        self._profile = profile
        self._steps: list[Step] = []
        self._samples: list[Sample] = []
        self._exchanges: list[Exchange] = []
        self._unmeasured: str | None = None
        self._began = CLOCKS.wall_ns()
        self._left_out = 0
        self._depth = 0
        try:
            sentinel.start()
            if profile is not None:
                sentinel.loop.call(profile.install)
        except Exception as error:
            self._unmeasured = why_unmeasured(error)

    @property
    def took(self) -> float:
        """How many seconds the run took so far, without its set-up."""
        return (CLOCKS.wall_ns() - self._began - self._left_out) / 1e9

    @contextmanager
    def without(self) -> Iterator[None]:
        """Leave what happens in the block out."""
        if not self._sentinel.running:
            yield
            return
        if self._depth == 0:
            self._keep()
        began = CLOCKS.wall_ns()
        self._depth += 1
        self._pause(True)
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._take()
                self._pause(False)
                self._left_out += CLOCKS.wall_ns() - began

    def end(self) -> None:
        """End the profile; may be called twice."""
        if self._profile is not None:
            end_profile(self._profile, self._sentinel)

    def evidence(self, place: Place | None = None) -> Evidence:
        """Return the evidence of the run, which has ended.

        CPU time that the test function at ``place`` uses itself, such as to build what it sends, is
        none of the app's and is left out.
        """
        if not self._sentinel.running:
            return Evidence(unmeasured=self._unmeasured)
        took = self.took
        self._keep()
        profile, sentinel = self._profile, self._sentinel
        budget = Budget(**sentinel.probe.parts.seconds())
        run = run_of(self._steps, self._samples, budget, took)
        steps = tuple(
            dataclasses.replace(one, cpu=0.0 if profile else one.cpu * _share_of_app(one, place))
            for one in run.steps
        )
        run = dataclasses.replace(run, exchanges=tuple(self._exchanges), steps=steps)
        if sentinel.fault is not None:
            return Evidence(unmeasured=describe_fault(sentinel.fault))
        calibration = Calibration(slowdown(), clock=clock_name(), loop=sentinel.probe.loop_name)
        guarded = None if profile is None else profile.guarded(len(self._exchanges))
        return Evidence(calibration=calibration, singles=(run,), watched=True, guarded=guarded)

    def _keep(self) -> None:
        steps, samples, exchanges = self._take()
        self._steps += steps
        self._samples += samples
        self._exchanges += exchanges

    def _take(self) -> tuple[tuple[Step, ...], tuple[Sample, ...], list[Exchange]]:
        """Return what was recorded since the last time, and account for the running callback."""
        exchanges = [one for each in self._transports for one in each.drain()]
        steps: tuple[Step, ...] = ()
        samples: tuple[Sample, ...] = ()
        probe = self._sentinel.probe
        with suppress(LoopUnreachableError, LoopClosedError):
            self._sentinel.loop.call(probe.take_reading)
            steps, samples = probe.callbacks.take_steps(), probe.callbacks.take_samples()
        return steps, samples, exchanges

    def _pause(self, paused: bool) -> None:
        if self._profile is not None:
            self._profile.is_paused = paused


def _share_of_app(step: Step, place: Place | None) -> float:
    """Return the share of ``step`` that its samples do not find in the test function itself."""
    total = sum(sample.weight for sample in step.samples)
    own = sum(sample.weight for sample in step.samples if _is_tests_own(sample.stack, place))
    return 1 - own / total if own else 1.0


def _is_tests_own(stack: Stack, place: Place | None) -> bool:
    """Return whether the innermost coroutine on ``stack`` is the test at ``place``, or its caller.

    A look that comes late finds a caller, to which the test has just returned.
    """
    innermost = next((frame for frame in reversed(stack) if frame.is_async), None)
    if innermost is None:
        return False
    return package_of(innermost) in _CALLERS or (innermost.file, innermost.function) == place
