"""The clocks, bound before any test can replace them.

Tests may freeze or patch ``time.*`` at any moment. So the plugin loads this module with itself,
not when a measurement begins, and keeps the functions in an object: freezegun also replaces the
module-level names that it finds bound to functions of ``time``.
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
        # Absent on Windows, where nothing asks for it.
        self.clock_ns: Callable[[int], int] = getattr(time, "clock_gettime_ns", lambda clock: 0)


CLOCKS = _Clocks()
