"""A plain driver: copies of one request at once, straight to the application, timed.

    python -m generated.driver SEED ...

Writes one line of JSON for each seed. It knows nothing of the plugin. How long a reference
millisecond of work takes is measured before and after each burst: the speed of a virtual machine
was seen to change by half from one second to the next, as its neighbours come and go.
"""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from . import apps, compose, machine, render
from .calm import pressure

COPIES = 24
_SINGLE_RUNS = 7
_BURSTS = 5
_WORK_MS = 1.0


class Measured(NamedTuple):
    """Medians in milliseconds: a single request, and what each further one adds.

    ``speed`` is the processor time of a reference millisecond of work, its quartiles; ``pressure``
    the share of the time in which some task of the machine waited for a processor.
    """

    seed: int
    speed: tuple[float, float]
    pressure: float
    alone: float
    slope: float
    loop_cpu: float
    other_cpu: float


class _Burst(NamedTuple):
    speed: float
    wall: float
    loop_cpu: float
    other_cpu: float


async def _ask(app: Any, path: str, state: dict[str, Any]) -> None:
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"testserver")],
        "client": ("127.0.0.1", 1),
        "server": ("testserver", 80),
        "state": dict(state),
    }
    asked = False
    answered = asyncio.Event()
    statuses = []

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await answered.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])
        elif not message.get("more_body"):
            answered.set()

    await app(scope, receive, send)
    if statuses != [200]:
        raise RuntimeError(f"{path} answered with {statuses}")


def _speed() -> float:
    return min(machine.took(_work) for _ in range(2)) / _WORK_MS


def _work() -> None:
    total = 0
    for value in range(int(_WORK_MS * machine.LOOP)):
        total = (total + value * 31) % 65_521


async def _burst(app: Any, path: str, state: dict[str, Any], copies: int) -> _Burst:
    before = _speed()
    loop, process, wall = time.thread_time_ns(), time.process_time_ns(), time.perf_counter_ns()
    await asyncio.gather(*(_ask(app, path, state) for _ in range(copies)))
    wall = time.perf_counter_ns() - wall
    process, loop = time.process_time_ns() - process, time.thread_time_ns() - loop
    return _Burst((before + _speed()) / 2, wall / 1e6, loop / 1e6, (process - loop) / 1e6)


@asynccontextmanager
async def _started(app: Any) -> AsyncIterator[dict[str, Any]]:
    async with app.router.lifespan_context(app) as state:
        yield state or {}


async def measure(case: compose.Case) -> Measured:
    """Return the medians of the case's application."""
    app, path = apps.load(case), render.path(case)
    async with _started(app) as state:
        await _burst(app, path, state, 1)
        await _burst(app, path, state, COPIES)  # threads and connections are made
        gc.collect()
        gc.freeze()  # the applications that were measured before are not this one's
        began, waited = time.perf_counter(), pressure()
        single = [await _burst(app, path, state, 1) for _ in range(_SINGLE_RUNS)]
        bursts = [await _burst(app, path, state, COPIES) for _ in range(_BURSTS)]
        share = (pressure() - waited) / (time.perf_counter() - began)
    low, _, high = statistics.quantiles((burst.speed for burst in single + bursts), n=4)
    speed = round(low, 3), round(high, 3)
    alone, many = _medians(single), _medians(bursts)
    slopes = [(b - a) / (COPIES - 1) for a, b in zip(alone[1:], many[1:], strict=True)]
    return Measured(
        case.seed, speed, round(share, 2), round(alone.wall, 3), *(round(s, 3) for s in slopes)
    )


def _medians(bursts: list[_Burst]) -> _Burst:
    return _Burst(*(statistics.median(figures) for figures in zip(*bursts, strict=True)))


def main() -> None:
    """Measure the seeds of the command line."""
    for seed in map(int, sys.argv[1:]):
        try:
            figures = asyncio.run(measure(compose.case(seed)))._asdict()
        except Exception as error:
            figures = {"seed": seed, "error": f"{type(error).__name__}: {error}"}
        print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
