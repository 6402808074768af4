"""What each cause adds per request, with a lower and an upper bound.

A pass rests on the upper bound, from which no noise is subtracted; a fail rests on the lower
bound, from which everything that noise can explain is subtracted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from statistics import median

from ..model import Calibration, Cause, Limits, Looks, Pool, Run
from .growth import Growth, growth_of, pace_of, pace_spread
from .idle_time import (
    Idle,
    divided_idle,
    gil_bottleneck,
    least_share,
)
from .intervals import Bounds, share_between
from .noise import chilled, pressed, server_lateness, share_served
from .queues import Queued
from .single_runs import alone_bounds, certain_idle, starved_in
from .tolerances import (
    CPU_SPREAD,
    CPU_SPREAD_PRESSED,
    LEAST_EXCESS,
    MARGIN,
    MARGIN_PRESSED,
    QUEUED,
    RESIDUAL_SECONDS,
    RESIDUAL_SHARE,
    RESOLUTION,
    WAVES,
)


def limit_at(alone: float, limits: Limits) -> float:
    """Return the largest excess in seconds per request, if one alone takes ``alone`` seconds."""
    return max(LEAST_EXCESS, limits.max_serial_fraction * alone)


def is_evidence(run: Run) -> bool:
    """Return whether the budget of ``run`` accounts for its makespan."""
    return abs(run.residual) <= RESIDUAL_SHARE * run.makespan + RESIDUAL_SECONDS


# The excess

_WAITS = ("serialised-wait", "thread-pool")


@dataclass(frozen=True, slots=True)
class Excess:
    """The judged part of the bottleneck demand, in seconds per request, by cause."""

    parts: dict[Cause, Bounds]
    alone: Bounds
    growth: Growth
    offloaded: float
    margin: float
    hidden: float = 0.0
    """Wait per request, beyond the upper bound, that would not show because the loop got no core.

    A pool of two threads that serves a request each 20 ms is never full if the loop, on a machine
    with six busy tasks a core, gets to one each 33 ms."""

    fills_a_pool: bool = False
    """Whether connections, files or child processes were opened in the burst and stayed open."""
    starts_threads: bool = False
    """Whether worker threads were started in the burst."""

    @property
    def total(self) -> Bounds:
        """The sum over all causes."""
        return sum(self.parts.values(), Bounds(0.0, 0.0, 0.0))

    def without(self, causes: Sequence[str]) -> Excess:
        """Return the excess without the accepted ``causes``."""
        kept = {name: part for name, part in self.parts.items() if name not in causes}
        accepts_waits = any(cause in causes for cause in self.parts if cause in _WAITS)
        return replace(self, parts=kept, hidden=0.0 if accepts_waits else self.hidden)

    def convicts(self, limits: Limits) -> bool:
        """Return whether this burst votes for a fail."""
        return self.total.lower > limit_at(self.alone.upper, limits) * (1 + self.margin)

    def convicts_alone(self, limits: Limits) -> bool:
        """Return whether this burst is enough for a fail, because no one-off event looks like it.

        Waits in which each copy ends after the one before it are no one-off; if all copies are late
        together, a server may have paused once, and if a pool fills, they wait for connections that
        the next burst has (a database opened 7 of them one by one, in 247 ms). Each new thread
        pays for its first call (10 ms in a tile server, whose threads keep what they made). CPU on
        the loop is none if the single runs show it too, and then they corroborate it; 120 ms of it
        were seen once in a burst of eight sleeps.
        """
        limit = limit_at(self.alone.upper, limits)
        lower = 0.0
        for cause, part in self.parts.items():
            if cause == "gil-contention" and not self.starts_threads:
                lower += part.lower
            elif cause in _WAITS and not self.fills_a_pool:
                lower += min(part.lower, self.growth.spread_idle)
        return lower > limit * (1 + self.margin)

    def acquits(self, limits: Limits) -> bool:
        """Return whether this burst votes for a pass."""
        return self.most(limits) * (1 + self.margin) <= limit_at(self.alone.lower, limits)

    def most(self, limits: Limits) -> float:
        """Return the upper bound, with what is hidden if that is too much for a pass."""
        upper = self.total.upper + self.hidden
        is_too_much = upper > RESOLUTION * limit_at(self.alone.lower, limits)
        return upper if is_too_much else self.total.upper


def excess_of(
    burst: Run,
    singles: Sequence[Run],
    looks: Looks,
    later_looks: Looks,
    limits: Limits,
    calibration: Calibration,
    waits_for: tuple[Cause, Pool | None],
    queued: Queued,
) -> Excess:
    """Return the excess of ``burst`` over ``singles``.

    ``looks`` and ``later_looks`` are the sums over all bursts of its level, during and after
    the window. ``waits_for`` is the cause to which idle time is charged, and the pool behind it;
    ``queued`` says how much of the waiting was seen in queues.
    """
    growth = _without_excess_gil(growth_of(burst, singles, calibration))
    alone = alone_bounds(singles, growth, calibration)
    idle = divided_idle(burst, growth, looks, calibration, queued.not_for_cores)
    bottleneck = gil_bottleneck(looks, later_looks, calibration)
    in_threads = _gil(growth, idle, bottleneck, later_looks, calibration.cores)
    gil = _paced(in_threads, burst, calibration)
    cpu = _spread(growth.paced_cpu, cpu_spread(burst), chilled(burst))
    allowance = limits.cpu_allowance * max(1.0, burst.requests / burst.concurrency)
    cpu_excess, gil_excess = _beyond(allowance, cpu, gil)
    left = _left(allowance, cpu, gil)
    wait_cause, pool = waits_for
    wait = _wait(burst, singles, growth, idle, looks, left, calibration, queued, pool)
    # What nobody saw is as likely a wait for the GIL as others hold it: its holder may itself wait
    # for a core, and then uses no CPU.
    likely_gil = bottleneck * growth.unwitnessed
    more_likely, less_likely = Bounds(0.0, likely_gil, 0.0), Bounds(0.0, -likely_gil, 0.0)
    parts: dict[Cause, Bounds] = {
        "cpu-on-loop": cpu_excess,
        "blocking-call": _blocked(burst, growth, looks) + less_likely,
        "gil-contention": gil_excess + more_likely,
        wait_cause: _less(wait, _due_to_few_cores(pool, alone)),
    }
    return Excess(
        {cause: part.in_order() for cause, part in parts.items()},
        alone,
        growth,
        offloaded=max(0.0, growth.offloaded - idle.gil.estimate),
        margin=MARGIN + MARGIN_PRESSED * pressed(burst),
        hidden=_hidden(burst, singles, growth, idle),
        fills_a_pool=burst.opened > 0,
        starts_threads=burst.started > 0,
    )


def _hidden(burst: Run, singles: Sequence[Run], growth: Growth, idle: Idle) -> float:
    """Return the wait per request that ``_wait`` cannot see while the loop is descheduled or read.

    Requests wait for another resource no longer than one alone usually does while its loop is idle.
    """
    away = (growth.descheduled + growth.own) * (1 - idle.cores_lower) * (1 - burst.queued)
    return min(away, median(run.budget.idle for run in singles))


# Its parts


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


def _blocked(burst: Run, growth: Growth, looks: Looks) -> Bounds:
    """Return what blocking calls add per request; a late server or timer may explain part of it."""
    noise = min(share_served(burst.samples) * server_lateness(looks), growth.pressure)
    lower = growth.blocked - growth.unwitnessed - noise - growth.stolen
    return Bounds(max(0.0, lower), growth.blocked, growth.blocked)


def cpu_spread(run: Run) -> float:
    """Return the relative error of the CPU time of ``run``."""
    return CPU_SPREAD + CPU_SPREAD_PRESSED * pressed(run) + pace_spread(run)


def _paced(bounds: Bounds, run: Run, calibration: Calibration) -> Bounds:
    """Return ``bounds`` at the speed of the reference machine."""
    slowdown, spread = pace_of(run, calibration), 1 + pace_spread(run)
    return Bounds(
        bounds.lower / slowdown / spread,
        bounds.estimate / slowdown,
        bounds.upper / slowdown * spread,
    )


def _spread(value: float, share: float, more: float) -> Bounds:
    """Return the bounds of ``value`` within ``share``, which may also be too large by ``more``."""
    return Bounds(value / (1 + share + more), value, value * (1 + share))


def _gil(growth: Growth, idle: Idle, bottleneck: float, later_looks: Looks, cores: float) -> Bounds:
    """Return what the GIL adds per request, in callbacks and while the loop is idle.

    In callbacks that were seen waiting for the GIL, the other threads' CPU bounds how long they
    held it; any wait beyond that is the machine's, which did not run the holder. All ``cores`` were
    in use for no longer than that CPU time fills them: 426 of 498 ms were once excused by what
    threads had used in the other 2.
    """
    later_held = later_looks.held / later_looks.tried if later_looks.tried > 0 else 0.0
    _, later_free = (
        share_between(later_looks.free, later_looks.watched, later_looks.count)
        if later_looks.states and later_looks.count
        else (0.0, 1.0)
    )
    later = min(growth.later_idle, growth.later_idle_cpu)
    later_lower = max(0.0, later - growth.later_idle * later_free)
    # In the upper bound, time not proved to be the GIL's counts as a wait.
    in_idle = Bounds(idle.gil.lower, idle.gil.estimate, idle.gil.lower)
    proved = min(growth.gil, growth.gil_seen)
    proved += bottleneck * max(0.0, min(growth.gil, growth.gil_cpu) - proved)
    filled = max(0.0, growth.gil_cpu - (ceil(cores) - 1) * growth.gil) / max(growth.gil, 1e-9)
    unproved = (growth.gil - proved) * (1 - min(idle.cores_lower, filled))
    in_steps = Bounds(proved, proved + unproved, proved + unproved)
    return in_idle + in_steps + Bounds(later_lower, max(later_lower, later * later_held), later)


def _beyond(allowance: float, cpu: Bounds, gil: Bounds) -> tuple[Bounds, Bounds]:
    """Return the excess of loop CPU and of GIL waits over the allowance that they share.

    The GIL that a request's threads hold is CPU work of that request like its work on the loop.
    """

    def divided(cpu: float, gil: float) -> tuple[float, float]:
        left = max(0.0, allowance - cpu)
        return max(0.0, cpu - allowance), max(0.0, gil - left)

    lower, mid, upper = (
        divided(cpu.lower, gil.lower),
        divided(cpu.estimate, gil.estimate),
        divided(cpu.upper, gil.upper),
    )
    return Bounds(lower[0], mid[0], upper[0]), Bounds(lower[1], mid[1], upper[1])


def _left(allowance: float, cpu: Bounds, gil: Bounds) -> float:
    """Return the upper bound of the unused allowance."""
    return max(0.0, allowance - cpu.lower - gil.lower)


def _wait(
    burst: Run,
    singles: Sequence[Run],
    growth: Growth,
    idle: Idle,
    looks: Looks,
    left: float,
    calibration: Calibration,
    queued: Queued,
    pool: Pool | None,
) -> Bounds:
    """Return what waiting adds per request while the loop is idle or descheduled.

    Time that may be a wait for the GIL shares what is ``left`` of the CPU allowance.

    The cores explain at most C / c + D of the idle time, where C is the CPU time of workers on c
    cores and D their run-queue delay: while c of them are runnable, all cores are in use, which
    takes C / c if all of them run; while fewer are, the delay is what holds them up. Work done
    while fewer than c of them are runnable takes as long on any machine.

    While nothing of this process is runnable, every unfinished copy waits, and so does the one that
    ends last. Its own waits are those of a request alone: more than that is a queue, however few
    cores there are.

    A copy's waits may be of random length: handlers that wait for 3 to 40 ms failed in 1 of 80
    measurements. Unless half of the waiting was seen in queues, the lower bound counts only what
    the ranks of the latencies show.

    While the loop is descheduled or read, timers and responses come nearer: that time hides idle
    time if copies are seen waiting (it made a pool of 5 look like 0.10 instead of 0.14).
    """
    # Only the time spent waiting for another process can be such a process's lateness. A connection
    # that is kept open looks like such a wait, which one for a timer is not.
    served = looks.external / looks.count if looks.count else 0.0
    served = min(served, 1 - queued.asleep)
    elsewhere = min(served * server_lateness(looks), growth.pressure) + growth.stolen
    noise = growth.thread_delay * _held_up(burst, pool) + growth.child_delay + elsewhere
    starved = zip(singles, starved_in(singles, growth), strict=True)
    alone = median(run.budget.idle - lost for run, lost in starved)
    least = median(certain_idle(singles, growth, calibration))

    def unexplained(cores: float, alone: float) -> float:
        return max(0.0, (burst.budget.idle * (1 - cores) - alone) / (burst.concurrency - 1))

    perhaps_gil = min(left, idle.gil.upper - idle.gil.lower)
    ranked = min(growth.ranked_idle, growth.middle_idle)
    known = min(1.0, queued.share / QUEUED)
    in_queue = growth.middle_idle * known + ranked * (1 - known)
    seen = min(unexplained(idle.cores_upper, alone), in_queue)
    proved = max(seen - noise, min(seen, idle.worked))
    quiet = burst.budget.idle * least_share("quiet", "watched", burst, looks)
    in_quiet = max(0.0, (quiet - alone) / (burst.concurrency - 1))
    certain = min(seen - idle.gil.lower, in_quiet + idle.worked_freely)
    lower = max(proved - idle.gil.lower - perhaps_gil, certain - elsewhere)
    between = unexplained((idle.cores_lower + idle.cores_upper) / 2, alone)
    upper = unexplained(idle.cores_lower, least) - idle.gil.lower
    hidden = (growth.descheduled + growth.own) * burst.queued * (1 - idle.cores_lower)
    return Bounds(
        max(0.0, lower),
        max(0.0, lower, min(between - idle.gil.estimate, upper)),
        max(0.0, lower, upper + hidden),
    )


def _held_up(burst: Run, pool: Pool | None) -> float:
    """Return the share of its threads' run-queue delay by which the queue of a burst is longer.

    Requests that queue for one thing wait for each delay of whoever holds it. A pool of n threads
    serves waves of n calls, each of them later by the delay of one call: the copy in the middle
    waits for as many waves as there are before it, and for its own.
    """
    if pool is None:
        return 1.0
    before = (burst.concurrency - 1) / 2
    return min(1.0, WAVES * ceil(before / max(1, pool.busy)) / before)


def _due_to_few_cores(pool: Pool | None, alone: Bounds) -> float:
    """Return the cost per request of a pool that would be larger on a machine with more cores.

    asyncio's default executor has 4 more threads than the machine has cores.
    """
    if pool is None or not pool.sized_by_cpu_count:
        return 0.0
    return WAVES * alone.estimate / pool.size


def _less(bounds: Bounds, part: float) -> Bounds:
    return Bounds(
        max(0.0, bounds.lower - part),
        max(0.0, bounds.estimate - part),
        max(0.0, bounds.upper - part),
    )
