"""The twelve endpoints of the design as the plugin measures them, quiet or with busy processes.

    python benchmarks/rows.py [--busy 4] [--rounds 3]

Handlers take 20 ms; parts of the budget are milliseconds per request in the largest burst that
was made. "cost" is the time of the whole verdict in multiples of a single request, R1.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio.to_thread

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))

from fastapi import FastAPI
from shop import orders

from pytest_nonblocking.analysis import attribution, verdict
from pytest_nonblocking.asgi.client import make_client
from pytest_nonblocking.load import scenario
from pytest_nonblocking.model import Limits
from pytest_nonblocking.sentinel import Sentinel

EXPECTED = {
    "/async-sleep": (None, "pass"),
    "/time-sleep": ("blocking-call", "fail"),
    "/partly-blocking": ("blocking-call", "fail"),
    "/cpu-on-loop": ("cpu-on-loop", "fail"),
    "/python-in-threads": ("gil-contention", "fail"),
    "/lock": ("serialised-wait", "fail"),
    "/pool-of-5": ("serialised-wait", "fail"),
    "/def-handler": (None, "pass"),
    "/null": (None, "pass"),
    "/orders/1": (None, "pass"),
    "/orders/100": (None, "pass"),
    "/orders/1000": ("cpu-on-loop", "fail"),
}


def burn(seconds: float = 0.02) -> None:
    """Use the processor for ``seconds``."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def handlers() -> FastAPI:
    """Return the endpoints of the first table; made anew for each loop."""
    app, lock, pool = FastAPI(), asyncio.Lock(), asyncio.Semaphore(5)

    async def async_sleep() -> None:
        await asyncio.sleep(0.02)

    async def time_sleep() -> None:
        time.sleep(0.02)

    async def partly_blocking() -> None:
        await asyncio.sleep(0.02)
        time.sleep(0.005)

    async def cpu_on_loop() -> None:
        burn()

    async def python_in_threads() -> None:
        await anyio.to_thread.run_sync(burn)

    async def behind_lock() -> None:
        async with lock:
            await asyncio.sleep(0.02)

    async def pool_of_5() -> None:
        async with pool:
            await asyncio.sleep(0.02)

    def def_handler() -> None:
        time.sleep(0.02)

    async def null() -> None:
        return

    for path, handler in {
        "/async-sleep": async_sleep,
        "/time-sleep": time_sleep,
        "/partly-blocking": partly_blocking,
        "/cpu-on-loop": cpu_on_loop,
        "/python-in-threads": python_in_threads,
        "/lock": behind_lock,
        "/pool-of-5": pool_of_5,
        "/def-handler": def_handler,
        "/null": null,
    }.items():
        app.get(path)(handler)
    return app


async def measure(path: str) -> tuple[str, bool]:
    """Measure one endpoint; return its line of the table and whether it is as expected."""
    limits = Limits()
    client, transport = make_client(orders.app if path.startswith("/orders") else handlers())
    await transport.startup()

    async def body() -> None:
        assert (await client.get(path)).status_code == 200

    began = time.perf_counter()
    evidence = await scenario.measure(body, limits, Sentinel(), transports=[transport])
    took = time.perf_counter() - began
    await transport.shutdown()
    judgement = verdict.judge(evidence, limits)
    culprit = attribution.find(evidence, judgement)
    burst = max(evidence.bursts, key=lambda run: run.concurrency)
    alone = sorted(run.makespan for run in evidence.singles)[1]
    budget = burst.budget
    names = ("cpu", "blocked", "gil", "idle", "gc", "descheduled", "other_cpu")
    parts = " ".join(f"{getattr(budget, n) / burst.concurrency * 1e3:7.2f}" for n in names)
    right = (judgement.cause, judgement.verdict) == EXPECTED[path]
    where = f"{culprit.function}:{culprit.line}" if culprit else ""
    judged = judgement.judged.fraction if judgement.judged else 0.0
    line = (
        f"{path:<19}{judgement.verdict:<13}{judgement.cause or '':<16}"
        f"{judgement.serial_fraction or 0:6.2f} {judged:6.2f}  "
        f"{burst.concurrency:>3} {parts} {alone * 1e3:8.1f} {took / alone:7.1f} "
        f"{'' if right else 'WRONG '}{where}"
    )
    return line, right


@contextmanager
def busy_processes(number: int) -> Iterator[None]:
    """Keep ``number`` processes busy."""
    command = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(command) for _ in range(number)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def main() -> int:
    """Print the table; return how many rows were not as expected."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--busy", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as folder, busy_processes(arguments.busy):
        os.environ["SHOP_DATABASE"] = f"{folder}/shop.db"
        orders.fill(os.environ["SHOP_DATABASE"])
        print(
            f"{'':<19}{'verdict':<13}{'cause':<16}{'serial':>6} {'judged':>6}    N     cpu blocked"
            "     gil    idle      gc descheduled other     R1 ms cost/R1"
        )
        for _ in range(arguments.rounds):
            for path in EXPECTED:
                if arguments.only not in path:
                    continue
                line, right = asyncio.run(measure(path))
                print(line, flush=True)
                wrong += not right
    print(f"{wrong} not as expected")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
