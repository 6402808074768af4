"""The speed at which this process executes Python."""

from __future__ import annotations

import sys
from collections.abc import Callable

from ..clocks import CLOCKS
from ..originals import statistics

_COLD, _ROUNDS = 2, 6
"""Discarded and measured rounds: the first ones run on cold caches and take a third longer."""

_REFERENCE = {(3, 10): 0.00045, (3, 11): 0.00035, (3, 12): 0.00040, (3, 13): 0.00041}
"""CPU seconds of ``_work`` on the reference machine, an otherwise idle server core (AMD EPYC,
3.7 GHz boost). With a busy hyperthread sibling, it takes twice as long."""
_LATEST = max(_REFERENCE)


def _work() -> int:
    table: dict[str, int] = {}
    for number in range(1250):
        key = f"k{number % 97}"
        table[key] = table.get(key, 0) + len(key) * number
    return sum(sorted(table.values()))


def slowdown() -> float:
    """Return how many times slower than the reference machine this process runs Python, at least 1.

    It is the median of six rounds in CPU time of this thread, which excludes neighbours that
    compete for the core but not one that shares its execution units. CPU times are divided by it
    before they are compared with a limit, so that a slow runner does not turn a pass into a fail.
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
