"""Giving up tasks that ignore their cancellation, so that the loop runs on and ends without them.

Neither asyncio nor trio can end such a task, and both wait for it before a loop is closed. A task
that is given up stays suspended where it is. None of its code runs again, no ``finally`` either:
code that swallows every exception would run for ever.
"""

from __future__ import annotations

import asyncio
import ctypes
import types
from collections.abc import Generator, Iterator
from typing import Any


def _keep(thing: Any) -> None:
    """Keep ``thing`` for ever: a coroutine that is freed is closed, which runs its code."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def give_up_on_asyncio(task: Any) -> None:
    """Give up a suspended task of asyncio; on its loop's thread."""
    _keep(task)
    asyncio.tasks._unregister_task(task)
    task._log_destroy_pending = False
    awaited = task._fut_waiter
    for callback, _ in getattr(awaited, "_callbacks", None) or ():
        if getattr(callback, "__self__", None) is task:
            awaited.remove_done_callback(callback)


def give_up_on_trio(task: Any) -> list[Any]:
    """Give up a suspended task of trio and all below it, in another task; return the coroutines."""
    coroutines = []
    for one in list(_tree(task)):
        coroutines.append(one.coro)
        _keep(one.coro)
        # Trio runs this coroutine instead, which ends at once.
        one.coro = _nothing()
        one.coro.send(None)
        if one._next_send_fn is not None:
            one._next_send_fn = one.coro.send
        elif one._abort_func is not None:
            # Where this fails, the task waits for its children or a thread and ends with them.
            one._attempt_abort(_wake)
    return coroutines


def _tree(task: Any) -> Iterator[Any]:
    """Yield a trio task and all tasks below it, each after its own children."""
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            yield from _tree(child)
    yield task


@types.coroutine
def _once() -> Generator[None, Any, None]:
    yield


async def _nothing() -> None:
    await _once()


class _GivenUp(BaseException):
    """Resumes a task that is given up; no code sees it."""


def _wake() -> None:
    raise _GivenUp
