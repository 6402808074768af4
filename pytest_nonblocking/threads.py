"""Tests that are plain functions: on which loops their requests run, and copies in threads."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import dataclasses
import threading
from collections.abc import Callable
from typing import Any

from anyio.from_thread import BlockingPortal

from . import scenario
from .analysis.verdict import SINGLES
from .clocks import CLOCKS
from .machine import machine_factor
from .results import Budget, Calibration, Evidence, Limits, Run
from .schedule import Progress
from .sentinel import COPY, Driver, LoopsUsed, Sentinel, clock_name, tracers

SyncBody = Callable[[], object]

_LOOK_EVERY = 0.25
_GRACE = 1.0
_NO_LOOP = (
    "none of asyncio's own event loops ran while the test ran: a test that is no coroutine is "
    "measured on the loop of Starlette's TestClient"
)
_LOOP_EACH = (
    "each request had an event loop of its own, so requests cannot wait for one another: lag and "
    "blocking were judged, scaling was not; write `with TestClient(app) as client:` to share one"
)
_MANY_LOOPS = (
    "the test used {} event loops at once: lag and blocking were judged, scaling was not; use one "
    "TestClient in the test"
)


def measure(
    body: SyncBody,
    used: LoopsUsed,
    limits: Limits,
    sentinel: Sentinel,
    progress: Progress | None = None,
) -> Evidence:
    """Run ``body`` as often as the verdict asks for, its copies in threads of their own.

    It has been run before, and ``used`` the loops that have been seen to serve its requests then.
    Where they share one, the bursts are released from it and it is measured; where each request
    has its own, only lone runs are made. Raises BodyFailedError.
    """
    loops = used.running
    if len(loops) == 1 and not used.ended:
        return _on_shared_loop(body, limits, sentinel, loops[0], progress)
    if not loops and not used.ended:
        return Evidence(unmeasured=_NO_LOOP)
    why = _MANY_LOOPS.format(len(loops)) if len(loops) > 1 else _LOOP_EACH
    return _alone(body, limits, why)


def _on_shared_loop(
    body: SyncBody,
    limits: Limits,
    sentinel: Sentinel,
    loop: asyncio.AbstractEventLoop,
    progress: Progress | None,
) -> Evidence:
    driver_cpu_ns: list[int] = []
    calls = _PortalCalls()
    sentinel.driver = Driver(lambda: sum(driver_cpu_ns), calls.take)

    async def in_thread() -> None:
        await _run_in_thread(body, driver_cpu_ns)

    calibration = Calibration(clock=clock_name())
    measuring = scenario.measure(
        in_thread, limits, sentinel, calibration=calibration, progress=progress
    )
    future = asyncio.run_coroutine_threadsafe(measuring, loop)
    calls.install()
    try:
        while not concurrent.futures.wait([future], _LOOK_EVERY).done:
            if _is_stuck(sentinel, limits):
                stack = sentinel.loop_stack()
                run = Run(1, limits.timeout, (), Budget(), timed_out=True, stuck=stack)
                return Evidence(calibration=calibration, solos=(run,))
        return future.result()
    finally:
        future.cancel()
        calls.remove()


class _PortalCalls:
    """For how long each copy's longest call through a portal of anyio's was on its loop.

    That call is the request of Starlette's TestClient: it runs the application.
    """

    def __init__(self) -> None:
        self._longest: dict[int | None, float] = {}
        # Not a public name: without it nothing is known, and waits are judged more mildly.
        self._original: Any = getattr(BlockingPortal, "_call_func", None)

    def install(self) -> None:
        original, longest = self._original, self._longest

        async def call_func(portal: BlockingPortal, *args: Any, **kwargs: Any) -> None:
            began = CLOCKS.wall_ns()
            try:
                await original(portal, *args, **kwargs)
            finally:
                took = (CLOCKS.wall_ns() - began) / 1e9
                longest[COPY.get()] = max(took, longest.get(COPY.get(), 0.0))

        if original is not None:
            BlockingPortal._call_func = call_func  # type: ignore[method-assign,assignment]  # it is the patch

    def remove(self) -> None:
        if self._original is not None:
            BlockingPortal._call_func = self._original  # type: ignore[method-assign]  # put back

    def take(self) -> tuple[float, ...]:
        stays = tuple(self._longest.values())
        self._longest.clear()
        return stays


def _is_stuck(sentinel: Sentinel, limits: Limits) -> bool:
    """Return whether one step keeps the loop for so long that no time-out is heeded."""
    if not sentinel.running or sentinel.probe.idle:
        return False
    lasts = (CLOCKS.wall_ns() - sentinel.probe.step_ns) / 1e9
    return lasts > limits.timeout + _GRACE


def _called(body: SyncBody) -> None:
    try:
        body()
    except Exception as error:
        raise scenario.BodyFailedError(error, 0, 1) from None


async def _run_in_thread(body: SyncBody, cpu_ns: list[int]) -> None:
    """Run ``body`` in a new thread, in this task's context, and add what it cost to ``cpu_ns``.

    Not in a pool of the loop's: the copies would take the app's own threads from it.
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
        failure = None
        try:
            context.run(body)
        except BaseException as error:
            failure = error
        cpu_ns.append(CLOCKS.thread_cpu_ns())
        if not loop.is_closed():
            loop.call_soon_threadsafe(end, failure)

    threading.Thread(target=work, name="pytest-nonblocking-copy", daemon=True).start()
    await over


def _alone(body: SyncBody, limits: Limits, why: str) -> Evidence:
    """Run ``body`` alone, with a sentinel on each loop that it uses."""
    with tracers.suspended() as tracer:
        calibration = Calibration(machine_factor(), tracer, clock=clock_name())
        evidence = Evidence(calibration=calibration, scaling_unmeasured=why)
        for _ in range(SINGLES):
            sentinels: list[Sentinel] = []

            def follow(sentinels: list[Sentinel] = sentinels) -> None:
                sentinels.append(Sentinel(limits.max_lag, limits.max_blocked))
                sentinels[-1].start()

            began = CLOCKS.wall_ns()
            try:
                with LoopsUsed(follow) as used:
                    _called(body)
                run = scenario.lone_run(sentinels, (CLOCKS.wall_ns() - began) / 1e9)
                fault = used.fault or next((s.fault for s in sentinels if s.fault), None)
            finally:
                for sentinel in sentinels:
                    sentinel.abandon()
            if fault is not None:
                return Evidence(unmeasured=scenario.describe_fault(fault))
            evidence = dataclasses.replace(evidence, solos=(*evidence.solos, run))
    return evidence
