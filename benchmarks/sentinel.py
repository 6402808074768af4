"""What the sentinel adds to each callback of a loop, side by side with an untouched loop.

Also prints by how much a million callbacks grow the process.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
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


if __name__ == "__main__":
    asyncio.run(main())
