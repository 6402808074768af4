"""Reading sampled stacks: whether they belong to the app or the test, and the user's lines."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from linecache import getlines
from typing import Literal

from ..model import Frame, Sample, Stack
from .user_code import Owner, calls_handlers, hands_on, in_a_thread, owner_of, package_of

Place = tuple[str, str]
"""A file, and the name of a function in it."""
Side = Literal["app", "test", "loop"]
"""``loop`` if neither a transport nor a test is in the stack: a child task, or a thread."""

# The boundary between client and app: frames below it belong to the app.
_TRANSPORTS = (
    "pytest_nonblocking.asgi.client",
    "pytest_nonblocking.tasks",
    "httpx._transports.asgi",
    "httpx2._transports.asgi",
    "starlette.testclient",
    "anyio.from_thread",
)
_RUNS_APP = {
    ("pytest_nonblocking.asgi.exchange", "run"),
    ("pytest_nonblocking.asgi.observed", "serve"),
    ("pytest_nonblocking.asgi.servers", "_live"),
}
_LIFESPANS = ("pytest_nonblocking.asgi.lifespan", "uvicorn.lifespan", "hypercorn.asyncio.lifespan",
              "hypercorn.trio.lifespan", "asgi_lifespan")  # fmt: skip
_LOOKS = "pytest_nonblocking.sentinel"
# The callers of a test's body: frames below them belong to the test.
_RUNS_TEST = ("pytest_nonblocking.load.", "pytest_nonblocking.runner")
# Where a loop runs callbacks: frames above have started the loop.
_LOOPS = frozenset(("asyncio.events", "asyncio.base_events", "asyncio.runners", "trio._core._run"))
_RUNS_STEPS = frozenset(("_run", "_run_once", "run", "unrolled_run"))
_RUNS_TESTS_ON_LOOPS = frozenset(("run_test", "run_fixture", "run_asyncgen_fixture"))
"""Functions in which anyio's plugin for pytest starts the loop itself."""
_CLIENTS = frozenset(("httpx", "httpx2", "httpx_ws"))
_MACHINERY = frozenset(
    ("threading", "queue", "concurrent", "anyio", "asyncio", "trio", "selectors", "contextlib",
     "contextvars", "greenlet", "sniffio", "outcome", "uvloop")
)  # fmt: skip
"""Packages that only run other code: never named as a culprit."""
_YIELDS = frozenset(("sleep", "checkpoint", "cancel_shielded_checkpoint"))
"""Functions that code calls so that others get a turn."""
_BARE_YIELD = "__sleep0"
"""The function of asyncio in which a task gives up its turn, for whatever awaits it."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One stack, reduced to the frames below the entry into the app or the test.

    ``weight`` is the time in seconds that it stands for, ``times`` how often it was seen.
    """

    frames: Stack
    owners: tuple[Owner, ...]
    side: Side
    weight: float
    times: int = 1
    for_client: bool = False
    """Whether it waits for the client's next event."""

    @property
    def users(self) -> Stack:
        """The user's frames, outermost first; if there are none, those of the app's packages.

        Middleware that passes the request on is left out.
        """
        own = self._owned_by("user")
        return own or self._owned_by("app")

    def _owned_by(self, owner: Owner) -> Stack:
        return tuple(
            frame
            for n, frame in enumerate(self.frames)
            if self.owners[n] == owner and not self._passes_on(n)
        )

    def _passes_on(self, n: int) -> bool:
        """Return whether frame ``n`` calls what passes the request on, or such a middleware."""
        called = self.frames[n + 1] if n + 1 < len(self.frames) else None
        if called is None or hands_on(called):
            return called is not None
        return called.leaf == "__call__" and self._passes_on(n + 1)

    @property
    def library(self) -> Stack:
        """The library frames below the framework, outermost first."""
        return tuple(
            frame
            for frame, owner in zip(self.frames, self.owners, strict=True)
            if owner == "library" and not hands_on(frame) and package_of(frame) not in _MACHINERY
        )

    @property
    def only_waits(self) -> bool:
        """Whether the user's innermost line awaits what does no work, and is no yield of theirs."""
        if not self.users:
            return False
        last = len(self.frames) - self.frames[::-1].index(self.users[-1])
        below = self.frames[last:]
        machinery = all(package_of(frame) in _MACHINERY or in_a_thread(frame) for frame in below)
        return bool(below) and machinery and below[0].leaf not in _YIELDS

    @property
    def is_clients(self) -> bool:
        """Whether the cost is the HTTP client's in the test, and not the test's own."""
        return self.side == "test" and any(package_of(frame) in _CLIENTS for frame in self.frames)

    @property
    def handler(self) -> Frame | None:
        """The frame of the handler: the first one that the framework calls outside itself."""
        for n in range(1, len(self.frames)):
            mine = self.owners[n] in ("user", "app") and not self._passes_on(n)
            if mine and calls_handlers(self.frames[n - 1]):
                return self.frames[n]
        return None

    @property
    def handler_is_in_a_thread(self) -> bool:
        """Whether the framework waits for a thread where it would call a handler."""
        callers = zip(self.frames, self.frames[1:], strict=False)
        return any(calls_handlers(caller) and in_a_thread(frame) for caller, frame in callers)


