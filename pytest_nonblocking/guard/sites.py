"""One call of a C function: the object that it is a method of, and its arguments.

A profile function gets no arguments, so they are read from the source of the call, if they are
constants or plain variables.
"""

from __future__ import annotations

import ast
import re
from types import FrameType
from typing import Any

from ..originals import linecache

UNKNOWN: Any = object()
"""The value of an argument that cannot be read without side effects."""
_MOST_LINES = 8


class Site:
    """The call of ``function``, a builtin function or method, by the code of ``frame``."""

    __slots__ = ("_call", "frame", "name", "receiver")

    def __init__(self, frame: FrameType, function: Any) -> None:
        self.frame = frame
        self.name: str = function.__name__
        self.receiver: Any = function.__self__
        self._call: ast.Call | bool | None = False

    def argument(self, position: int, keyword: str, default: Any = UNKNOWN) -> Any:
        """Return an argument, ``default`` if the call does not give it, UNKNOWN if unreadable."""
        if self._call is False:
            self._call = _call_in_source(self.frame, self.name)
        call = self._call
        if not isinstance(call, ast.Call):
            return UNKNOWN
        if any(isinstance(one, ast.Starred) for one in call.args):
            return UNKNOWN
        if any(one.arg is None for one in call.keywords):
            return UNKNOWN
        if position < len(call.args):
            return _value(call.args[position], self.frame)
        for given in call.keywords:
            if given.arg == keyword:
                return _value(given.value, self.frame)
        return default


def _call_in_source(frame: FrameType, name: str) -> ast.Call | None:
    """Return the call of ``name`` in the current line, None unless it is the only one there."""
    file, line = frame.f_code.co_filename, frame.f_lineno
    lines = linecache.getlines(file, frame.f_globals)[line - 1 : line + _MOST_LINES]
    if not lines:
        return None
    first = lines[0]
    starts = [found.start() for found in re.finditer(rf"\b{re.escape(name)}\s*\(", first)]
    if len(starts) != 1:
        return None
    text = first[starts[0] :]
    for more in (*lines[1:], ""):
        if (end := _end_of_call(text)) is not None:
            return _parsed(text[:end])
        text += more
    return None


def _end_of_call(text: str) -> int | None:
    depth = 0
    for index, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if letter in ")]}" and depth == 0:
            return index + 1
    return None


def _parsed(text: str) -> ast.Call | None:
    try:
        found = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError):  # a parenthesis in a string, a null byte
        return None
    return found if isinstance(found, ast.Call) else None


def _value(node: ast.expr, frame: FrameType) -> Any:
    """Return the value of a constant, a variable or a plain attribute; UNKNOWN for the rest."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _value(node.operand, frame)
        return -value if isinstance(value, (int, float)) else UNKNOWN
    if isinstance(node, ast.Name):
        for names in (frame.f_locals, frame.f_globals):
            if node.id in names:
                return names[node.id]
    if isinstance(node, ast.Attribute):
        # Not getattr: a property would run the app's code.
        owner = _value(node.value, frame)
        values = getattr(owner, "__dict__", None) if owner is not UNKNOWN else None
        return values.get(node.attr, UNKNOWN) if isinstance(values, dict) else UNKNOWN
    return UNKNOWN
