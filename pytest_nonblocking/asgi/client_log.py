"""What a test's client logs for each request of its copies, which is left out.

Its handlers cost time on the measured loop, and wait there for a lock that the app's threads hold
while they log.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import Any

from ..sentinel import COPY

_ANSWERED: ContextVar[Any] = ContextVar("nonblocking_answered", default=None)
"""The address that the client got an answer from; the app's tasks have their own contexts."""


def answered(address: Any) -> None:
    """Note that the test's client, which will log it next, got an answer from ``address``."""
    _ANSWERED.set(address)


class ClientLog:
    """The log of the client library ``name``, without the lines of the test's own clients."""

    def __init__(self, name: str) -> None:
        self._log = logging.getLogger(name)

    def filter(self) -> None:
        """Leave the lines out from now on."""
        self._log.addFilter(_is_of_others)

    def restore(self) -> None:
        """Undo ``filter``; may be called twice."""
        self._log.removeFilter(_is_of_others)


def _is_of_others(record: logging.LogRecord) -> bool:
    args = record.args if isinstance(record.args, tuple) else ()
    return COPY.get() is None or not any(one is _ANSWERED.get() for one in args[1:2])
