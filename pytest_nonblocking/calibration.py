"""What the plugin's own driver costs, measured once per session."""

from __future__ import annotations

from typing import Any

from .results import Calibration, Limits
from .scenario import run_burst
from .sentinel import Sentinel, UnsupportedLoopError, clock_name, tracers

_DRIVER_COPIES = 20


async def _null_app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


async def calibrate(limits: Limits, *, with_client: bool) -> Calibration:
    """Measure, ``with_client``, the driver's CPU per request, in seconds of loop CPU.

    The driver is run against an application that does nothing. The machine factor is measured
    with each scenario.
    """
    with tracers.suspended():
        driver = await _driver_cpu(limits) if with_client else 0.0
    return Calibration(driver_cpu=driver, clock=clock_name())


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
