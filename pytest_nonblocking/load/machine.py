"""How fast this process executes Python."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable

from ..clocks import CLOCKS

_COLD, _ROUNDS = 2, 6
"""The first rounds after a wait find cold caches: they took a third longer."""

_REFERENCE = {(3, 10): 0.00045, (3, 11): 0.00035, (3, 12): 0.00040, (3, 13): 0.00041}
"""CPU seconds that ``_work`` takes on the reference: a server core (AMD EPYC, 3.7 GHz boost) that
shares its units with nobody. It took twice as long there while the other thread of the core
computed."""
_LATEST = max(_REFERENCE)


def _work() -> int:
    table: dict[str, int] = {}
    for number in range(1250):
        key = f"k{number % 97}"
        table[key] = table.get(key, 0) + len(key) * number
    return sum(sorted(table.values()))


def slowdown() -> float:
    """Return how many times slower than the reference this process executes Python, at least 1.

    Measured in processor time of this thread, the median of six rounds, so that neighbours that
    want the processor do not count, and one that shares its units does. CPU is divided by it before
    it is compared with a limit, so that a slow runner does not turn a pass into a failure.
    """
    cpu_ns = CLOCKS.thread_cpu_ns
    took = [_timed(cpu_ns) for _ in range(_COLD + _ROUNDS)]
    usual = statistics.median(took[_COLD:])
    reference = _REFERENCE.get(sys.version_info[:2], _REFERENCE[_LATEST])
    return max(1.0, usual / reference)


def _timed(cpu_ns: Callable[[], int]) -> float:
    before = cpu_ns()
    _work()
    return (cpu_ns() - before) / 1e9
