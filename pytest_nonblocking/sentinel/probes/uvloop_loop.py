"""The probe for uvloop: times every callback that is scheduled on the loop.

uvloop has no hook for its sleep: between two callbacks, time off the CPU counts as sleep. That
includes waits in a protocol's ``data_received``, which libuv calls directly.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from ...clocks import CLOCKS
from ...originals import asyncio, gc
from .asyncio_loop import LoopProbe, coroutine_of
from .probe import COPY, Origin, Probe
from .shared import Several, SharedHooks, as_one

_TAKES_CALLBACK_AT = {
    "call_soon": 0,
    "call_soon_threadsafe": 0,
    "call_later": 1,
    "call_at": 1,
    "add_reader": 1,
    "add_writer": 1,
}
_SLEEP_NS = 50_000
"""Gap between callbacks from which the loop may have slept; within an iteration it is 1-2 us."""


class _Call(NamedTuple):
    """A callback that has just returned, and the copy of its context."""

    callback: Callable[..., object]
    copy: int | None


class UvloopProbe(LoopProbe):
    """Times the uvloop of the calling thread."""

    @property
    def loop_name(self) -> str:
        """The name of the library."""
        return "uvloop"

    @property
    def default_executor(self) -> Any:
        """The executor of ``run_in_executor(None, …)``, found through the garbage collector."""
        kept = gc.get_referents(self._loop)
        return next((one for one in kept if isinstance(one, ThreadPoolExecutor)), None)

    def _hook(self) -> None:
        HOOKS.add(self._loop, self)
        # The running callback is not wrapped: it ends, at the latest, with the next one.
        self._loop.call_soon(_nothing)

    def _unhook(self) -> None:
        HOOKS.discard(self._loop, self)

    def _origin(self, step: _Call) -> Origin:
        return Origin(coroutine_of(step.callback), step.copy)


def _nothing() -> None:
    """Do nothing."""


class _Hooks(SharedHooks):
    """The wrapped methods of all loops with a probe."""

    def __init__(self) -> None:
        super().__init__()
        self._hooks: dict[asyncio.AbstractEventLoop, _LoopHook] = {}

    def _serve(self, loop: asyncio.AbstractEventLoop, probes: tuple[Probe, ...]) -> None:
        hook = self._hooks.get(loop)
        if hook is None:
            hook = self._hooks[loop] = _LoopHook(loop)
            hook.install()
        hook.probe = as_one(probes)
        if hook.probe is None:
            self._hooks.pop(loop).remove()


class _LoopHook:
    """Wraps the methods of one loop that take a callback; passes the callbacks on to ``probe``.

    They are wrapped on the instance, where tasks and futures find them; other loops are not
    affected.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ours: dict[str, Callable[..., Any]] = {}
        self._before: dict[str, Any] = {}  # wrapped on the instance before us
        self.probe: Probe | Several | None = None

    def install(self) -> None:
        """Wrap the methods."""
        self._before = vars(self._loop).copy()
        for name, position in _TAKES_CALLBACK_AT.items():
            self._ours[name] = self._taking(getattr(self._loop, name), position)
            setattr(self._loop, name, self._ours[name])

    def remove(self) -> None:
        """Unwrap the methods, unless someone else has wrapped them again."""
        for name, ours in self._ours.items():
            if vars(self._loop).get(name) is not ours:
                continue
            if name in self._before:
                setattr(self._loop, name, self._before[name])
            else:
                delattr(self._loop, name)

    def _taking(self, original: Callable[..., Any], position: int) -> Callable[..., Any]:
        def take(*args: Any, **kwargs: Any) -> Any:
            if len(args) <= position:  # passed by keyword, as only user code may do
                return original(*args, **kwargs)
            before, callback, after = args[:position], args[position], args[position + 1 :]
            return original(*before, self._timed(callback), *after, **kwargs)

        return take

    def _timed(self, callback: Callable[..., object]) -> Callable[..., object]:
        wall_ns = CLOCKS.wall_ns

        def call(*args: Any) -> object:
            probe = self.probe
            if probe is None:
                return callback(*args)
            now = wall_ns()
            if probe.idle and now - probe.step_ns >= _SLEEP_NS:
                probe.tick(now, None, now - probe.step_ns)
            probe.idle = False
            try:
                return callback(*args)
            finally:
                if (probe := self.probe) is not None:
                    now = wall_ns()
                    if now >= probe.due_ns:
                        probe.tick(now, _Call(callback, COPY.get()))
                    else:
                        probe.step_ns = now
                    probe.idle = True

        return call


HOOKS = _Hooks()
