"""Modules with the functions that they had at start-up, whatever a test puts in their place.

A test that replaces ``anyio.Event``, ``asyncio.all_tasks`` or ``os.listdir`` does so for its app.
These are copies: they do not follow what changes later, such as ``sys.stdout``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    import importlib
    import types

    for _name in (
        *("_thread", "anyio", "asyncio", "gc", "json", "linecache", "os", "signal", "socket"),
        *("statistics", "sys", "threading"),
    ):
        _copy = globals()[_name] = types.ModuleType(_name)
        vars(_copy).update(vars(importlib.import_module(_name)))
