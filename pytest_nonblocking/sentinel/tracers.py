"""Coverage tools, debuggers and profilers that slow this thread's Python down.

Their cost depends on the traced files and cannot be measured from outside, so runs are made without
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from ..originals import sys, threading

_TOOLS = range(6)  # tool ids of sys.monitoring; 6 and 7 are reserved for settrace and setprofile


_Functions = tuple[Any, Any]


class _Monitor(NamedTuple):
    """A tool registered with sys.monitoring, and its set of events."""

    name: str
    number: int
    events: int


def active() -> str | None:
    """Return the name of what traces the calling thread, None if nothing does."""
    for function in (sys.gettrace(), sys.getprofile()):
        if function is not None:
            kind = function if hasattr(function, "__qualname__") else type(function)
            return f"{kind.__module__}.{kind.__qualname__}"
    tools = [monitor.name for monitor in _monitors()]
    return f"sys.monitoring ({', '.join(tools)})" if tools else None


@contextmanager
def suspended() -> Iterator[str | None]:
    """Suspend all tracers, also for new threads, and yield the name of what was active.

    Leave the block in the frame in which it was entered, so that a tracer that follows calls and
    returns finds the stack as deep as it was.
    """
    tracer = active()
    if tracer is None:
        yield None
        return
    here = sys.gettrace(), sys.getprofile()
    new_threads = threading.gettrace(), threading.getprofile()
    monitors = _monitors()
    try:
        _set_traces((None, None), here)
        _set_new_threads((None, None), new_threads)
        for monitor in monitors:
            _set_events(monitor.number, 0)
        yield tracer
    finally:
        for monitor in monitors:
            _set_events(monitor.number, monitor.events)
        _set_new_threads(new_threads, new_threads)
        _set_traces(here, here)


def _set_traces(wanted: _Functions, had: _Functions) -> None:
    # Only if there was a function: some debuggers warn about any call of settrace.
    if had[1] is not None:
        _switch(sys.setprofile, wanted[1], had[1])
    if had[0] is not None:
        _switch(sys.settrace, wanted[0], had[0])


def _switch(put: Callable[[Any], None], wanted: Any, had: Any) -> None:
    """Take ``had`` away from this thread, or put it back.

    What is written in C, such as cProfile before CPython 3.12, need not be callable: only its own
    methods put it back. Without them it stays.
    """
    if callable(had):
        put(wanted)
    elif (switch := getattr(had, "disable" if wanted is None else "enable", None)) is not None:
        switch()


def _set_new_threads(wanted: _Functions, had: _Functions) -> None:
    if had[1] is not None:
        threading.setprofile(wanted[1])
    if had[0] is not None:
        threading.settrace(wanted[0])


if sys.version_info >= (3, 12):

    def _monitors() -> list[_Monitor]:
        """Return the tools with global events."""
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
