"""The handler of a request, which a router notes as ``scope["endpoint"]``."""

from __future__ import annotations

import functools
from types import FunctionType, MethodType
from typing import Any

from ..model import Frame
from ..sentinel.stacks import ASYNC

_DEEPEST = 50
"""Decorators that are looked through: a function may be wrapped in a circle."""


def handler_of(endpoint: object) -> Frame | None:
    """Return the last line of the function ``endpoint``, None if it is none.

    Starlette's router, and so FastAPI's, notes one. No code of the app's runs here.
    """
    function = _unwrapped(endpoint)
    if not isinstance(function, FunctionType):
        return None
    code = function.__code__
    last = max((line for *_, line in code.co_lines() if line), default=code.co_firstlineno)
    name = getattr(code, "co_qualname", code.co_name)  # CPython 3.11+
    module = str(function.__globals__.get("__name__", ""))
    return Frame(code.co_filename, last, name, module, bool(code.co_flags & ASYNC))


def _unwrapped(endpoint: Any) -> Any:
    for _ in range(_DEEPEST):
        if isinstance(endpoint, functools.partial):
            endpoint = endpoint.func
        elif isinstance(endpoint, MethodType):
            endpoint = endpoint.__func__
        elif isinstance(endpoint, FunctionType) and "__wrapped__" in vars(endpoint):
            endpoint = vars(endpoint)["__wrapped__"]
        else:
            return endpoint
    return None
