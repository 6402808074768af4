"""The probe for trio, based on trio's instrument API."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import FrameType
from typing import Any

import trio
from trio.lowlevel import Task

from ...clocks import CLOCKS
from ..awaited import Walk, awaited_on_trio
from ..stacks import ASYNC
from .probe import COPY, Origin, Probe

_RUN = getattr(getattr(trio._core._run, "unrolled_run", None), "__code__", None)
"""Trio's own loop, which calls all tasks."""


class TrioProbe(Probe, trio.abc.Instrument):
    """Times the trio run of the calling thread."""

    def __init__(self, notice: float) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._root = trio.lowlevel.current_root_task()
        self._hooked = False
        super().__init__(notice)

    @property
    def loop_name(self) -> str:
        """The name of the library."""
        return "trio"

    def _hook(self) -> None:
        trio.lowlevel.add_instrument(self)
        self._hooked = True

    def _unhook(self) -> None:
        if not self._hooked:
            return
        self._hooked = False
        # The instruments end with the run.
        with contextlib.suppress(RuntimeError, KeyError):
            trio.lowlevel.remove_instrument(self)

    # Trio's Instrument

    def after_task_step(self, task: Task) -> None:
        """Account for a step of ``task``."""
        try:
            now = CLOCKS.wall_ns()
            if now >= self.due_ns:
                self.tick(now, task)
            else:
                self.step_ns = now
        except BaseException as error:
            self._pass_on(error)

    def before_io_wait(self, timeout: float) -> None:
        """Mark the run idle, unless it only polls."""
        try:
            if timeout > 0:
                self.begin_idle()
        except BaseException as error:
            self._pass_on(error)

    def after_io_wait(self, timeout: float) -> None:
        """Mark the run active."""
        try:
            if self.idle:
                self.end_idle()
            else:
                self.step_ns = CLOCKS.wall_ns()
        except BaseException as error:
            self._pass_on(error)

    def _pass_on(self, error: BaseException) -> None:
        """End the run with what a signal handler has raised here, such as pytest-timeout's.

        Trio logs what an instrument raises, and goes on.
        """

        def end() -> None:
            raise error

        self.call_soon_threadsafe(end)

    # For the budget

    def _origin(self, step: Task) -> Origin:
        return Origin(step.coro, step.context.get(COPY))

    def call_soon(self, action: Callable[[], None]) -> None:
        """Call ``action`` in the next iteration, if there is one."""
        self.call_soon_threadsafe(action)

    def call_soon_threadsafe(self, action: Callable[[], None]) -> None:
        """Call ``action`` in the next iteration, if there is one; from any thread."""
        # Raised in a call that trio makes as its run ends, the error would break that run. A run
        # that ends just now has closed its socket.
        with contextlib.suppress(trio.RunFinishedError, OSError):
            self._token.run_sync_soon(action)

    def is_in_callback(self, frame: FrameType | None) -> bool:
        """Return whether ``frame``, one of this thread, belongs to a task's coroutine."""
        while frame is not None and frame.f_code is not _RUN:
            if frame.f_code.co_flags & ASYNC:
                return True
            frame = frame.f_back
        return frame is None

    def running(self) -> Any:
        """Return the coroutine of the running task."""
        return trio.lowlevel.current_task().coro

    def tasks(self) -> dict[Any, Any]:
        """Return all tasks except those that trio runs for itself, and the coroutine of each."""
        found = {}
        tasks = [] if self._root is None else [self._root]
        while tasks:
            task = tasks.pop()
            frame = getattr(task.coro, "cr_frame", None)
            module = "" if frame is None else frame.f_globals.get("__name__", "")
            if not module.startswith("trio._core."):  # trio's own, which waits until trio ends
                found[task] = task.coro
            tasks += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
        return found

    def awaited(self, task: Task, walk: Walk) -> list[Task]:
        """Return the tasks that ``task`` waits for."""
        return awaited_on_trio(walk)
