"""Starlette's TestClient and its like: their requests pass a door, and end after a time-out."""

from __future__ import annotations

import concurrent.futures
import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any

from anyio.from_thread import BlockingPortal

from ..asgi.door import Door
from ..asgi.lifespan import ASGIApp
from ..asgi.observed import News, Requests
from ..clocks import CLOCKS
from ..model import Budget, Run, Stack, Waiters
from ..originals import anyio, asyncio, made, threading
from ..sentinel import COPY, LoopStuck, tracers
from ..sentinel.stacks import is_in, raise_within, suspended_stack, thread_stack
from ..sentinel.system.thread_state import Witness
from ..tasks import running_tasks
from ..threads import snapshot, withdraw

_ENDS_WITHIN_NS = 1_000_000_000
_SUSPENDED_NS = 2_000_000_000
_GIVEN_UP_NS = 4_000_000_000
_LOOK_EVERY = 0.1
_LOOKS = 10


class TestClients:
    """Puts a door in front of the apps of test clients that run in their own threads.

    Starlette's client sends requests in a private class; others call the app through anyio's
    blocking portal. If neither is found, there is no door, and the clients' time is charged to the
    app.
    """

    __test__ = False

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.door = Door(loop)
        self.requests = Requests(self.door, News())
        self.calls: set[Call] = set()
        self.spared: set[Any] = set()
        """Tasks that are none of the requests': the measurement's own."""
        self._before: dict[int, set[Any]] = {}  # by thread, tasks that are older than any request
        self._awaited: dict[Any, Any] = {}  # by task, the future that a client's thread waits for
        self._patched: list[tuple[type[Any], str, Any]] = []
        self._replaced: list[tuple[Any, ASGIApp]] = []

    def install(self) -> None:
        """Route requests through the door from now on."""
        self._patch(BlockingPortal, "_call_func", self._portal_call)
        starlette = sys.modules.get("starlette.testclient")
        self._patch(getattr(starlette, "_TestClientTransport", None), "handle_request", self._sent)

    def __enter__(self) -> TestClients:
        self.install()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()

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
            if _is_request(args) and not isinstance(func, _Observed):
                func = _Observed(func, self)
            with self._awaited_here(more):
                await original(portal, func, args, kwargs, *more)

        return call_func

    def _sent(self, original: Any) -> Any:
        def handle_request(transport: Any, request: Any) -> Any:
            app = transport.app  # read once: another thread may replace it meanwhile
            if not isinstance(app, _Observed):
                self._replaced.append((transport, app))
                transport.app = _Observed(app, self)
            return original(transport, request)

        return handle_request

    @contextlib.contextmanager
    def _awaited_here(self, more: Sequence[Any]) -> Iterator[None]:
        """Note that a client's thread waits for the running task, if that can be given up."""
        try:
            task = asyncio.current_task()
        except RuntimeError:  # trio's
            task = None
        if task is None or not more:
            yield
            return
        self._before.setdefault(threading.get_ident(), asyncio.all_tasks() - {task})
        self._awaited[task] = more[0]
        try:
            yield
        finally:
            self._awaited.pop(task, None)

    def _give_up(self, call: Call) -> None:
        """Suspend for ever what the requests of a loop left there; soon, on that loop."""

        def let_go() -> None:
            before = self._before.get(threading.get_ident())
            if before is None:
                return
            tasks = call.tasks.independent() - before - self.spared
            call.tasks.give_up(tasks - {asyncio.current_task()})
            for task in [task for task in snapshot(self._awaited) if task.done()]:
                with contextlib.suppress(concurrent.futures.InvalidStateError):
                    self._awaited.pop(task).set_exception(TimeoutError("the test has timed out"))
            self.calls -= {one for one in self.calls if one.thread_ident == call.thread_ident}

        with contextlib.suppress(RuntimeError):  # the loop is closed
            call.tasks.call_soon_threadsafe(let_go)

    def end(self) -> Stack | None:
        """End all requests: cancel them, then interrupt the callbacks that hold their loops.

        Those that ignore that are suspended for ever. Returns where a loop's thread is if nothing
        ends its request. Call it on another thread.
        """
        self.door.open()
        self.requests.close()
        began_ns, pause = CLOCKS.wall_ns(), made(threading.Event)
        with tracers.suspended():  # see ``withdraw``
            while calls := snapshot(self.calls):
                lasts = CLOCKS.wall_ns() - began_ns
                if lasts > _GIVEN_UP_NS:
                    withdraw({call.thread_ident for call in calls})
                    return thread_stack(calls[0].thread_ident)
                for call in calls:
                    call.cancel()
                    if lasts > _ENDS_WITHIN_NS:
                        call.interrupt()
                    if lasts > _SUSPENDED_NS:
                        self._give_up(call)
                pause.wait(_LOOK_EVERY)
        return None

    def late_run(self, seconds: float, body_waits: Sequence[Stack]) -> Run:
        """Return the run of a body that has not ended within ``seconds``.

        ``body_waits`` is where the body itself waits, if it does not wait for a request.
        """
        calls = snapshot(self.calls)
        held = next((call for call in calls if call.holds_loop), None)
        stacks = [call.waits_at() for call in calls] or body_waits
        part = "idle" if held is None else held.spends_time()
        return Run(
            1,
            seconds,
            (),
            Budget(**{part: seconds}),
            exchanges=tuple(self.requests.in_flight()),
            waiters=tuple(Waiters(stack, 1, seconds) for stack in stacks if stack),
            timed_out=True,
            stuck=None if held is None else thread_stack(held.thread_ident),
        )


