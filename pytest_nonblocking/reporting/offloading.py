"""How work leaves the event loop: as a `def` handler where there is one, or in a thread."""

from __future__ import annotations

from ..causes import OFFLOAD, TO_THREAD
from ..model import Evidence

_ALWAYS_ASYNC = frozenset(("__call__", "dispatch"))
"""Methods of ASGI apps and middleware, which no framework runs in a thread."""


def offload(evidence: Evidence, function: str | None) -> str:
    """Return how the work of ``function`` leaves the loop; None stands for a library's handler.

    Neither that nor anything without a request can become `def`.
    """
    is_handled = any(run.requests for run in evidence.runs)
    if not is_handled or function is None or function.rpartition(".")[2] in _ALWAYS_ASYNC:
        return TO_THREAD
    return OFFLOAD


def joined(known: str | None, away: str) -> str:
    """Return the fix: what is known to await, or else the work goes ``away`` from the loop."""
    if known is None:
        return away
    if ":" in known:  # a sentence of its own
        return f"{known}; or {away}"
    return f"{known}, {away}" if away == OFFLOAD else f"{known}, or {away}"
