"""Where the body of a plain test waits: in its thread, or in the tasks of a loop that it runs."""

from __future__ import annotations

from collections.abc import Iterable

from ..analysis.places import is_lifespan
from ..analysis.user_code import is_user_code
from ..model import Stack
from ..originals import asyncio
from ..sentinel import suspended_stack
from ..sentinel.stacks import thread_stack

_LOOPS = ("asyncio.", "anyio.", "trio.", "starlette.testclient")
"""Modules that run a loop, or wait for one of another thread."""


def waits_of_body(
    thread_ident: int, loops: Iterable[asyncio.AbstractEventLoop] = ()
) -> tuple[Stack, ...]:
    """Return where the plain test on a thread waits; from any thread.

    If the test waits for one of its ``loops``, the user's tasks on it show where.
    """
    stack = thread_stack(thread_ident)
    entered = _entry_into_loop(stack)
    if entered is None:
        return (stack,) if stack else ()
    tasks = (task for loop in loops for task in asyncio.all_tasks(loop))
    waiting = [suspended_stack(task.get_coro()) for task in tasks]
    return tuple(filter(is_of_user, waiting)) or (stack[:entered],)


def is_of_user(stack: Stack) -> bool:
    """Return whether ``stack`` shows the user's code, other than a lifespan."""
    return any(is_user_code(frame.file) for frame in stack) and not any(map(is_lifespan, stack))


def _entry_into_loop(stack: Stack) -> int | None:
    """Return the index of the frame with which the user's innermost code waits for a loop."""
    users = [n for n, frame in enumerate(stack) if is_user_code(frame.file)]
    below = range(users[-1] + 1, len(stack)) if users else ()
    return next((n for n in below if stack[n].module.startswith(_LOOPS)), None)
