"""The loop-time budget: what keeps an event loop, and where."""

from . import tracers
from .clock import clock_name, cores, cpu_of_other_thread
from .copies import COPY
from .discovery import LoopsUsed
from .loops import UnsupportedLoopError
from .sentinel import Driver, LoopStuck, LoopUnreachableError, Reading, Sentinel
from .stretches import Stretch, Stretches
from .waits import Waits

__all__ = [
    "COPY",
    "Driver",
    "LoopStuck",
    "LoopUnreachableError",
    "LoopsUsed",
    "Reading",
    "Sentinel",
    "Stretch",
    "Stretches",
    "UnsupportedLoopError",
    "Waits",
    "clock_name",
    "cores",
    "cpu_of_other_thread",
    "tracers",
]
