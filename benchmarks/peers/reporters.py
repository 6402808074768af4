"""The tools that name each blocking call, however short: all that they name in a handler.

A reporter gets a function that sends one request, and returns the calls in the shape of the
guard's findings. A call's place is the innermost line of the application's own files.
"""

from __future__ import annotations

import asyncio
import re
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterable
from types import FrameType
from typing import Any, NamedTuple

Ask = Callable[[], Awaitable[None]]
Position = tuple[str, int]
_APPLICATION = re.compile(r"(?:corpus|shop|seed_\d+)/\w+\.py$")
_MOST = 50
_CATEGORIES = {
    "time.": "sleep",
    "sqlite3.": "database",
    "subprocess.": "process",
    "os.system": "process",
    "os.posix_spawn": "process",
    "socket.get": "dns",
    "socket.": "network",
    "ssl.": "network",
    "http.": "network",
    "urllib.": "network",
    "lock.": "lock",
    "threading.": "lock",
    "fcntl.": "lock",
}
"""The guard's category of a function, by the first words that fit; it is a file's otherwise."""


def _finding(call: str, position: Position) -> dict[str, Any]:
    words = (words for words in _CATEGORIES if call.lower().startswith(words))
    category = _CATEGORIES.get(next(words, ""), "file")
    return {"file": position[0], "line": position[1], "category": category, "functions": [call]}


def _position(innermost_first: Iterable[Position]) -> Position:
    positions = list(innermost_first)
    return next((one for one in positions if _APPLICATION.search(one[0])), positions[0])


def _callers(frame: FrameType | None) -> Iterable[Position]:
    while frame is not None:
        yield frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back


async def blockbuster(ask: Ask) -> list[dict[str, Any]]:
    """Ask until nothing is raised, and allow each time what was raised before, by its line."""
    from blockbuster import BlockBuster, BlockingError

    found: dict[Position, str] = {}

    def allowed(predicate: Callable[..., bool]) -> Callable[..., bool]:
        def is_allowed(*args: Any, **keywords: Any) -> bool:
            here = sys._getframe(1)
            return _position(_callers(here)) in found or predicate(*args, **keywords)

        return is_allowed

    buster = BlockBuster()
    for function in buster.functions.values():
        function.can_block_predicate = allowed(function.can_block_predicate)
    buster.activate()
    try:
        for _ in range(_MOST):
            try:
                await ask()
                break
            except BlockingError as error:
                raised = [*traceback.walk_tb(error.__traceback__)]
                lines = [(frame.f_code.co_filename, line) for frame, line in reversed(raised)]
                found[_position(lines[1:])] = str(error).removeprefix("Blocking call to ")
    finally:
        buster.deactivate()
    return [_finding(call, position) for position, call in found.items()]


_events: list[Any] = []


def _start_aiocop() -> None:
    import aiocop

    aiocop.patch_audit_functions()
    aiocop.start_blocking_io_detection()
    aiocop.detect_slow_tasks(on_slow_task=_events.append)


async def aiocop(ask: Ask) -> list[dict[str, Any]]:
    """Return the blocking events of all steps, also of short ones."""
    import aiocop

    aiocop.activate()
    await asyncio.sleep(0)  # what times whole steps does not see one that has begun
    _events.clear()
    await ask()
    await asyncio.sleep(0)  # the callback comes after the step
    aiocop.deactivate()
    calls = [call for event in _events for call in event.blocking_events]
    return [
        _finding(call["event"].partition("(")[0], _position(_in_trace(call["trace"])))
        for call in calls
    ]


def _in_trace(trace: str) -> list[Position]:
    return [(file, int(line)) for file, line in re.findall(r"(\S+):(\d+):\S+", trace)]


class Reporter(NamedTuple):
    """A tool that names calls, and how it was used."""

    name: str
    distribution: str
    used: str
    calls: Callable[[Ask], Awaitable[list[dict[str, Any]]]]
    start: Callable[[], None] = lambda: None


REPORTERS = (
    Reporter(
        "blockbuster",
        "blockbuster",
        "around one request; what it raised is allowed by its line, and the request sent again, "
        "until it raises nothing",
        blockbuster,
    ),
    Reporter(
        "aiocop",
        "aiocop",
        "`detect_slow_tasks` around one request, with all blocking events that its callback gets",
        aiocop,
        _start_aiocop,
    ),
)
