"""The loop-time budget: what keeps an event loop, and where."""

from .asyncio_probe import COPY, UnsupportedLoopError
from .clock import has_schedstat
from .sentinel import LoopStuck, Reading, Sentinel
from .stacks import is_own_code, is_user_code
from .waits import Waits

__all__ = [
    "COPY",
    "LoopStuck",
    "Reading",
    "Sentinel",
    "UnsupportedLoopError",
    "Waits",
    "has_schedstat",
    "is_own_code",
    "is_user_code",
]
