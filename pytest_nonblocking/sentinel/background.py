"""Child processes that are busy without any request."""

from __future__ import annotations

from ..originals import anyio, made
from ..tasks import running_tasks
from .alarms import Alarms
from .system.children import child_processes, is_runnable
from .system.clock import Usage

_WATCHED_FOR = 0.02
_BUSY_SHARE = 0.5  # not 1: schedstat's CPU time lags by up to 4 ms


class Background:
    """The child processes that are always busy: a development server, a file watcher.

    Such a child looks like one of the app's workers, and a wait for a lock beside it like work
    offloaded to it.
    """

    def __init__(self) -> None:
        self.busy: set[str] = set()

    async def learn(self, alarms: Alarms) -> None:
        """Watch the child processes for 20 ms in which no request runs."""
        before = child_processes()
        if not before:
            return
        runnable = {key for key in before if is_runnable(key)}
        over, tasks = made(anyio.Event), running_tasks()

        def finish() -> None:
            tasks.call_soon_threadsafe(over.set)

        # Not a sleep on the loop, whose clock a test may have frozen.
        alarms.call_after(_WATCHED_FOR, finish)
        await over.wait()
        self.busy = {
            key
            for key, usage in child_processes().items()
            # A child that waits for a core all the time uses no CPU.
            if (key in runnable and is_runnable(key))
            or usage.cpu - before.get(key, usage).cpu >= _BUSY_SHARE * _WATCHED_FOR * 1e9
        }

    def others(self) -> dict[str, Usage]:
        """Return the usage of all other child processes."""
        return {key: usage for key, usage in child_processes().items() if key not in self.busy}