class Reader:
    """Reads stacks, given the app's top-level ``packages`` and the test function ``body``.

    The test's module and conftest.py count as the test unless they contain the app.
    """

    def __init__(self, packages: Collection[str], body: Place | None) -> None:
        self._packages = frozenset(packages)
        self._test_file = None if body is None else body[0]

    def read_all(self, samples: Iterable[Sample], *, on_loop: bool = True) -> list[Seen]:
        """Read ``samples``; those without a frame of the app or the test are dropped."""
        read = (self.read(s.stack, s.weight, on_loop=on_loop) for s in samples)
        return [seen for seen in read if seen is not None]

    def read(
        self, stack: Stack, weight: float, times: int = 1, *, on_loop: bool = True
    ) -> Seen | None:
        """Read ``stack``; return None if no frame belongs to the app or the test.

        ``on_loop`` says that it is the stack of the loop's thread or of a task.
        """
        if any(is_lifespan(frame) for frame in stack):
            return None
        start, side = _start(stack, on_loop)
        below = stack[start:]
        # Our own frames called by the app, or entered by a collection, count for their caller.
        frames = tuple(frame for frame in below if owner_of(frame, ()) != "own")
        if not frames:
            return None
        owners = tuple(owner_of(frame, self._packages) for frame in frames)
        if side == "loop" and self._is_the_tests(frames, owners):
            side = "test"
        for_client = any(_answers(frame) for frame in below)
        return Seen(frames, owners, side, weight, times, for_client)

    def _is_the_tests(self, frames: Stack, owners: Sequence[Owner]) -> bool:
        users = [f for f, owner in zip(frames, owners, strict=True) if owner == "user"]
        return bool(users) and all(
            package_of(frame) not in self._packages
            and (frame.file == self._test_file or frame.file.endswith("conftest.py"))
            for frame in users
        )


def _start(stack: Stack, on_loop: bool) -> tuple[int, Side]:
    """Return the index at which the app's or the test's part of ``stack`` begins, and its side."""
    for n in range(len(stack) - 1, -1, -1):
        frame = stack[n]
        if runs_app(frame):
            return n + 1, "app"
        if frame.module.startswith(_RUNS_TEST):
            return n + 1, "test"
        if on_loop and _runs_callbacks(frame):
            return n + 1, "loop"
    return 0, "loop"


def runs_app(frame: Frame) -> bool:
    """Return whether ``frame`` is a client's, or this plugin's, that calls the app."""
    return frame.module.startswith(_TRANSPORTS) or (frame.module, frame.leaf) in _RUNS_APP


def is_in_callback(stack: Stack) -> bool:
    """Return whether ``stack`` is one of a callback that a loop of asyncio or trio runs."""
    return any(map(_runs_callbacks, stack))


def _runs_callbacks(frame: Frame) -> bool:
    if frame.module == "anyio._backends._asyncio":
        return frame.leaf in _RUNS_TESTS_ON_LOOPS
    return frame.module in _LOOPS and frame.leaf in _RUNS_STEPS


def is_lifespan(frame: Frame) -> bool:
    """Return whether ``frame`` is the app's lifespan, which waits during the whole test."""
    return frame.module.startswith(_LIFESPANS) or (
        frame.leaf == "lifespan" and frame.module.startswith(("starlette.", "fastapi."))
    )


def _answers(frame: Frame) -> bool:
    """Return whether ``frame`` is this plugin's ``receive`` or ``send``."""
    return package_of(frame) == "pytest_nonblocking" and not frame.module.startswith(_LOOKS)


def place_of(frame: Frame) -> Place:
    """Return the function of ``frame``."""
    return frame.file, frame.function


def definition_of(frame: Frame) -> Frame:
    """Return ``frame`` moved to the definition of its function, if the source shows it."""
    for line in range(frame.line, 0, -1):
        if is_begun(moved := replace(frame, line=line)):
            return moved
    return frame


def is_begun(frame: Frame) -> bool:
    """Return whether ``frame`` is at the definition of its function, and has run no line of it."""
    head = rf"\s*(async\s+)?def\s+{re.escape(frame.leaf)}\b"
    return re.match(head, _source(frame.file, frame.line)) is not None


def code_at(frame: Frame) -> str:
    """Return the source line of ``frame``, or "" if it cannot be read."""
    return _source(frame.file, frame.line).strip()


def _source(file: str, line: int) -> str:
    """Return one line of a file; not by ``getline``, which calls what a test may have patched."""
    return next(iter(getlines(file)[max(0, line - 1) : line]), "")


def calls_below(frames: Iterable[Frame]) -> tuple[str, ...]:
    """Return library calls from the first to the innermost, one entry per package.

    Frames without a module, such as those of compiled templates, are skipped, and so is that in
    which a task gives up its turn.
    """
    calls = (frame for frame in frames if frame.module and frame.leaf != _BARE_YIELD)
    groups = list(_by_package(calls))
    names = []
    for number, group in enumerate(groups):
        if number == 0:
            names.append(_call(group[0]))
        if number == len(groups) - 1:
            if len(group) > 1 or number > 0:
                names.append(_call(group[-1]))
        elif number > 0:
            names.append(f"{package_of(group[0])} …")
    return tuple(names)


def _by_package(frames: Iterable[Frame]) -> Iterator[list[Frame]]:
    group: list[Frame] = []
    for frame in frames:
        if group and package_of(group[-1]) != package_of(frame):
            yield group
            group = []
        group.append(frame)
    if group:
        yield group


def _call(frame: Frame) -> str:
    return f"{package_of(frame)}.{frame.leaf}"
