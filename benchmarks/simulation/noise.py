"""Measure how much the figures of the same handlers differ from one measurement to the next.

    python benchmarks/simulation/noise.py [--times 30]

Prints the standard deviations that the simulated machine's noise is made of: of processor time
per request and of the measured slowdown, between measurements and within one, of waits, and the
delays at wake-ups. Run it on the machine as it is, quiet or busy.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys

from pytest_nonblocking.analysis.growth import growth_of
from pytest_nonblocking.load.burst import Body, run_burst
from pytest_nonblocking.load.machine import slowdown
from pytest_nonblocking.model import Limits
from pytest_nonblocking.sentinel import Sentinel


def _compute() -> int:
    total = 0
    for value in range(120_000):
        total = (total + value * 31) % 65_521
    return total


async def _computes() -> None:
    await asyncio.sleep(0.010)
    _compute()


class _Waits:
    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def body(self) -> None:
        async with self._lock:
            await asyncio.sleep(0.010)


async def _bursts(body: Body, times: int) -> list[tuple[float, float, float]]:
    """Return the CPU, idle time and run-queue delay per request of ``times`` bursts of 8."""
    limits = Limits()
    sentinel = Sentinel(limits.max_lag, limits.max_blocked)
    found = []
    with sentinel:
        alone = [await run_burst(body, 1, limits, sentinel, ()) for _ in range(3)]
        for _ in range(times):
            burst = await run_burst(body, 8, limits, sentinel, ())
            growth = growth_of(burst, alone)
            found.append((growth.cpu, growth.idle, burst.budget.descheduled / 8))
    return found


def _spread(values: list[float]) -> str:
    mean = statistics.mean(values)
    return f"{statistics.stdev(values) / mean:.2%} of {mean * 1000:.3f} ms"


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=int, default=30)
    times = parser.parse_args().times
    cpus, slowdowns, ratios, within = [], [], [], []
    for _ in range(times):
        before = slowdown()
        found = [cpu for cpu, _, _ in asyncio.run(_bursts(_computes, 3))]
        slowdowns.append((before + slowdown()) / 2)
        cpus.append(found[0])
        ratios.append(found[0] / slowdowns[-1])
        within.append(statistics.stdev(found) / statistics.mean(found))
    waits = asyncio.run(_bursts(_Waits().body, times))
    print(f"CPU per request, between measurements: {_spread(cpus)}")
    print(f"CPU within one measurement: {statistics.median(within):.2%}")
    print(f"slowdown: {_spread(slowdowns)} (/1000)")
    print(f"CPU divided by the slowdown: {_spread(ratios)}")
    print(f"idle time per request behind a lock: {_spread([idle for _, idle, _ in waits])}")
    print(f"run-queue delay per request: {_spread([delay for _, _, delay in waits])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
