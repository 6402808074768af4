"""For which copy of the scenario work is done."""

from __future__ import annotations

from contextvars import ContextVar

COPY: ContextVar[int | None] = ContextVar("nonblocking_copy", default=None)
"""The index of the copy for which work is done; tasks and worker threads inherit it."""
