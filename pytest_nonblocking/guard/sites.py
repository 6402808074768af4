"""One call of a C function: the object that it is a method of, and its arguments.

A profile function gets no arguments, so they are read from the source of the call, if they are
constants or plain variables.
"""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any

from ..originals import linecache

UNKNOWN: Any = object()
"""The value of an argument that cannot be read without side effects."""
_UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
"""What parsing raises for a file that is not what runs."""


class Site:
    """The call of ``function``, a builtin function or method, that the code of ``frame`` begins."""

    __slots__ = ("_call", "_function", "frame", "name", "receiver")

    def __init__(self, frame: FrameType, function: Any) -> None:
        self.frame = frame
        self.name: str = function.__name__
        self.receiver: Any = function.__self__
        self._function = function
        self._call: ast.Call | bool | None = False

    def argument(self, position: int, keyword: str, default: Any = UNKNOWN) -> Any:
        """Return an argument, ``default`` if the call does not give it, UNKNOWN if unreadable."""
        if self._call is False:
            self._call = _call_in_source(self.frame, self._function)
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


def _call_in_source(frame: FrameType, function: Any) -> ast.Call | None:
    """Return the call of ``function`` that ``frame`` is at, None if the source does not show it."""
    if function.__name__.startswith("__"):  # a statement such as `with` makes it
        return None
    lines = linecache.getlines(frame.f_code.co_filename, frame.f_globals)
    span = _span(frame)
    return _only_call(lines, frame, function) if span is None else _call_at(lines, *span)


def _span(frame: FrameType) -> tuple[int, int, int, int] | None:
    """Return the first and last line and column of the call, None where code has no columns."""
    if sys.version_info >= (3, 11):
        positions = itertools.islice(frame.f_code.co_positions(), frame.f_lasti // 2, None)
        first, last, begin, end = next(positions)
        if first and last and begin is not None and end is not None:
            return first, last, begin, end
    return None


def _call_at(lines: Sequence[str], first: int, last: int, begin: int, end: int) -> ast.Call | None:
    taken = [line.encode(errors="replace") for line in lines[first - 1 : last]]  # columns are bytes
    if not taken:
        return None
    taken[-1] = taken[-1][:end]
    taken[0] = taken[0][begin:]
    return _parsed(b"".join(taken).decode(errors="replace"))


@functools.lru_cache(maxsize=1024)
def _parsed(text: str) -> ast.Call | None:
    try:
        found = ast.parse(f"({text})", mode="eval").body
    except _UNREADABLE:
        return None
    return found if isinstance(found, ast.Call) else None


def _only_call(lines: Sequence[str], frame: FrameType, function: Any) -> ast.Call | None:
    """Return the one call in the current line whose callee is ``function``, or the only one."""
    calls = _calls_by_line("".join(lines)).get(frame.f_lineno, [])
    if len(calls) > 1:
        calls = [call for call in calls if _is_callee(call.func, frame, function)]
    return calls[0] if len(calls) == 1 else None


@functools.lru_cache(maxsize=64)
def _calls_by_line(source: str) -> Mapping[int, list[ast.Call]]:
    """Return the calls of a file by the lines at which a frame may be during them."""
    found: defaultdict[int, list[ast.Call]] = defaultdict(list)
    try:
        tree = ast.parse(source)
    except _UNREADABLE:
        return found
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            for line in {node.lineno, node.func.end_lineno or node.lineno}:
                found[line].append(node)
    return found


def _is_callee(node: ast.expr, frame: FrameType, function: Any) -> bool:
    if _value(node, frame) is function:
        return True
    if not isinstance(node, ast.Attribute) or node.attr != function.__name__:
        return False
    return _value(node.value, frame) is function.__self__


def _value(node: ast.expr, frame: FrameType) -> Any:
    """Return the value of a constant, a variable or a plain attribute; UNKNOWN for the rest."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _value(node.operand, frame)
        return -value if isinstance(value, (int, float)) else UNKNOWN
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        left, right = _value(node.left, frame), _value(node.right, frame)
        return left | right if isinstance(left, int) and isinstance(right, int) else UNKNOWN
    if isinstance(node, ast.Name):
        for names in (frame.f_locals, frame.f_globals):
            if node.id in names:
                return names[node.id]
    if isinstance(node, ast.Attribute):
        owner = _value(node.value, frame)
        # Not getattr: a property would run the app's code.
        value = UNKNOWN if owner is UNKNOWN else inspect.getattr_static(owner, node.attr, UNKNOWN)
        return UNKNOWN if hasattr(type(value), "__get__") else value
    return UNKNOWN
