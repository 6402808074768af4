"""pytest plugin that finds ASGI handlers that block the event loop or make requests queue."""

from .categories import InconclusiveWarning, NotMeasuredWarning, PytestNonblockingWarning

__all__ = ["InconclusiveWarning", "NotMeasuredWarning", "PytestNonblockingWarning"]
