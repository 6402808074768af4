"""One burst beside the single runs, and what all bursts at its level show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..model import Calibration, Cause, Looks, Pool, Run
from .growth import Growth, growth_of
from .idle_time import together
from .queued import Queued, seen_queued
from .queues import waits_for


@dataclass(frozen=True, slots=True)
class Shown:
    """What all bursts at one concurrency level show together.

    ``looks`` and ``later_looks`` are their sums during and after the window. ``queued`` says how
    much of the waiting was seen in queues. Idle time is charged to the cause ``waits_for``, and
    ``pool`` is the pool behind it.
    """

    looks: Looks
    later_looks: Looks
    queued: Queued
    waits_for: Cause
    pool: Pool | None


def shown_by(runs: Sequence[Run], steady: Sequence[Run], singles: Sequence[Run] = ()) -> Shown:
    """Return what the bursts ``runs`` show, and the looks at threads in the ``steady`` ones."""
    return Shown(
        together(run.looks for run in steady),
        together(run.after_looks for run in steady),
        seen_queued(runs),
        *waits_for(runs, singles),
    )


@dataclass(frozen=True, slots=True)
class Compared:
    """A burst and its growth over the single runs."""

    burst: Run
    singles: Sequence[Run]
    calibration: Calibration
    shown: Shown
    growth: Growth


def compared(
    burst: Run, singles: Sequence[Run], calibration: Calibration, shown: Shown
) -> Compared:
    """Return ``burst`` beside the ``singles``."""
    growth = _without_excess_gil(growth_of(burst, singles, calibration))
    return Compared(burst, singles, calibration, shown, growth)


def _without_excess_gil(growth: Growth) -> Growth:
    """Return ``growth`` with what cannot be waits for the GIL as unconfirmed blocking.

    Other threads hold the GIL while they compute, or while the machine keeps them from it. What is
    beyond both is a wait whose only look fell on its end: a sleep of 4 ms in a callback was called
    a wait for the GIL in 3 of 11 measurements on a quiet machine.
    """
    excess = max(0.0, growth.gil - growth.gil_cpu - growth.pressure - growth.stolen)
    return replace(
        growth,
        gil=growth.gil - excess,
        gil_seen=min(growth.gil_seen, growth.gil - excess),
        blocked=growth.blocked + excess,
        unwitnessed=growth.unwitnessed + excess,
    )
