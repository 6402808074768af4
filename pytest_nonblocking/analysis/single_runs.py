"""T(1): what one request takes alone, without what the machine and the plugin took."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from ..model import Calibration, Run
from .growth import Growth, pace_of, pace_spread
from .idle_time import computed_while_idle, least_share, most_at_once, together
from .intervals import Bounds, share_between
from .noise import other_delay


def alone_bounds(singles: Sequence[Run], growth: Growth, calibration: Calibration) -> Bounds:
    """Return T(1) in seconds, without the time taken by the machine and the plugin.

    Its CPU is divided by the slowdown, like the excess that is compared with it. Worker threads'
    wait for a core is part of the loop's idle time: with busy neighbours, 20 ms of work in a thread
    took up to 200 ms. The lower bound leaves out all that may be such a wait, the upper bound
    what certainly is one.
    """
    taken = [_undisturbed(run, pace_of(run, calibration)) for run in singles]
    certain = zip(singles, certain_idle(singles, growth, calibration), strict=True)
    waits = [run.budget.idle - idle for run, idle in certain]
    lower = [max(1e-6, whole - wait) for whole, wait in zip(taken, waits, strict=True)]
    starved = starved_in(singles, growth)
    upper = [max(least, t - s) for least, t, s in zip(lower, taken, starved, strict=True)]
    usual = median(lower)
    return Bounds(usual, usual, max(*lower, median(upper)))


def _requests_share(run: Run, growth: Growth) -> float:
    """Return the share of the CPU time of threads and child processes that the requests used.

    Threads whose CPU time does not grow with the requests have nothing to do with them.
    """
    cpu = run.budget.other_cpu + run.budget.child_cpu
    return min(1.0, growth.offloaded / cpu) if cpu > 0 else 0.0


def certain_idle(singles: Sequence[Run], growth: Growth, calibration: Calibration) -> list[float]:
    """Return a lower bound on each single run's idle time without busy neighbours, in seconds.

    Its threads and child processes compute for their CPU time, as many at once as the looks show,
    and while nothing is runnable, no core is missing. The rest may be a wait for a core.
    """
    looks = together(run.looks for run in singles)
    at_once = most_at_once(looks, calibration)
    least = []
    for run in singles:
        idle, share = run.budget.idle, _requests_share(run, growth)
        pace = pace_of(run, calibration) * (1 + pace_spread(run))
        work = computed_while_idle(run, calibration) * share / at_once / pace
        quiet = idle * least_share("quiet", "watched", run, looks)
        least.append(max(idle - other_delay(run), min(idle, quiet + work)))
    return least


def starved_in(singles: Sequence[Run], growth: Growth) -> list[float]:
    """Return the seconds in which certainly no thread of a request got a core and one needed it.

    Threads are runnable for a share of the idle time that the looks bound from below, and they run
    for at most their CPU time: for the rest, the machine gave them no core.
    """
    looks = together(run.looks for run in singles)
    active, _ = share_between(looks.active, looks.watched, looks.count if looks.states else 0)
    starved = []
    for run in singles:
        budget = run.budget
        away = max(0.0, budget.idle * active - budget.idle_cpu - budget.child_cpu)
        starved.append(min(other_delay(run), away) * _requests_share(run, growth))
    return starved


def _undisturbed(run: Run, slowdown: float) -> float:
    budget = run.budget
    own_pace = budget.wall - budget.taken
    return max(own_pace - (budget.cpu + budget.gc) * (1 - 1 / slowdown), 1e-6)
