"""The sentinel: measures the loop-time budget of an event loop, and where its time goes."""

from . import tracers
from .discovery import LoopsUsed
from .forks import end_child
from .helper_thread import NoThreadLeftError
from .interrupt import LoopStuck, uninterrupted
from .last_stacks import LastStacks
from .measured_loop import LoopClosedError, LoopUnreachableError
from .probes.choice import UnsupportedLoopError, load_trio
from .probes.probe import COPY
from .session import BREAK_EVERY, Driver, Sentinel
from .stacks import suspended_stack
from .stretches import Stretch, Stretches, taken_of
from .system.clock import cores, cpu_of_other_thread
from .system.names import clock_name
from .system.procfs import NoDescriptorLeftError
from .wait_sampler import WaitSampler
from .windows import Reading

__all__ = [
    "BREAK_EVERY",
    "COPY",
    "Driver",
    "LastStacks",
    "LoopClosedError",
    "LoopStuck",
    "LoopUnreachableError",
    "LoopsUsed",
    "NoDescriptorLeftError",
    "NoThreadLeftError",
    "Reading",
    "Sentinel",
    "Stretch",
    "Stretches",
    "UnsupportedLoopError",
    "WaitSampler",
    "clock_name",
    "cores",
    "cpu_of_other_thread",
    "end_child",
    "load_trio",
    "suspended_stack",
    "taken_of",
    "tracers",
    "uninterrupted",
]
