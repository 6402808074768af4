"""Which probe fits the event loop that runs."""

from __future__ import annotations

import asyncio
import sys

from .asyncio_probe import AsyncioProbe
from .probe import Probe


class UnsupportedLoopError(Exception):
    """The running event loop is of a kind whose callbacks cannot be timed."""


def probe_of_running_loop(notice: float) -> Probe:
    """Return a probe for the loop that runs on this thread; raises UnsupportedLoopError.

    ``notice`` is the length in seconds from which it keeps a step for the report.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return _of_trio(notice)
    if isinstance(loop, asyncio.BaseEventLoop) and hasattr(loop, "_selector"):
        return AsyncioProbe(loop, notice)
    uvloop = sys.modules.get("uvloop")
    if uvloop is not None and isinstance(loop, uvloop.Loop):
        from .uvloop_probe import UvloopProbe

        return UvloopProbe(loop, notice)
    raise UnsupportedLoopError(f"{type(loop).__module__}.{type(loop).__qualname__}")


def _of_trio(notice: float) -> Probe:
    trio = sys.modules.get("trio")
    if trio is None or not trio.lowlevel.in_trio_run():
        raise UnsupportedLoopError("neither asyncio's nor trio's")
    from .trio_probe import TrioProbe

    return TrioProbe(notice)
