"""The choice of a probe for the running event loop."""

from __future__ import annotations

import sys
from contextlib import suppress

from ...originals import asyncio
from .asyncio_loop import AsyncioProbe
from .probe import Probe, UnsupportedLoopError
from .uvloop_loop import UvloopProbe


def _always() -> bool:
    return True


def probe_of_running_loop(notice: float) -> Probe:
    """Return a probe for the loop that runs on this thread; raises UnsupportedLoopError.

    ``notice`` is the loop time in seconds from which it records a callback.
    """
    if not getattr(sys, "_is_gil_enabled", _always)():
        # The frames of a thread that runs meanwhile cannot be read safely.
        raise UnsupportedLoopError(
            "in a free-threaded interpreter", "use an interpreter with the GIL"
        )
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return _of_trio(notice)
    if isinstance(loop, asyncio.BaseEventLoop) and hasattr(loop, "_selector"):
        return AsyncioProbe(loop, notice)
    uvloop = sys.modules.get("uvloop")
    if uvloop is not None and isinstance(loop, uvloop.Loop):
        return UvloopProbe(loop, notice)
    raise UnsupportedLoopError(f"{type(loop).__module__}.{type(loop).__qualname__}")


def load_trio() -> None:
    """Load the probe for trio, if that is installed."""
    with suppress(ImportError):
        from . import trio_loop as trio_loop


def _of_trio(notice: float) -> Probe:
    trio = sys.modules.get("trio")
    try:
        if trio is not None:
            trio.lowlevel.current_trio_token()  # in_trio_run() is new in trio 0.27
    except RuntimeError:
        trio = None
    if trio is None:
        raise UnsupportedLoopError(
            "not running here", "call this in a coroutine on asyncio, uvloop or trio"
        )
    from .trio_loop import TrioProbe

    return TrioProbe(notice)
