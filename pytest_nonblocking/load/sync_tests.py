"""Tests that are plain functions: their copies run in threads, their requests on other loops."""

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
from ..model import Calibration, Evidence, Limits
from ..sentinel import COPY, Driver, LoopsUsed, Sentinel, clock_name, cpu_of_other_thread, tracers
from . import scenario
from .burst import BodyFailedError
from .machine import slowdown
from .schedule import Progress

SyncBody = Callable[[], object]

_LOOK_EVERY = 0.25
_GRACE = 1.0
_NO_LOOP = (
    "no asyncio event loop ran during the test; a test that is a plain function is measured on the "
    "event loop of Starlette's TestClient, so send its requests through one"
)
_LOOP_EACH = (
    "each request ran on its own event loop, so requests could not wait for one another: lag and "
    "blocking were judged, scaling was not; share one loop with `with TestClient(app) as client:`"
)
_MANY_LOOPS = (
    "the test used {} event loops at once: lag and blocking were judged, scaling was not; use only "
    "one TestClient in the test"
)


def measure(
    body: SyncBody,
    used: LoopsUsed,
    limits: Limits,
    sentinel: Sentinel,
    progress: Progress | None = None,
) -> Evidence:
    """Run ``body`` as often as the verdict needs, each copy in a thread of its own.

    ``used`` holds the loops that served the requests of an earlier call of ``body``. If they share
    one loop, bursts are released from it and measured there. If each request has its own, only
    single runs are made. Raises BodyFailedError.
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
                samples = sentinel.probe.take_samples()
                run = scenario.held_run(1, limits, sentinel.loop_stack(), samples)
                return Evidence(calibration=Calibration(clock=clock_name()), singles=(run,))
        return future.result()
    finally:
        future.cancel()
        client.door.open()
        client.remove()


class _TestClients:
    """Puts a door in front of the apps of test clients that run in their own threads.

    Starlette's client sends requests in a private class; others call the app through anyio's
    blocking portal. If neither is found, there is no door, and the clients' time is charged to the
    app.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.door = Door(loop)
        self.requests = Requests(self.door, News())
        self._patched: list[tuple[type[Any], str, Any]] = []
        self._replaced: list[tuple[Any, ASGIApp]] = []

    def install(self) -> None:
        """Route requests through the door from now on."""
        self._patch(BlockingPortal, "_call_func", self._portal_call)
        starlette = sys.modules.get("starlette.testclient")
        self._patch(getattr(starlette, "_TestClientTransport", None), "handle_request", self._sent)

    def _patch(self, owner: Any, name: str, replacement: Callable[[Any], Any]) -> None:
        original = getattr(owner, name, None)
        if original is not None:
            self._patched.append((owner, name, original))
            setattr(owner, name, replacement(original))

    def remove(self) -> None:
        """Undo ``install``."""
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
    """An application whose requests are recorded and pass through a door."""

    def __init__(self, app: ASGIApp, requests: Requests) -> None:
        self._app = app
        self._requests = requests

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        else:
            await self._requests.serve(self._app, scope, receive, send, COPY.get())


def _is_stuck(sentinel: Sentinel, limits: Limits) -> bool:
    """Return whether a callback has held the loop so long that no timeout can take effect."""
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
    """Runs copies in threads and accounts for the CPU time of these threads."""

    def __init__(self) -> None:
        self._ended_ns = 0
        self._running: set[int] = set()
        self._lock = threading.Lock()

    def ids(self) -> tuple[int, ...]:
        """Return the native ids of the running threads."""
        return tuple(self._running)

    def cpu_ns(self) -> int:
        """Return the CPU time of all of them so far, those that have ended included."""
        with self._lock:
            return self._ended_ns + sum(map(cpu_of_other_thread, self._running))

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
    """Make single runs of ``body``, with a sentinel on each loop that it uses."""
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
