"""What an app is asked before the collection, beside pytest's own thread and in bounded time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio

from ..threads import Thread

T = TypeVar("T")


class NoAnswerError(Exception):
    """What was asked raised or did not end; the message says so."""


def aside(seconds: float, ask: Callable[..., Awaitable[T]], *arguments: Any) -> T:
    """Return what ``ask`` returns on a loop of its own; raises NoAnswerError.

    If it holds that loop for longer than ``seconds``, it is left behind with its thread.
    """
    found: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            found.append(anyio.run(ask, *arguments))
        except BaseException as error:  # whatever the app raises
            raised.append(error)

    thread = Thread(run, "nonblocking-scan")
    thread.start()
    thread.join(seconds)
    if found:
        return found[0]
    if raised:
        raise NoAnswerError(f"{type(raised[0]).__name__}: {raised[0]}") from raised[0]
    raise NoAnswerError(f"it holds the event loop for {seconds:g} s")
