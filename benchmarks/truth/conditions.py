"""The conditions under which the corpus is judged: neighbours, tracers, workers, clocks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

# Each ends by itself where its run was killed: four that stayed made every later figure worthless.
_WHILE_ITS_RUN_LASTS = """
import os
parent = os.getppid()
while os.getppid() == parent:
"""
_BUSY = f"""{_WHILE_ITS_RUN_LASTS}
    for _ in range(100_000):
        pass
"""
_ALLOCATES = f"""
import mmap
{_WHILE_ITS_RUN_LASTS}
    blocks = [mmap.mmap(-1, 1 << 26) for _ in range(24)]
    for block in blocks:
        for offset in range(0, len(block), 4096):
            block[offset] = 1
    for block in blocks:
        block.close()
"""
_WAKES = f"""
import time
{_WHILE_ITS_RUN_LASTS}
    time.sleep(0.001)
    sum(range(3000))
"""


class Condition(NamedTuple):
    """How a run of the corpus is made; ``neighbours`` are programs that run beside it."""

    name: str
    says: str
    neighbours: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    coverage: bool = False
    since: tuple[int, int] = (3, 10)


CONDITIONS = (
    Condition("quiet", "nothing else runs"),
    Condition("busy", "four busy processes on the two cores", (_BUSY,) * 4),
    Condition("xdist", "pytest -n 4 on two cores", arguments=("-n", "4")),
    Condition(
        "coverage-c",
        "coverage with its C tracer",
        coverage=True,
        environment=(("COVERAGE_CORE", "ctrace"),),
    ),
    Condition(
        "coverage-sysmon",
        "coverage on sys.monitoring",
        coverage=True,
        environment=(("COVERAGE_CORE", "sysmon"),),
        since=(3, 12),
    ),
    Condition("memory", "two processes that map, touch and free 1.5 GiB", (_ALLOCATES,) * 2),
    Condition("wakes", "two processes that wake every millisecond", (_WAKES,) * 2),
    Condition("uvicorn", "behind uvicorn", arguments=("--nonblocking-transport", "uvicorn")),
    Condition(
        "testclient",
        "Starlette's TestClient in plain tests",
        environment=(("TRUTH_CLIENT", "testclient"),),
    ),
    Condition("uvloop", "on uvloop", environment=(("TRUTH_LOOP", "uvloop"),)),
    Condition(
        "trio", "on trio, the handlers that run there", environment=(("TRUTH_LOOP", "trio"),)
    ),
    Condition(
        "fallback",
        "without schedstat, as on macOS and Windows",
        environment=(("PYTEST_NONBLOCKING_CLOCK", "fallback"),),
    ),
    Condition(
        "fallback-busy",
        "without schedstat, four busy processes",
        (_BUSY,) * 4,
        environment=(("PYTEST_NONBLOCKING_CLOCK", "fallback"),),
    ),
)


@contextmanager
def neighbours(condition: Condition) -> Iterator[None]:
    """Run the condition's neighbours, and end them."""
    running = [subprocess.Popen([sys.executable, "-c", text]) for text in condition.neighbours]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()
