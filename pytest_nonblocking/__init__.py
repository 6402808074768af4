"""pytest plugin that finds ASGI handlers that block the event loop or make requests queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .categories import InconclusiveWarning, NotMeasuredWarning, PytestNonblockingWarning

if TYPE_CHECKING:
    from .scan.setup import Scan

__all__ = ["InconclusiveWarning", "NotMeasuredWarning", "PytestNonblockingWarning", "Scan"]


def __getattr__(name: str) -> Any:
    """Import ``Scan`` on use: every pytest run loads this module."""
    if name == "Scan":
        from .scan.setup import Scan

        return Scan
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
