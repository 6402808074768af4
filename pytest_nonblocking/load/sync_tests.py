"""Tests that are plain functions: on which loops their requests run, and copies in threads."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import dataclasses
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from anyio.from_thread import BlockingPortal

from ..analysis.verdict import SINGLES
from ..asgi.door import Door
from ..asgi.lifespan import ASGIApp
from ..asgi.observed import News, Requests
from ..clocks import CLOCKS
from ..model import Budget, Calibration, Evidence, Limits, Run
from ..sentinel import COPY, Driver, LoopsUsed, Sentinel, clock_name, cpu_of_other_thread, tracers
from . import scenario
from .burst import BodyFailedError
from .machine import slowdown
from .schedule import Progress

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
    copies = _CopyThreads()
    client = _TestClients(loop)
    sentinel.driver = Driver(copies.cpu_ns, copies.ids)

    async def in_thread() -> None:
        await copies.run(body)

    measuring = scenario.measure(
        in_thread,
        limits,
        sentinel,
        transports=[client.requests],
        door=client.door,
        progress=progress,
    )
    future = asyncio.run_coroutine_threadsafe(measuring, loop)
    client.install()
    try:
        while not concurrent.futures.wait([future], _LOOK_EVERY).done:
            if _is_stuck(sentinel, limits):
                stack = sentinel.loop_stack()
                run = Run(1, limits.timeout, (), Budget(), timed_out=True, stuck=stack)
                return Evidence(calibration=Calibration(clock=clock_name()), singles=(run,))
        return future.result()
    finally:
        future.cancel()
        client.door.open()
        client.remove()


class _TestClients:
    """Puts a door before the applications of test clients that have a thread of their own.

    Starlette's client hands requests over in a class that is no public name, others call the
    application through a portal of anyio's. Where neither is found, there is no door, and what
    the clients do is taken for the application's.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.door = Door(loop)
        self.requests = Requests(self.door, News())
        self._patched: list[tuple[type[Any], str, Any]] = []
        self._replaced: list[tuple[Any, ASGIApp]] = []

    def install(self) -> None:
        """Have requests go through the door from now on."""
        self._patch(BlockingPortal, "_call_func", self._portal_call)
        starlette = sys.modules.get("starlette.testclient")
        self._patch(getattr(starlette, "_TestClientTransport", None), "handle_request", self._sent)

    def _patch(self, owner: Any, name: str, replacement: Callable[[Any], Any]) -> None:
        original = getattr(owner, name, None)
        if original is not None:
            self._patched.append((owner, name, original))
            setattr(owner, name, replacement(original))

    def remove(self) -> None:
        """Undo what ``install`` did."""
        while self._patched:
            setattr(*self._patched.pop())
        while self._replaced:
            transport, app = self._replaced.pop()
            transport.app = app

    def _portal_call(self, original: Any) -> Any:
        async def call_func(
            portal: BlockingPortal, func: Any, args: Any, kwargs: Any, *more: Any
        ) -> None:
            is_request = len(args) == 3 and isinstance(args[0], dict) and "type" in args[0]
            if is_request and not isinstance(func, _Observed):
                func = _Observed(func, self.requests)
            await original(portal, func, args, kwargs, *more)

        return call_func

    def _sent(self, original: Any) -> Any:
        def handle_request(transport: Any, request: Any) -> Any:
            if not isinstance(transport.app, _Observed):
                self._replaced.append((transport, transport.app))
                transport.app = _Observed(transport.app, self.requests)
            return original(transport, request)

        return handle_request


class _Observed:
    """An application whose requests are seen and held on their way."""

    def __init__(self, app: ASGIApp, requests: Requests) -> None:
        self._app = app
        self._requests = requests

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        else:
            await self._requests.serve(self._app, scope, receive, send, COPY.get())


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
        raise BodyFailedError(error, 0, 1) from None


class _CopyThreads:
    """Runs copies in threads of their own, and knows what those cost."""

    def __init__(self) -> None:
        self._ended_ns = 0
        self._running: set[int] = set()
        self._lock = threading.Lock()

    def ids(self) -> tuple[int, ...]:
        """Return the native ids of those that run."""
        return tuple(self._running)

    def cpu_ns(self) -> int:
        """Return the processor time of all of them so far."""
        with self._lock:
            return self._ended_ns + sum(map(cpu_of_other_thread, self._running))

    async def run(self, body: SyncBody) -> None:
        """Run ``body`` in a new thread, in this task's context.

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
            with self._counted():
                try:
                    context.run(body)
                except BaseException as error:
                    failure = error
            if not loop.is_closed():
                loop.call_soon_threadsafe(end, failure)

        threading.Thread(target=work, name="pytest-nonblocking-copy", daemon=True).start()
        await over

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        thread = threading.get_native_id()
        with self._lock:
            self._running.add(thread)
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(thread)
                self._ended_ns += CLOCKS.thread_cpu_ns()


def _alone(body: SyncBody, limits: Limits, why: str) -> Evidence:
    """Run ``body`` alone, with a sentinel on each loop that it uses."""
    with tracers.suspended() as tracer:
        calibration = Calibration(slowdown(), tracer, clock=clock_name())
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
                run = scenario.single_run(sentinels, (CLOCKS.wall_ns() - began) / 1e9)
                fault = used.fault or next((s.fault for s in sentinels if s.fault), None)
            finally:
                for sentinel in sentinels:
                    sentinel.abandon()
            if fault is not None:
                return Evidence(unmeasured=scenario.describe_fault(fault))
            evidence = dataclasses.replace(evidence, singles=(*evidence.singles, run))
    return evidence
