"""Stacks of threads and of suspended tasks.

Nothing here reads source files, and no reference to a frame outlives the call that read it.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_ITERABLE_COROUTINE
from types import CodeType, CoroutineType, FrameType
from typing import Any, NamedTuple

from ..model import Frame, Stack
from ..originals import gc, sys
from ..threads import raising
from .instructions import acquires_a_lock

Spot = tuple[int, ...]
DEEPEST = 200
"""Frames of a stack that are read."""
ASYNC = CO_COROUTINE | CO_ITERABLE_COROUTINE | CO_ASYNC_GENERATOR
_AWAITS = {"cr": "cr_await", "gi": "gi_yieldfrom", "ag": "ag_await"}


class _Look(NamedTuple):
    """The data of one frame, without a reference that keeps it alive."""

    code: CodeType
    line: int | None
    namespace: dict[str, Any]


_look_at = operator.attrgetter("f_code", "f_lineno", "f_globals")
_spot_at = operator.attrgetter("f_code", "f_lasti")
_code_of = operator.attrgetter("f_code")
_instruction_of = operator.attrgetter("f_lasti")


def frame_at(code: CodeType, line: int | None, namespace: dict[str, Any]) -> Frame:
    """Return the frame of ``code`` at ``line``; ``namespace`` is that of its module."""
    return Frame(
        code.co_filename,
        line or code.co_firstlineno or 1,  # generated code may have no lines
        getattr(code, "co_qualname", code.co_name),  # CPython 3.11+
        str(namespace.get("__name__", "")),
        bool(code.co_flags & ASYNC),
    )


def _described(look: _Look) -> Frame:
    return frame_at(*look)


_ONCE: tuple[tuple[()]] = ((),)
"""What calls a function once, without arguments, in ``itertools.starmap``."""
_call = operator.methodcaller("__call__")
_AFTERWARDS = (bool, gc.enable)
"""What to call where garbage collection was off, and where it was on."""


def _without_collection(collect: Callable[[Iterator[Any]], None], looks: Iterator[Any]) -> None:
    """Have ``collect`` consume ``looks`` with garbage collection disabled on CPython before 3.12.

    There ``sys._current_frames`` may start a collection while it holds a lock of the runtime. If a
    collection's callback releases the GIL, a starting thread takes it and waits for that lock
    forever (gh-106883; 1 in 1,000 verdicts under load). CPython 3.12+ does not collect during
    allocations.

    It is all in C: no other thread sees a collector that is off, or has its own change undone.
    """
    if sys.version_info >= (3, 12):
        collect(looks)
        return
    was_on: list[bool] = []
    steps: tuple[Iterator[Any], ...] = (
        map(was_on.append, itertools.starmap(gc.isenabled, _ONCE)),
        itertools.starmap(gc.disable, _ONCE),
        looks,
        map(_call, map(_AFTERWARDS.__getitem__, itertools.starmap(was_on.pop, _ONCE))),
    )
    try:
        _at_once(collect, filter(None, itertools.chain(*steps)))
    finally:
        if any(was_on):  # it failed halfway
            gc.enable()


def _at_once(collect: Callable[[Iterator[Any]], None], looks: Iterator[Any]) -> None:
    collect(looks)  # and nothing else: what is allocated here is no part of the walk


def _callers(innermost: Iterable[FrameType | None], deepest: int = DEEPEST) -> Iterator[FrameType]:
    """Return an iterator, in C, over a frame and those that called it."""
    outwards: Iterator[Any] = itertools.repeat("f_back", deepest - 1)
    frames: Iterator[Any] = itertools.accumulate(itertools.chain(innermost, outwards), getattr)
    return itertools.takewhile(operator.truth, frames)


def _frames_of(ident: int, deepest: int) -> Iterator[FrameType]:
    """Return an iterator, in C, over the frames of a thread, innermost first."""
    now = itertools.starmap(sys._current_frames, _ONCE)
    return _callers(map(operator.methodcaller("get", ident), now), deepest)


def _calls_of(code: CodeType | None, frames: Iterator[FrameType]) -> Iterator[object]:
    """Return an iterator, in C, of true for each frame of ``code``, false for each other one.

    Without ``code`` it is true for each.
    """
    if code is None:
        return map(operator.truth, frames)
    return map(functools.partial(operator.is_, code), map(_code_of, frames))


def _thread_frames(ident: int) -> list[_Look]:
    """Return the frames of a thread, innermost first; empty for a thread that has ended.

    The whole walk is one call of ``extend`` in C, so that no other thread runs meanwhile. Walking
    the frames of a running thread in Python crashed CPython 3.11 (once in 5,000 verdicts) or
    returned a wrong object as a frame's code.
    """
    found: list[tuple[CodeType, int | None, dict[str, Any]]] = []
    _without_collection(found.extend, map(_look_at, _frames_of(ident, DEEPEST)))
    return [_Look(*look) for look in found]


def raise_within(
    code: CodeType | None,
    thread_ident: int,
    error: type[BaseException],
    condition: Iterable[object] = (True,),
) -> None:
    """Raise ``error`` in a thread if it is in a call of ``code`` and ``condition`` yields true.

    The look and the raise are one call in C, as is a ``condition`` that is an iterator of C: the
    call cannot end in between.
    """
    calls = _calls_of(code, _frames_of(thread_ident, sys.maxsize))
    idents = itertools.islice(itertools.compress(itertools.repeat(thread_ident), calls), 1)
    raised: list[int] = []
    _without_collection(raised.extend, raising(itertools.compress(idents, condition), error))


def _thread_idents() -> set[int]:
    idents: set[int] = set()
    now = itertools.starmap(sys._current_frames, _ONCE)
    _without_collection(idents.update, itertools.chain.from_iterable(now))
    return idents


def stack_of(frame: FrameType) -> Stack:
    """Return the stack that ends with ``frame``, which is one of the calling thread."""
    looks = [_Look(*look) for look in map(_look_at, _callers((frame,)))]
    return tuple(map(_described, reversed(looks)))


def thread_stack(thread_ident: int) -> Stack:
    """Return the stack of the thread ``thread_ident``, empty if it has ended."""
    return tuple(map(_described, reversed(_thread_frames(thread_ident))))


def thread_acquires_a_lock(thread_ident: int) -> bool:
    """Return whether the innermost Python code of the thread calls what acquires a lock."""
    found: list[tuple[CodeType, int]] = []
    _without_collection(found.extend, map(_spot_at, _frames_of(thread_ident, 1)))
    return any(itertools.starmap(acquires_a_lock, found))


def other_thread_stacks(excluded: set[int]) -> list[Stack]:
    """Return the stacks of all threads except those with identifiers in ``excluded``."""
    return [thread_stack(ident) for ident in _thread_idents() - excluded]


def is_in(code: CodeType, thread_ident: int) -> bool:
    """Return whether the stack of the thread contains a call of ``code``."""
    calls: list[object] = []
    _without_collection(
        calls.extend, filter(None, _calls_of(code, _frames_of(thread_ident, sys.maxsize)))
    )
    return bool(calls)


def is_called_by(code: CodeType, frame: FrameType | None) -> bool:
    """Return whether ``frame``, one of the calling thread, is within a call of ``code``."""
    return any(_calls_of(code, _callers((frame,), sys.maxsize)))


def _kind(awaitable: Any) -> str | None:
    return next((kind for kind, awaits in _AWAITS.items() if hasattr(awaitable, awaits)), None)


def suspended_frames(awaitable: Any) -> Iterator[FrameType]:
    """Yield the frames of a suspended coroutine and of what it awaits, outermost first."""
    for _ in range(DEEPEST):
        if type(awaitable) is CoroutineType:  # fast: 50 copies have 2,000 of them
            if (frame := awaitable.cr_frame) is not None:
                yield frame
            awaitable = awaitable.cr_await
            continue
        kind = _kind(awaitable)
        if kind is None:
            # The step of an async generator, or the wrapper of a Cython coroutine, exposes what it
            # awaits to the garbage collector only.
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
    """Return the stack of a suspended coroutine, outermost frame first."""
    return _stack_through(suspended_frames(coroutine))


def _stack_through(frames: Iterable[FrameType]) -> Stack:
    return tuple(_described(_Look(*_look_at(frame))) for frame in frames)


def spot_of(walk: Sequence[FrameType]) -> Spot:
    """Return the instructions at which the frames of a suspended coroutine wait, as numbers."""
    return (*map(id, map(_code_of, walk)), *map(_instruction_of, walk))


def count_stacks(walks: Iterable[tuple[Spot, Sequence[FrameType]]]) -> Counter[Stack]:
    """Return how often each stack occurs in ``walks``, the frames of suspended coroutines.

    Each comes with its spot. A stack is described once: most copies of a burst wait at the same
    place.
    """
    walk_at: dict[Spot, Sequence[FrameType]] = {}
    counts: Counter[Spot] = Counter()
    for spot, walk in walks:
        walk_at[spot] = walk
        counts[spot] += 1
    found: Counter[Stack] = Counter()
    for spot, walk in walk_at.items():
        found[_stack_through(walk)] += counts[spot]
    return found
