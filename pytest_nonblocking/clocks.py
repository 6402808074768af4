"""Clocks, bound before a test can freeze or patch ``time``.

The plugin imports this module at start-up. The functions are attributes of an object because
freezegun also replaces module-level names bound to functions of ``time``.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class _Clocks:
    __slots__ = ("clock_ns", "process_cpu_ns", "thread_cpu_ns", "wall_ns")

    def __init__(self) -> None:
        self.wall_ns: Callable[[], int] = time.perf_counter_ns
        self.thread_cpu_ns: Callable[[], int] = time.thread_time_ns
        self.process_cpu_ns: Callable[[], int] = time.process_time_ns
        # Absent on Windows, where it is not used.
        self.clock_ns: Callable[[int], int] = getattr(time, "clock_gettime_ns", lambda clock: 0)


CLOCKS = _Clocks()
