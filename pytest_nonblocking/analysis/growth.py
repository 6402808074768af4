"""What each additional request of a burst costs, by part of the loop-time budget.

A closed burst of N copies takes T(N) = W + N * S, where S is the demand on the bottleneck resource
per request (the bottleneck law of operational analysis). The budget is additive, and so is its
slope.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb
from statistics import mean, median

from ..model import Calibration, Run
from .tolerances import FLIP, STEAL_TICK

_REFERENCE = Calibration()


@dataclass(frozen=True, slots=True)
class Growth:
    """Seconds per additional request of one burst; the fields are those of ``Budget``.

    ``cpu`` includes collections on the loop's thread: the older heap is frozen, so they are due to
    the requests' own objects. ``paced_cpu`` is ``cpu`` at the speed of the reference machine. Work
    after the last response counts in ``cpu``, ``blocked`` and ``gil``; its waits are in
    ``later_idle``. ``middle_idle`` is what each request adds to the median latency: near ``idle``
    in a queue, near zero if a few waits of random length are long; ``ranked_idle`` is the same for
    a copy that is late by chance in one measurement of 1,000 only. ``spread_idle`` is
    the mean interval between the ends of copies: near ``idle`` in a queue, near zero if all are
    late together.
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
    ranked_idle: float = 0.0
    spread_idle: float = 0.0
    idle_cpu: float = 0.0
    descheduled: float = 0.0
    own: float = 0.0
    thread_delay: float = 0.0
    child_delay: float = 0.0
    offloaded: float = 0.0
    later_idle: float = 0.0
    later_idle_cpu: float = 0.0
    pressure: float = 0.0
    stolen: float = 0.0

    @property
    def serial(self) -> float:
        """S, the demand on the bottleneck per request in seconds; 1 / S bounds the throughput."""
        return self.cpu + self.blocked + self.gil + self.idle


def cpu_of(run: Run) -> float:
    """Return the loop's CPU time in seconds, collections and work after the response included."""
    return run.budget.cpu + run.budget.gc + run.after.cpu + run.after.gc


def stolen_in(run: Run) -> float:
    """Return the seconds that a hypervisor may have taken from one core, 0 if it took none.

    A timer of a core that is taken away is late, and no counter of the kernel shows it: sleeps of
    3 ms lasted 7.8 ms in 3 of 4 bursts.
    """
    return run.pressure.stolen + STEAL_TICK if run.pressure.stolen > 0 else 0.0


def pace_of(run: Run, calibration: Calibration) -> float:
    """Return the slowdown of the process around ``run``, relative to the reference machine."""
    return mean(run.slowdowns) if run.slowdowns else calibration.factor


def pace_spread(run: Run) -> float:
    """Return the relative deviation of the slowdown around ``run`` from its mean.

    If a hyperthread sibling became busy or idle meanwhile, the speed of the run lies between the
    two measurements.
    """
    if not run.slowdowns:
        return 0.0
    return max(run.slowdowns) / mean(run.slowdowns) - 1


def growth_of(burst: Run, singles: Sequence[Run], calibration: Calibration = _REFERENCE) -> Growth:
    """Return what each request of ``burst`` adds to the median of the single runs, in seconds."""

    def slope(part: Callable[[Run], float]) -> float:
        alone = median(part(run) for run in singles)
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
        ranked_idle=_ranked_slope(burst, singles),
        spread_idle=_spread_slope(burst),
        idle_cpu=slope(lambda r: r.budget.idle_cpu),
        descheduled=slope(lambda r: r.budget.descheduled),
        own=slope(lambda r: r.budget.own),
        thread_delay=slope(lambda r: r.budget.other_delay),
        child_delay=slope(lambda r: r.budget.child_delay),
        offloaded=slope(lambda r: r.budget.other_cpu + r.budget.child_cpu),
        later_idle=slope(lambda r: r.after.idle),
        later_idle_cpu=slope(lambda r: r.after.idle_cpu),
        pressure=slope(lambda r: r.pressure.waiting),
        stolen=slope(stolen_in),
    )


def _spread_slope(burst: Run) -> float:
    """Return the mean interval between the ends of two copies in seconds."""
    latencies = burst.undisturbed_latencies
    return (max(latencies) - min(latencies)) / (len(latencies) - 1) if latencies[1:] else 0.0


def _ranked_slope(burst: Run, singles: Sequence[Run]) -> float:
    """Return how much each earlier request delays a copy in seconds, if waits are of random length.

    If no copy waited for another, n single runs would all be shorter than the copy that ends as
    number k + 1 of m with a chance of C(n + k, n) / C(n + m, n), whatever the distribution. The
    last copy for which that is rare enough is compared with the longest single run, and so is the
    middle one if it ends later.
    """
    copies, runs = burst.concurrency, len(singles)
    if len(burst.latencies) < copies:  # some copies did not end
        return _middle_slope(burst, singles)
    possible = FLIP * comb(runs + copies, runs)
    rank = sum(comb(runs + k, runs) <= possible for k in range(1, copies))
    if rank == 0:
        return 0.0
    delay = _delay_of(sorted(burst.undisturbed_latencies)[rank], rank, singles)
    return delay if 2 * rank >= copies - 1 else min(delay, _middle_slope(burst, singles))


def _delay_of(latency: float, before: float, singles: Sequence[Run]) -> float:
    """Return how much each of ``before`` requests delays a copy in seconds.

    Its ``latency`` is without what the machine and the plugin took: that is not a queue.
    """
    return max(0.0, (latency - max(run.undisturbed for run in singles)) / before)


def _middle_slope(burst: Run, singles: Sequence[Run]) -> float:
    """Return how much each earlier request delays the copy with the median latency, in seconds."""
    if len(burst.latencies) < burst.concurrency:  # some copies did not end
        return burst.makespan / burst.concurrency
    middle = median(burst.undisturbed_latencies)
    return _delay_of(middle, (burst.concurrency - 1) / 2, singles)
