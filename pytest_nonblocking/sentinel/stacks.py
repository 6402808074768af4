"""Stacks of threads, and places where suspended tasks wait.

Nothing here reads a source file, and no frame object outlives the call that looked at it.
"""

from __future__ import annotations

import gc
import itertools
import operator
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import CodeType, FrameType
from typing import Any, NamedTuple

from ..model import Frame, Stack

_DEEPEST = 200
_AWAITS = {"cr": "cr_await", "gi": "gi_yieldfrom", "ag": "ag_await"}


class _Look(NamedTuple):
    """What is told of one frame: nothing that keeps it alive."""

    code: CodeType
    line: int | None
    namespace: dict[str, Any]


_look_at = operator.attrgetter("f_code", "f_lineno", "f_globals")


def _described(look: _Look) -> Frame:
    code = look.code
    return Frame(
        code.co_filename,
        look.line or code.co_firstlineno,
        getattr(code, "co_qualname", code.co_name),  # CPython 3.11 and later
        str(look.namespace.get("__name__", "")),
    )


def _without_collection(collect: Callable[[Iterator[Any]], None], looks: Iterator[Any]) -> None:
    """Have ``collect`` take ``looks`` without a collection meanwhile, on CPython before 3.12.

    There ``sys._current_frames`` holds a lock of the runtime and may begin one. Its callbacks can
    let go of the GIL, and a thread that is being started then waits for that lock with the GIL, for
    ever (gh-106883; seen once in 1,000 verdicts under load). Later versions never begin a
    collection while they allocate.
    """
    collects = gc.isenabled() and sys.version_info < (3, 12)
    if collects:
        gc.disable()
    try:
        _at_once(collect, looks)
    finally:
        if collects:
            gc.enable()


def _at_once(collect: Callable[[Iterator[Any]], None], looks: Iterator[Any]) -> None:
    with suppress(AttributeError):  # None follows the outermost frame
        collect(looks)


def _thread_frames(ident: int) -> list[_Look]:
    """Return what the frames of a thread tell, the innermost first; nothing for one that is gone.

    One call of ``extend`` does it all, in C, so that no other thread runs meanwhile. CPython 3.11
    was seen to crash where the thread went on while its frames were walked one by one in Python
    (once in 5,000 verdicts), and to give another object for a frame's code.
    """
    now = itertools.starmap(sys._current_frames, ((),))
    innermost = map(operator.methodcaller("get", ident), now)
    outwards = itertools.repeat("f_back", _DEEPEST - 1)
    frames = itertools.accumulate(itertools.chain(innermost, outwards), getattr)
    found: list[tuple[CodeType, int | None, dict[str, Any]]] = []
    _without_collection(found.extend, map(_look_at, frames))
    return [_Look(*look) for look in found]


def _thread_idents() -> set[int]:
    idents: set[int] = set()
    now = itertools.starmap(sys._current_frames, ((),))
    _without_collection(idents.update, itertools.chain.from_iterable(now))
    return idents


def thread_stack(thread_ident: int) -> Stack:
    """Return the stack of the thread with the identifier given, empty where it has none."""
    return tuple(map(_described, reversed(_thread_frames(thread_ident))))


def other_thread_stacks(excluded: set[int]) -> list[Stack]:
    """Return the stacks of all threads but those with the identifiers given."""
    return [thread_stack(ident) for ident in _thread_idents() - excluded]


def is_in(code: CodeType, thread_ident: int) -> bool:
    """Return whether a call of ``code`` is in the stack of the thread."""
    return any(look.code is code for look in _thread_frames(thread_ident))


def _kind(awaitable: Any) -> str | None:
    return next((kind for kind, awaits in _AWAITS.items() if hasattr(awaitable, awaits)), None)


def suspended_frames(awaitable: Any) -> Iterator[FrameType]:
    """Walk down the chain of what a suspended coroutine awaits, outermost frame first."""
    for _ in range(_DEEPEST):
        kind = _kind(awaitable)
        if kind is None:
            # The step of an asynchronous generator, or what wraps a coroutine made by Cython: it
            # tells what it waits for to nobody but the collector.
            inner = (one for one in gc.get_referents(awaitable) if _kind(one) is not None)
            awaitable = next(inner, None)
            kind = _kind(awaitable)
        if kind is None:
            return
        frame = getattr(awaitable, f"{kind}_frame")
        if frame is not None:
            yield frame
        awaitable = getattr(awaitable, _AWAITS[kind])


def suspended_stack(coroutine: Any) -> Stack:
    """Return where a suspended coroutine waits, its outermost frame first."""
    frames = suspended_frames(coroutine)
    return tuple(_described(_Look(*_look_at(frame))) for frame in frames)
