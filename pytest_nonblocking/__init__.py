"""pytest plugin that proves that ASGI handlers never block the event loop."""

from .categories import InconclusiveWarning, NotMeasuredWarning, PytestNonblockingWarning

__all__ = ["InconclusiveWarning", "NotMeasuredWarning", "PytestNonblockingWarning"]
