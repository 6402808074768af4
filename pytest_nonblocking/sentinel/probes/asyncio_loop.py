"""The probe for asyncio's own loops: times every ``Handle._run`` and the selector."""

from __future__ import annotations

import asyncio
import threading
from asyncio import events
from collections.abc import Callable
from typing import Any

from ...clocks import CLOCKS
from .probe import COPY, Origin, Probe


class LoopProbe(Probe):
    """The common part of the probes for loops with asyncio's interface."""

    def __init__(self, loop: asyncio.AbstractEventLoop, notice: float) -> None:
        self._loop = loop
        super().__init__(notice)

    def call_soon(self, action: Callable[[], None]) -> None:
        """Call ``action`` in the next iteration."""
        self._loop.call_soon(action)

    def call_soon_threadsafe(self, action: Callable[[], None]) -> None:
        """Call ``action`` in the next iteration; from any thread."""
        self._loop.call_soon_threadsafe(action)

    def running(self) -> Any:
        """Return the coroutine of the running task."""
        task = asyncio.current_task(self._loop)
        return None if task is None else task.get_coro()

    def coroutines(self) -> list[Any]:
        """Return the coroutines of all tasks."""
        return [task.get_coro() for task in asyncio.all_tasks(self._loop)]


class AsyncioProbe(LoopProbe):
    """Times the asyncio loop of the calling thread."""

    def __init__(self, loop: asyncio.BaseEventLoop, notice: float) -> None:
        self._restore_select: Callable[[], None] | None = None
        super().__init__(loop, notice)

    @property
    def loop_name(self) -> str:
        """The name of the library."""
        return "asyncio"

    def _hook(self) -> None:
        PATCHED_HANDLES.add(self._loop, self)
        self._wrap_selector()

    def _unhook(self) -> None:
        PATCHED_HANDLES.discard(self._loop)
        if self._restore_select is not None:
            self._restore_select()
            self._restore_select = None

    def _wrap_selector(self) -> None:
        selector: Any = self._loop._selector  # type: ignore[attr-defined]  # there is no public API
        original = selector.select
        wall_ns = CLOCKS.wall_ns

        def select(timeout: float | None = None) -> Any:
            # A poll between two batches of callbacks does not wait: it counts as a callback.
            if timeout is not None and timeout <= 0:
                result = original(timeout)
                self.step_ns = wall_ns()
                return result
            self.begin_idle()
            try:
                return original(timeout)
            finally:
                self.end_idle()

        had_own = "select" in vars(selector)

        def restore() -> None:
            if vars(selector).get("select") is not select:
                return
            if had_own:
                selector.select = original
            else:
                del selector.select

        selector.select = select
        self._restore_select = restore

    def _origin(self, step: events.Handle) -> Origin:
        return Origin(coroutine_of(step._callback), step._context.get(COPY))  # type: ignore[attr-defined]

    def runnable_copies(self) -> int | None:
        """Return the number of copies with a callback to run; each ready file counts as one."""
        ready = getattr(self._loop, "_ready", None)
        if ready is None:
            return None
        now = self._loop.time()
        timers = [t for t in getattr(self._loop, "_scheduled", ()) if t.when() <= now]
        copies = {handle._context.get(COPY) for handle in (*ready, *timers)} - {None}
        return len(copies) + len(self._loop._selector.select(0))  # type: ignore[attr-defined]

    def waits_for_files(self) -> bool:
        """Return whether a descriptor is registered besides the loop's wake-up descriptor."""
        try:
            return len(self._loop._selector.get_map()) > 1  # type: ignore[attr-defined]
        except (AttributeError, TypeError):
            return True  # closed meanwhile, or a selector of another kind

    @property
    def default_executor(self) -> Any:
        """The executor of ``run_in_executor(None, …)``."""
        return getattr(self._loop, "_default_executor", None)


def coroutine_of(callback: Any) -> Any:
    """Return the coroutine of the task that ``callback`` resumes, None for any other callback."""
    task = getattr(callback, "__self__", None)
    if not isinstance(task, asyncio.Task) or task.done():
        return None
    return task.get_coro()


class _PatchedHandles:
    """The patch of ``asyncio.Handle._run``, present while any probe or watcher is installed."""

    def __init__(self) -> None:
        self._probes: dict[asyncio.AbstractEventLoop, AsyncioProbe] = {}
        self._watchers: list[Callable[[asyncio.AbstractEventLoop], None]] = []
        self._original: Callable[[events.Handle], None] | None = None
        self._lock = threading.Lock()

    def add(self, loop: asyncio.AbstractEventLoop, probe: AsyncioProbe) -> None:
        with self._lock:
            self._probes[loop] = probe
            self._patch()

    def discard(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            self._probes.pop(loop, None)
            self._unpatch()

    def watch(self, watcher: Callable[[asyncio.AbstractEventLoop], None]) -> None:
        """Call ``watcher`` after every callback of every loop without a probe, on its thread."""
        with self._lock:
            self._watchers = [*self._watchers, watcher]
            self._patch()

    def unwatch(self, watcher: Callable[[asyncio.AbstractEventLoop], None]) -> None:
        with self._lock:
            self._watchers = [other for other in self._watchers if other != watcher]
            self._unpatch()

    def _patch(self) -> None:
        if self._original is None:
            self._original = events.Handle._run
            events.Handle._run = self._timed(self._original)  # type: ignore[method-assign,assignment]  # it is the patch

    def _unpatch(self) -> None:
        if not self._probes and not self._watchers and self._original is not None:
            events.Handle._run = self._original  # type: ignore[method-assign,assignment]  # put back
            self._original = None

    def _timed(self, original: Callable[[events.Handle], None]) -> Callable[[events.Handle], None]:
        probe_of = self._probes.get
        wall_ns = CLOCKS.wall_ns
        handles = self

        def _run(self: events.Handle) -> None:
            original(self)
            probe = probe_of(self._loop)  # type: ignore[attr-defined]
            if probe is not None:
                now = wall_ns()
                if now >= probe.due_ns:
                    probe.tick(now, self)
                else:
                    probe.step_ns = now
            else:
                for watcher in handles._watchers:
                    watcher(self._loop)  # type: ignore[attr-defined]

        return _run


PATCHED_HANDLES = _PatchedHandles()
