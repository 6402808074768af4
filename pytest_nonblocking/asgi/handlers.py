"""The handler of a request, which a router notes as ``scope["endpoint"]``."""

from __future__ import annotations

import functools
from types import FunctionType, MethodType
from typing import Any

from ..model import Frame
from ..sentinel.stacks import frame_at

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
    last = max((line for *_, line in code.co_lines() if line), default=None)
    return frame_at(code, last, function.__globals__)


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
