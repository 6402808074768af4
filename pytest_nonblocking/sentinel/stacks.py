"""Stacks of threads, places where suspended tasks wait, and whose code a frame is.

Nothing here reads a source file, and no frame object outlives the call that looked at it.
"""

from __future__ import annotations

import functools
import gc
import os
import site
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from ..results import Frame, Stack

_DEEPEST = 200
_AWAITS = {"cr": "cr_await", "gi": "gi_yieldfrom", "ag": "ag_await"}


def _described(frame: FrameType) -> Frame:
    code = frame.f_code
    return Frame(
        code.co_filename,
        frame.f_lineno or code.co_firstlineno,
        getattr(code, "co_qualname", code.co_name),  # CPython 3.11 and later
        str(frame.f_globals.get("__name__", "")),
    )


def walk(innermost: FrameType | None) -> Stack:
    """Return the stack that ends in ``innermost``, outermost frame first."""
    frames: list[Frame] = []
    frame = innermost
    while frame is not None and len(frames) < _DEEPEST:
        # CPython 3.11.7 was once seen to give another object for the code of a frame of a thread
        # that ran on meanwhile.
        if type(frame.f_code) is not CodeType:
            return ()
        frames.append(_described(frame))
        frame = frame.f_back
    frames.reverse()
    return tuple(frames)


if sys.version_info >= (3, 12):
    _current_frames = sys._current_frames
else:

    def _current_frames() -> dict[int, FrameType]:
        """Return the innermost frame of each thread.

        CPython before 3.12 holds a lock of the runtime meanwhile and may begin a collection. Its
        callbacks can let go of the GIL, and a thread that is being started then waits for that
        lock with the GIL, for ever (gh-106883; seen once in 1,000 verdicts under load).
        """
        collects = gc.isenabled()
        gc.disable()
        try:
            return sys._current_frames()
        finally:
            if collects:
                gc.enable()


def thread_stack(thread_ident: int) -> Stack:
    """Return the stack of the thread with the identifier given, empty where it has none."""
    return walk(_current_frames().get(thread_ident))


def other_thread_stacks(excluded: set[int]) -> list[Stack]:
    """Return the stacks of all threads but those with the identifiers given."""
    return [walk(f) for ident, f in _current_frames().items() if ident not in excluded]


def threads_in(code: CodeType) -> set[int]:
    """Return the identifiers of the threads in whose stacks a call of ``code`` is."""
    return {ident for ident, frame in _current_frames().items() if _is_in(code, frame)}


def _is_in(code: CodeType, innermost: FrameType | None) -> bool:
    frame = innermost
    while frame is not None:
        if frame.f_code is code:
            return True
        frame = frame.f_back
    return False


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
    return tuple(_described(frame) for frame in suspended_frames(coroutine))


def _library_roots() -> tuple[str, ...]:
    paths = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    paths.update(getattr(site, "getsitepackages", list)())
    paths.add(site.getusersitepackages())
    roots = {str(Path(path)) for path in paths if path}
    # A version manager may keep the library elsewhere than sysconfig says; a module of it tells.
    roots.add(str(Path(os.__file__).parent))
    roots |= {str(Path(root).resolve()) for root in roots}
    return tuple(_as_folder(root) for root in sorted(roots))


def _as_folder(path: str) -> str:
    return path.replace("\\", "/").rstrip("/") + "/"


_OWN = _as_folder(str(Path(__file__).resolve().parent.parent))
_LIBRARIES = (*_library_roots(), _OWN)
_INSTALLED = ("/site-packages/", "/dist-packages/")


@functools.lru_cache(maxsize=4096)
def is_user_code(file: str) -> bool:
    """Return whether ``file`` is the user's: not installed, not the standard library, not ours."""
    if file.startswith("<"):
        return False
    # Modules made by Cython tell the name that their source had where they were built.
    if not Path(file).is_absolute() and not Path(file).exists():
        return False
    path = file.replace("\\", "/")
    return not (path.startswith(_LIBRARIES) or any(part in path for part in _INSTALLED))


def is_own_code(file: str) -> bool:
    """Return whether ``file`` belongs to this plugin."""
    return file.replace("\\", "/").startswith(_OWN)
