"""The probe for asyncio's own loops: times every ``Handle._run`` and the selector."""

from __future__ import annotations

from asyncio import events
from collections import Counter
from collections.abc import Callable
from typing import Any

from ...clocks import CLOCKS
from ...originals import asyncio
from ..awaited import Walk, awaited_on_asyncio
from .probe import COPY, Origin, Probe, UnsupportedLoopError
from .shared import Several, SharedHooks, as_one


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

    def tasks(self) -> dict[Any, Any]:
        """Return all tasks, and the coroutine of each."""
        return {task: task.get_coro() for task in asyncio.all_tasks(self._loop)}

    def awaited(self, task: Any, walk: Walk) -> list[Any]:
        """Return the tasks that ``task`` waits for."""
        return awaited_on_asyncio(task, walk)


class AsyncioProbe(LoopProbe):
    """Times the asyncio loop of the calling thread."""

    callback = getattr(events.Handle._run, "__code__", None)

    @property
    def loop_name(self) -> str:
        """The name of the library."""
        return "asyncio"

    def _hook(self) -> None:
        PATCHES.add(self._loop, self)

    def _unhook(self) -> None:
        PATCHES.discard(self._loop, self)

    def _origin(self, step: events.Handle) -> Origin:
        return Origin(coroutine_of(step._callback), step._context.get(COPY))  # type: ignore[attr-defined]

    def runnable_copies(self) -> int | None:
        """Return the number of copies with a callback to run.

        Each ready file counts as one, and each callback of no copy: a thread that ends a copy's
        wait posts one (38 of 50, under a driver with a thread for each connection).
        """
        ready = getattr(self._loop, "_ready", None)
        if ready is None:
            return None
        now = self._loop.time()
        timers = [t for t in getattr(self._loop, "_scheduled", ()) if t.when() <= now]
        waiting = [handle for handle in (*ready, *timers) if not handle.cancelled()]
        copies = Counter(handle._context.get(COPY) for handle in waiting)
        others = copies.pop(None, 0) + len(self._loop._selector.select(0))  # type: ignore[attr-defined]
        return len(copies) + others

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


Watcher = Callable[[asyncio.AbstractEventLoop], None]


