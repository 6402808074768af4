"""The tasks that a suspended task waits for, so that its wait can be followed to the end."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from types import FrameType
from typing import Any, NamedTuple

from ..originals import asyncio

Walk = tuple[FrameType, ...]
"""The frames of a suspended task, outermost first."""
_HOLDS = {("asyncio.tasks", "wait_for"): "fut", ("asyncio.tasks", "_wait"): "fs"}
"""Functions that wait through a future of their own, and the variable with what they wait for."""
_GROUPS = {
    ("asyncio.taskgroups", "__aexit__"),
    ("asyncio.taskgroups", "_aexit"),
    ("anyio._backends._asyncio", "__aexit__"),
}
_NAMES = {name for _, name in (*_HOLDS, *_GROUPS)}
_SHIELDS = "_outer_done_callback"
_NURSERY = "_nested_child_finished"
_STEPS_A_TASK = 8
"""Steps along all chains for each task: paths through tasks that share others may be countless."""


class Chain(NamedTuple):
    """A task at the end of a chain of waits, and all frames from the chain's start to its own."""

    task: Any
    walk: Walk


def awaited_on_asyncio(task: Any, walk: Walk) -> list[Any]:
    """Return the tasks that ``task`` awaits, and ``task`` if it awaits other futures as well.

    ``walk`` are its frames. What a task awaits is either its future, or held by the function of
    asyncio or anyio in which it waits.
    """
    waiter = getattr(task, "_fut_waiter", None)
    if waiter is None or not walk:
        return []
    futures = _held(waiter, walk[-1])
    awaited = [one for future in futures for one in _seen_through(future)]
    tasks = [one for one in awaited if isinstance(one, asyncio.Task)]
    return [task, *tasks] if tasks and len(tasks) < len(futures) else tasks


def _held(waiter: Any, frame: FrameType) -> list[Any]:
    """Return the pending futures for which ``waiter`` stands in ``frame``."""
    held: Iterable[Any] = getattr(waiter, "_children", ())
    if not held:
        # By its name first: this is called for each task of a burst.
        if (name := frame.f_code.co_name) not in _NAMES:
            return [waiter]
        place = str(frame.f_globals.get("__name__")), name
        if place in _GROUPS:
            held = getattr(frame.f_locals.get("self"), "_tasks", ())
        elif place in _HOLDS:
            one_or_more = frame.f_locals.get(_HOLDS[place], ())
            held = (one_or_more,) if asyncio.isfuture(one_or_more) else one_or_more
    return [future for future in held or (waiter,) if not future.done()]


def _seen_through(future: Any) -> list[Any]:
    """Return what ``asyncio.shield`` protects: only a callback of its future refers to it."""
    for callback, _ in getattr(future, "_callbacks", None) or ():
        if getattr(callback, "__name__", None) == _SHIELDS:
            cells = [cell.cell_contents for cell in callback.__closure__ or ()]
            return [one for one in cells if asyncio.isfuture(one)]
    return [future]


def awaited_on_trio(walk: Walk) -> list[Any]:
    """Return the children that a task of trio waits for at the end of a nursery."""
    ends = (
        frame
        for frame in reversed(walk)
        if frame.f_code.co_name == _NURSERY and frame.f_globals.get("__name__") == "trio._core._run"
    )
    end = next(ends, None)
    return [] if end is None else list(end.f_locals["self"].child_tasks)


def followed(walks: Mapping[Any, Walk], awaited: Mapping[Any, list[Any]]) -> Iterator[Chain]:
    """Yield each task that waits for no other one, its frames below those of the tasks it holds up.

    ``walks`` are the frames of each task, ``awaited`` the tasks that each waits for, itself among
    them if it waits for more. A task that several others await comes once for each of them. Tasks
    that await one another come singly.
    """
    if not any(awaited.values()):
        yield from itertools.starmap(Chain, walks.items())
        return
    awaited = {task: [one for one in awaited[task] if one in walks] for task in walks}
    below = {one for task, tasks in awaited.items() for one in tasks if one is not task}
    left = [Chain(task, walk) for task, walk in walks.items() if task not in below]
    reached, steps = set(), _STEPS_A_TASK * len(walks)
    while left:
        chain = left.pop()
        reached.add(chain.task)
        steps -= 1
        children = awaited[chain.task] if steps > 0 else []
        if not children or chain.task in children:
            yield chain
        others = (child for child in children if child is not chain.task)
        left += [Chain(child, chain.walk + walks[child]) for child in others]
    yield from (Chain(task, walk) for task, walk in walks.items() if task not in reached)
