"""Coverage tools, debuggers and profilers that slow this thread's Python down.

A tracer's cost depends on which files it traces, so it is measured on the scenario itself: alone
with the tracer and alone without it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

_TOOLS = range(6)  # what sys.monitoring has for tools; 6 and 7 are settrace's and setprofile's


class _Monitor(NamedTuple):
    """A tool of sys.monitoring, and the set of its events."""

    name: str
    number: int
    events: int


def active() -> str | None:
    """Return what traces the calling thread, None where nothing does."""
    for function in (sys.gettrace(), sys.getprofile()):
        if function is not None:
            kind = function if hasattr(function, "__qualname__") else type(function)
            return f"{kind.__module__}.{kind.__qualname__}"
    tools = [monitor.name for monitor in _monitors()]
    return f"sys.monitoring ({', '.join(tools)})" if tools else None


@contextmanager
def suspended() -> Iterator[None]:
    """Suspend them; leave the block in the frame in which it was entered.

    A tracer that follows calls and returns sees as many of one as of the other, since the stack
    is then as deep as it was.
    """
    trace, profile = sys.gettrace(), sys.getprofile()
    monitors = _monitors()
    sys.settrace(None)
    sys.setprofile(None)
    for monitor in monitors:
        _set_events(monitor.number, 0)
    try:
        yield
    finally:
        for monitor in monitors:
            _set_events(monitor.number, monitor.events)
        sys.setprofile(profile)
        sys.settrace(trace)


if sys.version_info >= (3, 12):

    def _monitors() -> list[_Monitor]:
        """Return the tools that want events of all code."""
        named = [(sys.monitoring.get_tool(number), number) for number in _TOOLS]
        monitors = [_Monitor(name, n, sys.monitoring.get_events(n)) for name, n in named if name]
        return [monitor for monitor in monitors if monitor.events]

    def _set_events(number: int, events: int) -> None:
        sys.monitoring.set_events(number, events)

else:

    def _monitors() -> list[_Monitor]:
        return []

    def _set_events(number: int, events: int) -> None:
        pass
