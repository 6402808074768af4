"""How fast this process executes Python."""

from __future__ import annotations

from collections.abc import Callable

from .clocks import CLOCKS

_ROUNDS = 4

_REFERENCE = 0.00050
"""CPU seconds that `_work` takes where the machine factor is 1.0 by definition: CPython 3.10 on
a 2.6 GHz server core, the slowest of the interpreters that were tried there."""


def _work() -> int:
    table: dict[str, int] = {}
    for number in range(1250):
        key = f"k{number % 97}"
        table[key] = table.get(key, 0) + len(key) * number
    return sum(sorted(table.values()))


def machine_factor() -> float:
    """Return how many times slower than the reference this process executes Python, at least 1.

    Measured in processor time of this thread, the best of four, so that busy neighbours do not
    count. A slow runner makes it larger; CPU is divided by it before it is compared with a limit.
    """
    cpu_ns = CLOCKS.thread_cpu_ns
    best = min(_timed(cpu_ns) for _ in range(_ROUNDS))
    return max(1.0, best / _REFERENCE)


def _timed(cpu_ns: Callable[[], int]) -> float:
    before = cpu_ns()
    _work()
    return (cpu_ns() - before) / 1e9
