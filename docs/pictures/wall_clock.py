"""Draw wall-clock.svg: the ratio T(50) / T(1) of wall times, quiet and beside four busy processes.

`make pictures` runs it. Each dot is one measurement of one handler.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pygal
from fastapi import FastAPI
from pygal.style import Style

_COPIES, _REPEATED = 50, 15
app = FastAPI()


@app.get("/answers")
async def answers() -> list[dict[str, int]]:
    """Healthy: a small answer at once."""
    return [{"number": number} for number in range(20)]


@app.get("/awaits")
async def awaits() -> None:
    """Healthy: awaits 20 ms."""
    await asyncio.sleep(0.02)


@app.get("/blocks")
async def blocks() -> None:
    """Faulty: blocks the loop for 10 ms of 200 ms."""
    await asyncio.sleep(0.19)
    time.sleep(0.01)  # noqa: ASYNC251  # the fault


HANDLERS = {
    "healthy: a small answer": "/answers",
    "healthy: awaits 20 ms": "/awaits",
    "faulty: blocks for 10 of 200 ms": "/blocks",
}


async def _seconds(send: Callable[[], Awaitable[object]], copies: int) -> float:
    began = time.perf_counter()
    await asyncio.gather(*(send() for _ in range(copies)))
    return time.perf_counter() - began


async def _ratios(path: str) -> list[float]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:

        async def send() -> None:
            await client.get(path)

        await _seconds(send, 1)  # warms up
        return [await _seconds(send, _COPIES) / await _seconds(send, 1) for _ in range(_REPEATED)]


def _spin() -> None:
    while True:
        pass


def measured() -> dict[str, dict[str, list[float]]]:
    """Return the ratios by condition and handler."""
    found = {"quiet": {name: asyncio.run(_ratios(path)) for name, path in HANDLERS.items()}}
    busy = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(4)]
    for process in busy:
        process.start()
    try:
        time.sleep(0.5)
        found["four busy processes"] = {
            name: asyncio.run(_ratios(path)) for name, path in HANDLERS.items()
        }
    finally:
        for process in busy:
            process.kill()
    return found


def main() -> None:
    """Measure and draw."""
    style = Style(
        font_family="sans-serif",
        background="white",
        plot_background="white",
        colors=("#2f6fb3", "#c4462d"),
    )
    chart = pygal.XY(
        stroke=False,
        logarithmic=True,
        style=style,
        js=(),
        width=760,
        height=420,
        dots_size=4,
        legend_at_bottom=True,
        show_y_guides=True,
        title="Wall time of 50 requests at once / of one request",
        # Both axes are logarithmic.
        x_labels=[{"label": name, "value": 10**n} for n, name in enumerate(HANDLERS)],
        xrange=(10**-0.5, 10 ** (len(HANDLERS) - 0.5)),
        truncate_label=-1,
        range=(1, 1000),
        y_labels=[1, 2, 5, 10, 20, 50, 100, 200, 500, 1000],
    )
    for shift, (condition, ratios) in zip((-0.1, 0.1), measured().items(), strict=True):
        by_handler = enumerate(ratios[name] for name in HANDLERS)
        chart.add(condition, [(10 ** (n + shift), one) for n, found in by_handler for one in found])
    Path(__file__).with_name("wall-clock.svg").write_bytes(chart.render(is_unicode=False))


if __name__ == "__main__":
    main()
