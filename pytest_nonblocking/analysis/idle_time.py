"""How a burst's idle time divides between the cores, the GIL and waiting."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, inf
from typing import Literal, NamedTuple

from ..model import Calibration, Looks, Run
from .growth import Growth, pace_of, pace_spread
from .intervals import Bounds, share_between
from .tolerances import FREELY_HELD, PART_OF_A_CORE, ROUND


@dataclass(frozen=True, slots=True)
class Idle:
    """How the idle time of a burst divides between the cores, the GIL and waiting.

    ``cores_lower`` and ``cores_upper`` bound the share of it in which all cores were in use.
    ``gil`` is the part of the GIL, ``worked`` what workers certainly computed while a core was
    free, and ``worked_freely`` the part of it that certainly needed no GIL, in seconds per
    additional request.
    """

    cores_lower: float
    cores_upper: float
    gil: Bounds
    worked: float
    worked_freely: float


class _Seen(NamedTuple):
    """What the looks at other threads show; the defaults hold without any look."""

    cores_lower: float = 0.0
    cores_upper: float = inf
    worked: float = 0.0
    worked_freely: float = 0.0
    gil: float = 0.0


def divided_idle(
    run: Run, growth: Growth, looks: Looks, calibration: Calibration, in_queues: float
) -> Idle:
    """Return how the idle time of ``run`` divides.

    The machine is a resource too: while as many threads or processes of ours as there are cores
    are runnable, more cores would help. What their CPU time proves holds on any machine; what the
    looks show also holds beside busy neighbours, which keep our threads from running. They stretch
    the time in which the cores are wanted, though, and a queue may hide in it (a pool of one thread
    beside a process pool): the looks explain no more of it than ``in_queues`` leaves, the share of
    the waiting that is for something other than a core.
    """
    if run.budget.idle <= 0:
        return Idle(0.0, 1.0, Bounds(0.0, 0.0, 0.0), 0.0, 0.0)
    lower, upper = _cores_by_cpu(run, calibration)
    seen = _seen(run, growth, looks, calibration)
    lower = min(1.0, max(lower, seen.cores_lower * (1 - in_queues)))
    upper = min(1.0, max(lower, min(upper, seen.cores_upper)))
    gil = _gil_while_idle(run, growth, looks, calibration, seen.gil, growth.idle * (1 - lower))
    return Idle(lower, upper, gil, seen.worked, seen.worked_freely)


def _cores_by_cpu(run: Run, calibration: Calibration) -> tuple[float, float]:
    """Bound the share of the idle time in which all cores were in use, from CPU times."""
    budget, cores = run.budget, calibration.cores
    computed = computed_while_idle(run, calibration)
    lower = max(0.0, computed - (ceil(cores) - 1) * budget.idle) / budget.idle
    # The bounds of a wait account for workers' run-queue delay. Where it is unknown, they may have
    # had a part of a core only.
    by_all = budget.idle * (cores if calibration.knows_delays else PART_OF_A_CORE)
    return lower, (budget.idle_cpu + budget.child_cpu) / by_all


def computed_while_idle(run: Run, calibration: Calibration) -> float:
    """Return the least CPU seconds that threads and child processes used while the loop was idle.

    While it was not, child processes used at most all cores, or those that it left.
    """
    budget, cores = run.budget, calibration.cores
    busy = budget.cpu + budget.gc + budget.own
    away = budget.blocked + budget.gil + budget.descheduled
    return budget.idle_cpu + max(0.0, budget.child_cpu - (cores - 1) * busy - cores * away)


def most_at_once(looks: Looks, calibration: Calibration) -> float:
    """Return an upper bound on how many threads and processes run at once while any does."""
    others = max(0.0, calibration.cores - 1)
    if not (looks.states and looks.watched > 0):
        return 1 + others
    _, several = share_between(
        looks.several, looks.active, int(looks.count * looks.active / looks.watched)
    )
    return 1 + others * several


def _seen(run: Run, growth: Growth, looks: Looks, calibration: Calibration) -> _Seen:
    """Return what the looks at other threads and processes prove about the idle time."""
    if not (looks.states and looks.count):
        return _Seen()
    cores = ceil(calibration.cores)
    lower, _ = share_between(looks.saturated, looks.watched, looks.count)
    _, upper = share_between(looks.maybe_saturated, looks.watched, looks.count)
    _, free = share_between(looks.free, cores * looks.watched, looks.count)
    idle = run.budget.idle
    pace = pace_of(run, calibration) * (1 + pace_spread(run))
    freely = growth.idle_cpu * least_share("used_alone", "used", run, looks) / pace
    beyond = growth.idle_cpu - cores * upper * idle / (run.concurrency - 1)
    worked = max(freely, beyond / pace)
    gil = growth.idle_cpu - cores * free * idle / (run.concurrency - 1)
    return _Seen(lower, upper, worked, freely, gil)


def least_share(
    part: Literal["quiet", "used_alone"], whole: Literal["watched", "used"], run: Run, looks: Looks
) -> float:
    """Return the lower bound of a share of what the looks stand for, from 0 to 1.

    ``looks`` are those of all bursts at the level of ``run``, which may have been the busiest.
    """
    if not looks.states:
        return 0.0
    count = int(looks.watched / ROUND)
    least, _ = share_between(getattr(looks, part), getattr(looks, whole), count)
    of = getattr(run.looks, whole)
    return min(least, getattr(run.looks, part) / of) if of > 0 else 0.0


def _gil_while_idle(
    run: Run, growth: Growth, looks: Looks, calibration: Calibration, seen: float, most: float
) -> Bounds:
    """Return what the GIL adds per request while the loop is idle, at most ``most``.

    ``seen`` is the lower bound that the looks give.
    """
    lower = max(growth.idle_cpu * gil_bottleneck(looks, Looks(), calibration), seen)
    lower = min(lower, most)
    held = gil_held(looks, calibration)
    estimate = max(lower, min(growth.idle_cpu * held.estimate, most))
    most_held = min(growth.idle_cpu, held.upper * run.budget.idle / (run.concurrency - 1))
    return Bounds(lower, estimate, max(estimate, min(most_held, most)))


def gil_held(looks: Looks, calibration: Calibration) -> Bounds:
    """Return the share of the time for which other threads held the GIL, from 0 to 1.

    The watchdog measures its own waits for the GIL, which changes hands at most once per switch
    interval: that is the number of independent samples.
    """
    samples = int(looks.tried / calibration.switch_interval)
    lower, _ = share_between(looks.held, looks.tried, samples)
    _, upper = share_between(looks.maybe_held, looks.tried, samples)
    return Bounds(lower, looks.held / looks.tried if looks.tried > 0 else 0.0, upper)


def gil_bottleneck(looks: Looks, later: Looks, calibration: Calibration) -> float:
    """Return the share of the time in which the GIL was certainly the bottleneck, from 0 to 1."""
    held = gil_held(together((looks, later)), calibration).lower
    return max(0.0, (held - FREELY_HELD) / (1 - FREELY_HELD))


def together(looks: Iterable[Looks]) -> Looks:
    """Return the totals of all ``looks``."""
    total = Looks()
    for one in looks:
        total = total.plus(one)
    return total
