"""What a user would pick instead, each used as its own documentation says.

A detector is an asynchronous context manager around one request; it raises where it finds the
loop blocked. ``tight`` ones have their limit set to 20 ms, the default of pytest-nonblocking.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple


@asynccontextmanager
async def _nothing() -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def _loopguard() -> AsyncIterator[None]:
    from fastapi_loopguard.pytest_plugin import loopguard_only

    with loopguard_only():
        yield


def _pyleak(threshold: float | None) -> Callable[[], AbstractAsyncContextManager[object]]:
    def detector() -> AbstractAsyncContextManager[object]:
        from pyleak import no_event_loop_blocking

        options = {} if threshold is None else {"threshold": threshold}
        return no_event_loop_blocking(action="raise", **options)

    return detector


@asynccontextmanager
async def _blockbuster() -> AsyncIterator[None]:
    from blockbuster import blockbuster_ctx

    with blockbuster_ctx():
        yield


_found: list[str] = []


def _start_aiocop(threshold_ms: float) -> Callable[[], None]:
    def start() -> None:
        import aiocop

        def note(event: aiocop.SlowTaskEvent) -> None:
            if event.exceeded_threshold:
                _found.append(repr(event))

        aiocop.patch_audit_functions()
        aiocop.start_blocking_io_detection()
        aiocop.detect_slow_tasks(threshold_ms=threshold_ms, on_slow_task=note)

    return start


@asynccontextmanager
async def _aiocop_recipe() -> AsyncIterator[None]:
    import aiocop

    aiocop.activate()  # here, since every test has a loop of its own, which is patched by this
    await asyncio.sleep(0)
    with aiocop.raise_on_violations():
        yield
        await asyncio.sleep(0)


@asynccontextmanager
async def _aiocop_slow_tasks() -> AsyncIterator[None]:
    import aiocop

    aiocop.activate()
    await asyncio.sleep(0)  # what times whole steps does not see one that has begun
    _found.clear()
    yield
    await asyncio.sleep(0)  # the callback comes after the step
    if _found:
        raise AssertionError("\n".join(_found))


def _debug_mode(limit: float | None) -> Callable[[], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def detector() -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        slow: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: slow.append(record.getMessage())  # type: ignore[method-assign]
        logger = logging.getLogger("asyncio")
        logger.addHandler(handler)
        loop.set_debug(True)
        if limit is not None:
            loop.slow_callback_duration = limit
        await asyncio.sleep(0)
        try:
            yield
            await asyncio.sleep(0)
        finally:
            loop.set_debug(False)
            logger.removeHandler(handler)
        messages = [message for message in slow if message.startswith("Executing ")]
        if messages:
            raise AssertionError("\n".join(messages))

    return detector


class Peer(NamedTuple):
    """A tool, how it was used, and what it is made for."""

    name: str
    distribution: str | None
    used: str
    purpose: str
    detector: Callable[[], AbstractAsyncContextManager[object]]
    arguments: tuple[str, ...] = ()
    test: str = "test_request"
    start: Callable[[], None] = lambda: None


_ONE_REQUEST = "around one request, at its defaults"
_AT_20 = "around one request, limit 20 ms"

PEERS = (
    Peer("none", None, "nothing watches: the cost of the request", "", _nothing),
    Peer(
        "pytest-nonblocking",
        "pytest-nonblocking",
        "marker, at its defaults",
        "finds, in a test, handlers that block the loop or make requests queue, and names the line",
        _nothing,
        test="test_marked",
    ),
    Peer(
        "fastapi-loopguard",
        "fastapi-loopguard",
        "its pytest plugin (`loopguard_all_async`), limit 50 ms (its default)",
        "names the requests that were in flight when the loop stalled, in production and in tests",
        _loopguard,
        ("-o", "asyncio_mode=auto", "-o", "loopguard_all_async=true"),
    ),
    Peer(
        "fastapi-loopguard, 20 ms",
        "fastapi-loopguard",
        "the same, `loopguard_threshold_ms=20`",
        "as above",
        _loopguard,
        (
            *("-o", "asyncio_mode=auto", "-o", "loopguard_all_async=true"),
            *("-o", "loopguard_threshold_ms=20"),
        ),
    ),
    Peer(
        "pyleak",
        "pyleak",
        f"`no_event_loop_blocking(action='raise')` {_ONE_REQUEST} (100 ms)",
        "finds leaked tasks, leaked threads and a blocked loop",
        _pyleak(None),
    ),
    Peer(
        "pyleak, 20 ms",
        "pyleak",
        f"the same {_AT_20}",
        "as above",
        _pyleak(0.02),
    ),
    Peer(
        "blockbuster",
        "blockbuster",
        f"`blockbuster_ctx()` {_ONE_REQUEST}",
        "raises at any call of a known blocking function from the loop, however short",
        _blockbuster,
    ),
    Peer(
        "aiocop",
        "aiocop",
        f"`raise_on_violations()` {_ONE_REQUEST}",
        "watches production for blocking I/O by audit events, cheap enough to leave on",
        _aiocop_recipe,
        start=_start_aiocop(50),
    ),
    Peer(
        "aiocop, slow tasks",
        "aiocop",
        f"`detect_slow_tasks` {_AT_20}",
        "as above",
        _aiocop_slow_tasks,
        start=_start_aiocop(20),
    ),
    Peer(
        "asyncio's debug mode",
        None,
        f"`loop.set_debug(True)` {_ONE_REQUEST} (100 ms)",
        "logs slow callbacks and forgotten awaits during development",
        _debug_mode(None),
    ),
    Peer(
        "asyncio's debug mode, 20 ms",
        None,
        f"the same, `slow_callback_duration` {_AT_20}",
        "as above",
        _debug_mode(0.02),
    ),
)
