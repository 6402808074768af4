"""pytest plugin that finds ASGI handlers that block the event loop or make requests queue.

``Nonblocking``, ``LoopSentinel`` and ``VirtualUser`` are the types of the fixtures, for
annotations. ``measure``, ``app_client``, ``virtual_user`` and ``LoopSentinel`` need no pytest
session. Every pytest run loads this module, so it imports them on use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .categories import InconclusiveWarning, NotMeasuredWarning, PytestNonblockingWarning

if TYPE_CHECKING:
    from .load.burst import VirtualUser
    from .load.burst import current_copy as virtual_user
    from .measuring import Nonblocking
    from .scan.setup import Scan
    from .script import app_client, measure
    from .sentinel import Sentinel as LoopSentinel

    __version__: str

__all__ = [
    "InconclusiveWarning",
    "LoopSentinel",
    "Nonblocking",
    "NotMeasuredWarning",
    "PytestNonblockingWarning",
    "Scan",
    "VirtualUser",
    "__version__",
    "app_client",
    "measure",
    "virtual_user",
]
_ON_USE = {
    "LoopSentinel": ("sentinel", "Sentinel"),
    "Nonblocking": ("measuring", "Nonblocking"),
    "Scan": ("scan.setup", "Scan"),
    "VirtualUser": ("load.burst", "VirtualUser"),
    "app_client": ("script", "app_client"),
    "measure": ("script", "measure"),
    "virtual_user": ("load.burst", "current_copy"),
}


def __getattr__(name: str) -> Any:
    import importlib
    from importlib import metadata

    if name == "__version__":
        return metadata.version("pytest-nonblocking")
    if name in _ON_USE:
        module, attribute = _ON_USE[name]
        return getattr(importlib.import_module(f".{module}", __name__), attribute)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
