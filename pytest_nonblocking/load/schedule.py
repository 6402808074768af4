"""The schedule: asks the analysis what to run next, and a runner to run it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Protocol

from ..analysis.stopping import next_level
from ..model import Evidence, Limits, Run

Progress = Callable[[Evidence, int], None]
"""Called before each run with the evidence so far and the number of copies to run."""


class Runner(Protocol):
    """Makes the runs: on a real loop, or on a simulated machine."""

    async def run(self, concurrency: int, alone: tuple[float, ...]) -> Run:
        """Make one run; ``alone`` holds the makespans of the single runs in seconds."""

    def fault(self) -> str | None:
        """Return why the measurement is unusable, None if it is not."""


async def replicate(
    runner: Runner, evidence: Evidence, limits: Limits, progress: Progress | None = None
) -> Evidence:
    """Have ``runner`` make runs until the evidence is sufficient; return all of it."""
    while (level := next_level(evidence, limits)) is not None:
        if progress is not None:
            progress(evidence, level)
        alone = tuple(run.makespan for run in evidence.singles) if level > 1 else ()
        run = await runner.run(level, alone)
        if (fault := runner.fault()) is not None:
            return dataclasses.replace(evidence, unmeasured=fault)
        if level == 1:
            evidence = dataclasses.replace(evidence, singles=(*evidence.singles, run))
            continue
        evidence = dataclasses.replace(evidence, bursts=(*evidence.bursts, run))
    return evidence
