"""Modules with the functions that they had at start-up, whatever a test puts in their place.

A test that replaces ``anyio.Event``, ``asyncio.all_tasks`` or ``os.listdir`` does so for its app.
These are copies: they do not follow what changes later, such as ``sys.stdout``.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

_T = TypeVar("_T")
_DELETED = object()

if TYPE_CHECKING:
    import _thread as _thread
    import asyncio as asyncio
    import gc as gc
    import json as json
    import linecache as linecache
    import os as os
    import signal as signal
    import socket as socket
    import statistics as statistics
    import sys as sys
    import threading as threading

    import anyio as anyio
else:
    import types

    for _name in (
        *("_thread", "anyio", "asyncio", "gc", "json", "linecache", "os", "signal", "socket"),
        *("statistics", "sys", "threading"),
    ):
        _copy = globals()[_name] = types.ModuleType(_name)
        vars(_copy).update(vars(importlib.import_module(_name)))


@contextlib.contextmanager
def as_before(module: ModuleType) -> Iterator[None]:
    """Have the standard library itself see ``module``, one of the copies above, as it was.

    What it makes there looks names up in the real module: a thread needs ``threading.Event``, a
    scope of anyio ``asyncio.current_task``. The block must not call the user's code, and may wait
    only for a thread of ours to begin.
    """
    real, before = vars(importlib.import_module(module.__name__)), vars(module)
    changed = {
        name: real.get(name, _DELETED)
        for name, value in before.items()
        if not name.startswith("_") and real.get(name, _DELETED) is not value
    }
    real.update({name: before[name] for name in changed})
    try:
        yield
    finally:
        for name, value in changed.items():
            if value is _DELETED:
                del real[name]
            else:
                real[name] = value


def made(kind: Callable[..., _T], **arguments: object) -> _T:
    """Return what anyio or threading makes, whatever a test has put into asyncio or threading."""
    with as_before(asyncio), as_before(threading):
        return kind(**arguments)
