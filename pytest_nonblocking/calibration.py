"""What this machine and the plugin's own driver cost, measured once per session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .clocks import CLOCKS
from .results import Calibration, Limits
from .scenario import run_burst
from .sentinel import Sentinel, UnsupportedLoopError, clock_name, tracers

_ROUNDS = 5
_DRIVER_COPIES = 20

_REFERENCE = 0.00100
"""CPU seconds that `_work` takes where the machine factor is 1.0 by definition: CPython 3.10 on
a 2.6 GHz server core, the slowest of the interpreters that were tried there."""


def _work() -> int:
    table: dict[str, int] = {}
    for number in range(2500):
        key = f"k{number % 97}"
        table[key] = table.get(key, 0) + len(key) * number
    return sum(sorted(table.values()))


def machine_factor() -> float:
    """Return how many times slower than the reference this process executes Python, at least 1.

    Measured in processor time of this thread, the best of five, so that busy neighbours do not
    count; without a tracer, whose cost is measured with each scenario. Limits on CPU are
    multiplied by it.
    """
    cpu_ns = CLOCKS.thread_cpu_ns
    with tracers.suspended():
        best = min(_timed(cpu_ns) for _ in range(_ROUNDS))
    return max(1.0, best / _REFERENCE)


def _timed(cpu_ns: Callable[[], int]) -> float:
    before = cpu_ns()
    _work()
    return (cpu_ns() - before) / 1e9


async def _null_app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


async def calibrate(limits: Limits, *, with_client: bool) -> Calibration:
    """Measure the machine factor and, ``with_client``, the driver's CPU per request.

    The driver is run against an application that does nothing, in seconds of loop CPU.
    """
    driver = await _driver_cpu(limits) if with_client else 0.0
    return Calibration(
        factor=machine_factor(),
        driver_cpu=driver,
        clock=clock_name(),
    )


async def _driver_cpu(limits: Limits) -> float:
    from .client import make_client

    client, transport = make_client(_null_app)

    async def body() -> None:
        await client.get("/")

    try:
        with Sentinel(limits.max_lag, limits.max_blocked) as sentinel:
            await run_burst(body, 1, limits, sentinel, [transport])
            burst = await run_burst(body, _DRIVER_COPIES, limits, sentinel, [transport])
    except UnsupportedLoopError:
        return 0.0
    finally:
        await client.aclose()
    return burst.budget.cpu / _DRIVER_COPIES
