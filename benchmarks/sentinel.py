"""What the sentinel adds to each callback of a loop, side by side with an untouched loop.

Also prints by how much a million callbacks grow the process, and what a reading of the clocks costs
beside idle threads and child processes: one within a window, and those that open and close one.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import subprocess
import sys
import threading
import time
import tracemalloc

from pytest_nonblocking.sentinel import Sentinel

CALLBACKS = 100_000
ROUNDS = 15


async def run_callbacks(number: int) -> float:
    """Return the seconds per callback of a chain of callbacks, with many in each iteration."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    left = number

    def callback() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            done.set_result(None)

    began = time.perf_counter()
    for _ in range(number):
        loop.call_soon(callback)
    await done
    return (time.perf_counter() - began) / number


async def reading_costs() -> tuple[float, float]:
    """Return the seconds of a reading within a window, and of one that opens or closes it."""
    with Sentinel() as sentinel:
        within, between = [], []
        for _ in range(200):
            began = time.perf_counter()
            sentinel.probe.take_reading()
            within.append(time.perf_counter() - began)
        for _ in range(5):
            began = time.perf_counter()
            sentinel.reading()
            between.append(time.perf_counter() - began)
    return statistics.median(within), statistics.median(between)


async def print_reading_costs() -> None:
    """Print what readings cost beside idle threads, then beside idle child processes."""
    over = threading.Event()
    started = 0
    for threads in (0, 100, 1000):
        for _ in range(threads - started):
            threading.Thread(target=over.wait, daemon=True).start()
        started = threads
        within, between = await reading_costs()
        print(f"{threads:>5} threads: {within * 1e6:.1f} us within, {between * 1e3:.2f} ms between")
    over.set()
    await asyncio.sleep(1)
    sleeping = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]
    children: list[subprocess.Popen[bytes]] = []
    try:
        for number in (100, 1000):
            children += [subprocess.Popen(sleeping) for _ in range(number - len(children))]
            await asyncio.sleep(2)
            within, between = await reading_costs()
            costs = f"{within * 1e6:.1f} us within, {between * 1e3:.2f} ms between"
            print(f"{number:>5} children: {costs}")
    finally:
        for child in children:
            child.kill()
            child.wait()


async def main() -> None:
    """Print cost and growth."""
    added = []
    await run_callbacks(CALLBACKS)
    for _ in range(ROUNDS):
        bare = await run_callbacks(CALLBACKS)
        with Sentinel():
            watched = await run_callbacks(CALLBACKS)
        added.append(watched - bare)
    print(f"added to each callback: {statistics.median(added) * 1e9:.0f} ns")
    tracemalloc.start()
    with Sentinel():
        await run_callbacks(CALLBACKS)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(10):
            await run_callbacks(CALLBACKS)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    print(f"grown in a million callbacks: {grown / 1e6:.2f} MB")
    tracemalloc.stop()
    await print_reading_costs()


if __name__ == "__main__":
    asyncio.run(main())