def _is_request(args: Sequence[Any]) -> bool:
    """Return whether a portal calls an app with ``args``, and not any other function."""
    if len(args) != 3 or not isinstance(args[0], dict):
        return False
    is_scope = args[0].get("type") in ("http", "websocket") and "path" in args[0]
    return is_scope and callable(args[1]) and callable(args[2])


class Call:
    """One request in the app, on the loop of its client."""

    def __init__(self, coroutine: Any) -> None:
        self._coroutine = coroutine
        self.tasks = running_tasks()
        self.scope = made(anyio.CancelScope)
        self.thread_ident = threading.get_ident()
        self._native_id = threading.get_native_id()

    @property
    def holds_loop(self) -> bool:
        """Whether a callback of the request runs."""
        return is_in(_Observed.__call__.__code__, self.thread_ident)

    def spends_time(self) -> str:
        """Return the part of the budget in which the loop's thread is: "cpu" or "blocked"."""
        witness, pause = Witness(), made(threading.Event)
        try:
            computing = 0
            for _ in range(_LOOKS):
                computing += witness.state(self._native_id) in ("running", "gil")
                pause.wait(_LOOK_EVERY / _LOOKS)
        finally:
            witness.close()
        return "cpu" if computing > _LOOKS / 2 else "blocked"

    def waits_at(self) -> Stack:
        """Return the stack of the suspended request."""
        return suspended_stack(self._coroutine)

    def cancel(self) -> None:
        """Cancel the request soon; from any thread."""
        # A loop that is closed has no request.
        with contextlib.suppress(RuntimeError):
            self.tasks.call_soon_threadsafe(self.scope.cancel)

    def interrupt(self) -> None:
        """Interrupt the callback of the request, if one runs."""
        raise_within(_Observed.__call__.__code__, self.thread_ident, LoopStuck)


class _Observed:
    """An application whose requests are recorded, pass through a door, and can be ended."""

    def __init__(self, app: ASGIApp, clients: TestClients) -> None:
        self._app = app
        self._clients = clients

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        serving = self._clients.requests.serve(self._app, scope, receive, send, COPY.get())
        call = Call(serving)
        self._clients.calls.add(call)
        try:
            with call.scope:
                await serving
        except LoopStuck:
            # A BaseException would end the client's whole loop.
            raise TimeoutError("the test has timed out") from None
        finally:
            self._clients.calls.discard(call)
