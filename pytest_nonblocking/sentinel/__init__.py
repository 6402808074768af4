"""The loop-time budget: what keeps an event loop, and where."""

from . import tracers
from .asyncio_probe import UnsupportedLoopError
from .clock import clock_name
from .copies import COPY
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
    "clock_name",
    "is_own_code",
    "is_user_code",
    "tracers",
]
