"""Giving up tasks that ignore their cancellation, so that the loop runs on and ends without them.

Neither asyncio nor trio can end such a task, and both wait for it before a loop is closed. A task
that is given up stays suspended where it is. None of its code runs again, no ``finally`` either:
code that swallows every exception would run for ever.

Private parts of both libraries are used where they exist. Without them asyncio logs an error if
something wakes the task later, and a trio run may end with an internal error.
"""

from __future__ import annotations

import contextlib
import ctypes
import types
from collections.abc import Generator, Iterator, Sequence
from typing import Any

_OF_TRIO = ("_next_send_fn", "_abort_func", "_attempt_abort", "_child_nurseries")


def _keep(thing: Any) -> None:
    """Keep ``thing`` for ever: a coroutine that is freed is closed, which runs its code."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def give_up_on_asyncio(tasks: Sequence[Any]) -> list[Any]:
    """Give up suspended tasks of asyncio, which then count as done; return their coroutines."""
    coroutines = [task.get_coro() for task in tasks]
    for task, coroutine in zip(tasks, coroutines, strict=True):
        _keep(coroutine)
        _let_sleep(task)
    for task in tasks:
        # A task refuses a result; the future that it also is takes one.
        kinds: list[Any] = [kind for kind in type(task).__mro__ if "set_result" in vars(kind)]
        kinds[-1].set_result(task, None)
    return coroutines


def _let_sleep(task: Any) -> None:
    """Have nothing resume ``task``."""
    awaited: Any = getattr(task, "_fut_waiter", None)
    for callback, _ in getattr(awaited, "_callbacks", None) or ():
        if getattr(callback, "__self__", None) is task:
            awaited.remove_done_callback(callback)
    # A copy, since threads append to it; a list for the reason in ``threads.snapshot``.
    for handle in list(getattr(task.get_loop(), "_ready", ())):
        if getattr(getattr(handle, "_callback", None), "__self__", None) is task:
            handle.cancel()


def give_up_on_trio(task: Any) -> list[Any]:
    """Give up a suspended task of trio and all below it, in another task; return the coroutines."""
    coroutines = []
    for one in list(_tree(task)):
        coroutine = one.coro
        _keep(coroutine)
        with contextlib.suppress(Exception):  # a trio that is unknown: the task stays
            # Trio runs this coroutine instead, which ends at once.
            one.coro = _nothing()
            one.coro.send(None)
            coroutines.append(coroutine)
            _resume(one)
    return coroutines


def _resume(task: Any) -> None:
    if not all(hasattr(task, part) for part in _OF_TRIO):
        import trio

        trio.lowlevel.reschedule(task)
        return
    task._child_nurseries.clear()  # a task that ends within one ends the run
    if task._next_send_fn is not None:
        task._next_send_fn = task.coro.send
    elif task._abort_func is not None:
        # Where this fails, the task waits for its children or a thread and ends with them.
        task._attempt_abort(_wake)


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
