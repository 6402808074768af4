"""Judge simulated handlers many times, from far below a limit to far above it.

    python benchmarks/simulation/run.py [--seeds 1000] [--write docs/operating-curve.md]

For each part of the budget, latency, concurrency and noise it counts how often a handler
passes, fails and is undecided at each multiple of its limit, and what that costs. Exits with 1
where a verdict is wrong outside of 0.7 to 1.4 times the limit, or where pass and fail are both
likely for one handler.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from machine import BUSY, CAUSES, NOISES, QUIET, Handler, Noise, handler_at, measured

from pytest_nonblocking.analysis import verdict
from pytest_nonblocking.model import Cause, Limits

RATIOS = (0.3, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.4, 2.0, 4.0)
ALONE = (0.008, 0.020, 0.080)
CONCURRENCIES = (10, 50)
CLEAR = (0.7, 1.4)
FLIP = 0.001


@dataclass(frozen=True)
class Point:
    """One handler on one machine, judged many times."""

    cause: Cause
    ratio: float
    alone: float
    concurrency: int
    noise: Noise
    seeds: int

    def judge(self) -> tuple[Counter[str], list[float]] | None:
        """Return how often each verdict came, and the costs in multiples of a single request."""
        limits = Limits(concurrency=self.concurrency)
        handler = handler_at(self.cause, self.ratio, self.alone, limits)
        if handler is None:
            return None
        words: Counter[str] = Counter()
        costs = []
        for seed in range(self.seeds):
            evidence, seconds = measured(handler, self.noise, seed, limits)
            words[verdict.judge(evidence, limits).verdict] += 1
            costs.append(seconds / self.alone)
        return words, costs


def _judged(point: Point) -> tuple[Counter[str], list[float]] | None:
    return point.judge()


@dataclass
class Found:
    """What all points show together."""

    rows: list[tuple[Point, Counter[str], float]]

    def wrong(self) -> list[str]:
        """Return the points with wrong verdicts outside of the band about the limit."""
        problems = []
        for point, words, _ in self.rows:
            low, high = CLEAR
            word = "fail" if point.ratio < low else "pass" if point.ratio > high else None
            if word and words[word]:
                problems.append(f"wrong {word}: {words[word]} of {words.total()} {_at(point)}")
        return problems

    def flips(self) -> list[str]:
        """Return the points at which pass and fail are both likely."""
        return [
            f"flips: {words['pass']} pass, {words['fail']} fail of {words.total()} {_at(p)}"
            for p, words, _ in self.rows
            if min(words["pass"], words["fail"]) > FLIP * words.total()
        ]


def _at(point: Point) -> str:
    return (
        f"at {point.ratio:g} times the limit, {point.cause}, {point.noise.name}, "
        f"T(1) {point.alone * 1000:.0f} ms, N {point.concurrency}"
    )


def simulate(seeds: int) -> Found:
    """Judge every point of the grid."""
    grid = itertools.product(CAUSES, ALONE, CONCURRENCIES, NOISES, RATIOS)
    points = [Point(c, ratio, a, n, noise, seeds) for c, a, n, noise, ratio in grid]
    with ProcessPoolExecutor() as pool:
        found = list(pool.map(_judged, points, chunksize=4))
    rows = [
        (point, judged[0], statistics.median(judged[1]))
        for point, judged in zip(points, found, strict=True)
        if judged is not None
    ]
    return Found(rows)


def curve(found: Found) -> list[str]:
    """Return the operating curve as a table, all latencies and concurrencies together."""
    rows = [
        "| part | noise | " + " | ".join(f"{ratio:g}" for ratio in RATIOS) + " |",
        "|---|---|" + "---:|" * len(RATIOS),
    ]
    for cause, noise in itertools.product(CAUSES, NOISES):
        cells = []
        for ratio in RATIOS:
            words: Counter[str] = Counter()
            for point, seen, _ in found.rows:
                if (point.cause, point.noise, point.ratio) == (cause, noise, ratio):
                    words.update(seen)
            total = words.total() or 1
            shares = (words[word] / total for word in ("pass", "inconclusive", "fail"))
            cells.append(" / ".join(f"{share:.0%}".removesuffix("%") for share in shares))
        rows.append(f"| {cause} | {noise.name} | " + " | ".join(cells) + " |")
    return rows


def costs(seeds: int) -> list[str]:
    """Return what a verdict costs for handlers of 20 ms, in multiples of a single request."""
    limits = Limits()
    handlers = {
        "healthy: awaits 20 ms": Handler(wait=0.0194, cpu=0.0006),
        "blocks for 20 ms": Handler(cpu=0.0006, blocked=0.0194),
        "computes for 20 ms": Handler(cpu=0.020),
        "a lock held for 20 ms": Handler(cpu=0.0006, hold=0.0194),
        "20 ms of Python in a thread": Handler(cpu=0.0006, python=0.0194),
        "20 ms without the GIL in a thread": Handler(cpu=0.0006, free=0.0194),
    }
    rows = ["| handler | quiet, R1 | busy, R1 |", "|---|---:|---:|"]
    for name, handler in handlers.items():
        medians = []
        for noise in (QUIET, BUSY):
            taken = [measured(handler, noise, seed, limits)[1] for seed in range(seeds)]
            medians.append(f"{statistics.median(taken) / 0.020:.1f}")
        rows.append(f"| {name} | {medians[0]} | {medians[1]} |")
    return rows


_PAGE = """# Operating curve

How often a handler passes, is undecided and fails (per cent, in this order) where its judged
figure is so many times the limit. `make simulate` judges {count:,} simulated measurements with
exact budgets and a model of noise (`benchmarks/simulation/noise.py` measures its figures), for
single requests of {alone} ms and {copies} copies. This page is written by
`benchmarks/simulation/run.py`.

{curve}

Outside of {low:g} to {high:g} times the limit {wrong}. {flips}.

## What a verdict costs

Multiples of a single request's latency (R1 = 20 ms), 50 copies, the median; the warm-up is counted.

{costs}
"""


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--write", type=Path)
    given = parser.parse_args()
    began = time.monotonic()
    found = simulate(given.seeds)
    count = sum(words.total() for _, words, _ in found.rows)
    print("\n".join(curve(found)))
    wrong, flips = found.wrong(), found.flips()
    print("\n".join([*wrong, *flips][:30]), len(wrong), len(flips))
    cost = costs(min(given.seeds, 100))
    print("\n".join(cost))
    print(f"{count:,} measurements judged in {time.monotonic() - began:.0f} s")
    if given.write:
        given.write.write_text(
            _PAGE.format(
                count=count,
                alone=", ".join(f"{a * 1000:.0f}" for a in ALONE),
                copies=" or ".join(map(str, CONCURRENCIES)),
                curve="\n".join(curve(found)),
                low=CLEAR[0],
                high=CLEAR[1],
                wrong=f"{len(wrong)} points have wrong verdicts" if wrong else "none is wrong",
                flips=f"{len(flips)} points flip"
                if flips
                else "Pass and fail are never both likely",
                costs="\n".join(cost),
            ),
            "utf-8",
        )
    return int(bool(wrong or flips))


if __name__ == "__main__":
    sys.exit(main())
