"""What each further request of a burst adds, by part of the loop-time budget.

A closed burst of N copies takes T(N) = W + N * S, where S is the serial demand per request. The
budget is additive, so is its slope.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..model import Calibration, Run

_REFERENCE = Calibration()


@dataclass(frozen=True, slots=True)
class Growth:
    """Seconds per further request of one burst; the fields are those of the budget.

    Collections on the loop's thread are in ``cpu``: the heap from before is frozen, so they come
    from objects that the requests made. ``paced_cpu`` is that CPU as the reference machine would
    have used it. Work that goes on after the last response is in ``cpu``,
    ``blocked`` and ``gil`` too, and its waits are in ``later_idle``. ``middle_idle`` is how much
    each request adds until the copy in the middle ends: it is near ``idle`` in a queue, and near
    zero where a few waits of random length are long. ``spread_idle`` is by how much each copy ends
    after the one before it: near ``idle`` in a queue, and near zero where all are late together.
    """

    cpu: float = 0.0
    paced_cpu: float = 0.0
    blocked: float = 0.0
    unwitnessed: float = 0.0
    gil: float = 0.0
    gil_cpu: float = 0.0
    gil_seen: float = 0.0
    idle: float = 0.0
    middle_idle: float = 0.0
    spread_idle: float = 0.0
    idle_cpu: float = 0.0
    descheduled: float = 0.0
    own: float = 0.0
    delay: float = 0.0
    offloaded: float = 0.0
    later_idle: float = 0.0
    later_idle_cpu: float = 0.0
    pressure: float = 0.0

    @property
    def serial(self) -> float:
        """S: the sum of all parts that grow with each further request."""
        return self.cpu + self.blocked + self.gil + self.idle


def cpu_of(run: Run) -> float:
    """Return the CPU on the loop in seconds, with collections and what follows the response."""
    return run.budget.cpu + run.budget.gc + run.after.cpu + run.after.gc


def pace_of(run: Run, calibration: Calibration) -> float:
    """Return how many times slower than the reference the process computed about ``run``."""
    return statistics.mean(run.slowdowns) if run.slowdowns else calibration.factor


def pace_spread(run: Run) -> float:
    """Return by which share the slowdown about ``run`` differs from its mean, on either side.

    Where the other thread of a core comes or goes meanwhile, nobody knows at which pace the run was
    made: between the two.
    """
    if not run.slowdowns:
        return 0.0
    return max(run.slowdowns) / statistics.mean(run.slowdowns) - 1


def growth_of(burst: Run, singles: Sequence[Run], calibration: Calibration = _REFERENCE) -> Growth:
    """Return what each request of ``burst`` adds to the median of the single runs."""

    def slope(part: Callable[[Run], float]) -> float:
        alone = statistics.median(part(run) for run in singles)
        return max(0.0, (part(burst) - alone) / (burst.concurrency - 1))

    return Growth(
        cpu=slope(cpu_of),
        paced_cpu=slope(lambda r: cpu_of(r) / pace_of(r, calibration)),
        blocked=slope(lambda r: r.budget.blocked + r.after.blocked),
        unwitnessed=slope(lambda r: r.budget.unwitnessed + r.after.unwitnessed),
        gil=slope(lambda r: r.budget.gil + r.after.gil),
        gil_cpu=slope(lambda r: r.budget.gil_cpu + r.after.gil_cpu),
        gil_seen=slope(lambda r: r.budget.gil_seen + r.after.gil_seen),
        idle=slope(lambda r: r.budget.idle),
        middle_idle=_middle_slope(burst, singles),
        spread_idle=_spread_slope(burst),
        idle_cpu=slope(lambda r: r.budget.idle_cpu),
        descheduled=slope(lambda r: r.budget.descheduled),
        own=slope(lambda r: r.budget.own),
        delay=slope(lambda r: r.budget.other_delay + r.budget.child_delay),
        offloaded=slope(lambda r: r.budget.other_cpu + r.budget.child_cpu),
        later_idle=slope(lambda r: r.after.idle),
        later_idle_cpu=slope(lambda r: r.after.idle_cpu),
        pressure=slope(lambda r: r.pressure.waiting),
    )


def _spread_slope(burst: Run) -> float:
    """Return by how much each copy ends after the one before it, on average."""
    if len(burst.latencies) < 2:
        return 0.0
    return (max(burst.latencies) - min(burst.latencies)) / (len(burst.latencies) - 1)


def _middle_slope(burst: Run, singles: Sequence[Run]) -> float:
    """Return by how much each request before it delays the copy that ends in the middle.

    Without the share of the burst that the machine and the plugin took: they are no queue.
    """
    if len(burst.latencies) < burst.concurrency:  # some did not end
        return burst.makespan / burst.concurrency
    alone = max(run.makespan for run in singles)
    before = (burst.concurrency - 1) / 2
    taken = (burst.budget.descheduled + burst.budget.own) / max(burst.makespan, 1e-9)
    middle = statistics.median(burst.latencies) * max(0.0, 1 - taken)
    return max(0.0, (middle - alone) / before)
