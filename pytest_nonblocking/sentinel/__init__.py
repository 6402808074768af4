"""The loop-time budget: what keeps an event loop, and where."""

from . import tracers
from .clock import clock_name, cores
from .copies import COPY
from .discovery import LoopsUsed
from .loops import UnsupportedLoopError
from .sentinel import Driver, LoopStuck, LoopUnreachableError, Reading, Sentinel
from .waits import Waits

__all__ = [
    "COPY",
    "Driver",
    "LoopStuck",
    "LoopUnreachableError",
    "LoopsUsed",
    "Reading",
    "Sentinel",
    "UnsupportedLoopError",
    "Waits",
    "clock_name",
    "cores",
    "tracers",
]