class _Patches(SharedHooks):
    """The patches of ``asyncio.Handle._run`` and of the selectors of the loops with a probe.

    Each is undone when nobody needs it any more. One that someone else has patched meanwhile stays
    below theirs, and does nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self._probe_of: dict[asyncio.AbstractEventLoop, Probe | Several] = {}
        self._begun: set[asyncio.AbstractEventLoop] = set()
        self._watchers: tuple[Watcher, ...] = ()
        self._handles: _Handles | None = None
        self._selectors: dict[asyncio.AbstractEventLoop, Callable[[], None]] = {}

    def watch(self, watcher: Watcher) -> None:
        """Call ``watcher`` before every callback of every loop without a probe, on its thread."""
        with self._lock:
            self._watchers = (*self._watchers, watcher)
            self._patch()

    def unwatch(self, watcher: Watcher) -> None:
        """Undo ``watch``."""
        with self._lock:
            self._watchers = tuple(other for other in self._watchers if other != watcher)
            self._patch()

    def _serve(self, loop: asyncio.AbstractEventLoop, probes: tuple[Probe, ...]) -> None:
        probe = as_one(probes)
        if probe is not None:
            self._probe_of[loop] = probe
            self._begun.add(loop)
            self._patch()
            if loop not in self._selectors:
                self._selectors[loop] = self._wrap_selector(loop)
            return
        self._probe_of.pop(loop, None)
        self._begun.discard(loop)
        self._patch()
        self._selectors.pop(loop, lambda: None)()

    def _patch(self) -> None:
        """Put the variant of ``Handle._run`` in place that is needed now."""
        if not self._probe_of and not self._watchers:
            if self._handles is not None and not self._handles.restore():
                self._probe_of, self._begun = {}, set()  # what stays in place finds no probe
            self._handles = None
            return
        if self._handles is None:
            self._handles = _Handles(self._probe_of, self._begun, self._meet)
        self._handles.use(asks=bool(self._begun or self._watchers))

    def _meet(self, loop: asyncio.AbstractEventLoop) -> None:
        """Call the watchers; end the callback in which a probe was installed, if one was."""
        if loop not in self._probe_of:
            for watcher in self._watchers:
                watcher(loop)
        if loop in self._begun:
            now = CLOCKS.wall_ns()
            with self._lock:
                self._begun.discard(loop)
                for probe in self._probes.get(loop, ()):
                    probe.tick(now, None)
                self._patch()

    def _wrap_selector(self, loop: asyncio.AbstractEventLoop) -> Callable[[], None]:
        """Wrap the selector of ``loop``; return the function that undoes it."""
        selector: Any = loop._selector  # type: ignore[attr-defined]  # there is no public API
        original = selector.select
        probe_of, begun, meet = self._probe_of.get, self._begun, self._meet
        wall_ns = CLOCKS.wall_ns

        def select(timeout: float | None = None) -> Any:
            if begun:
                meet(loop)
            probe = probe_of(loop)
            if probe is None:
                return original(timeout)
            # A poll between two batches of callbacks does not wait: it counts as a callback.
            if timeout is not None and timeout <= 0:
                result = original(timeout)
                probe.step_ns = wall_ns()
                return result
            probe.begin_idle()
            try:
                return original(timeout)
            finally:
                if (probe := probe_of(loop)) is not None:
                    probe.end_idle()

        # Past any ``__setattr__``. What has slots, or a property of this name, stays as it is.
        own = getattr(selector, "__dict__", {})
        before = own.copy()

        def restore() -> None:
            if own.get("select") is not select:
                return
            del own["select"]
            if "select" in before:
                own["select"] = original

        own["select"] = select
        if selector.select is select:
            return restore
        restore()
        return _put_before(loop, select)


class _StandIn:
    """A selector that differs from another one in ``select`` only."""

    def __init__(self, selector: Any, select: Callable[[float | None], Any]) -> None:
        self._selector = selector
        self.select = select

    def __getattr__(self, name: str) -> Any:
        return getattr(self._selector, name)


def _put_before(
    loop: asyncio.AbstractEventLoop, select: Callable[[float | None], Any]
) -> Callable[[], None]:
    """Have ``loop`` use a selector in front of its own; return the function that undoes it."""
    inside: Any = loop
    selector = inside._selector
    stand_in = _StandIn(selector, select)

    def restore() -> None:
        if inside._selector is stand_in:  # None once the loop is closed
            inside._selector = selector

    try:
        inside._selector = stand_in
    except Exception:
        raise UnsupportedLoopError(
            f"{type(loop).__module__}.{type(loop).__qualname__} with a selector that can be "
            "neither timed nor replaced",
            "use asyncio's own loop, or a selector of the module `selectors`",
        ) from None
    return restore


class _Handles:
    """One patch of ``asyncio.Handle._run``, in two variants.

    The faster one only times callbacks. The other one calls ``meet`` before a callback of a loop
    without a probe, and as long as ``begun`` holds a loop whose running callback is not patched.
    """

    def __init__(
        self,
        probes: dict[asyncio.AbstractEventLoop, Probe | Several],
        begun: set[asyncio.AbstractEventLoop],
        meet: Watcher,
    ) -> None:
        self._original = original = events.Handle._run
        probe_of, wall_ns = probes.get, CLOCKS.wall_ns

        def timed(self: events.Handle) -> None:
            original(self)
            probe = probe_of(self._loop)  # type: ignore[attr-defined]  # there is no public API
            if probe is not None:
                now = wall_ns()
                if now >= probe.due_ns:
                    probe.tick(now, self)
                else:
                    probe.step_ns = now

        def met(self: events.Handle) -> None:
            loop = self._loop  # type: ignore[attr-defined]  # there is no public API
            if begun or probe_of(loop) is None:
                meet(loop)
            timed(self)

        self._variants = (timed, met)

    def use(self, asks: bool) -> None:
        """Put a variant in place, unless someone else has patched over ours."""
        if events.Handle._run in (self._original, *self._variants):
            events.Handle._run = self._variants[asks]  # type: ignore[method-assign]  # it is the patch

    def restore(self) -> bool:
        """Undo the patch; return whether nobody else has patched over it."""
        ours = events.Handle._run in self._variants
        if ours:
            events.Handle._run = self._original  # type: ignore[method-assign]  # put back
        return ours


PATCHES = _Patches()
