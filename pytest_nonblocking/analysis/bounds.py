"""What each cause adds per request, with a lower and an upper bound.

A pass rests on the upper bound, from which no noise is subtracted; a fail rests on the lower
bound, from which everything that noise can explain is subtracted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

from ..model import Calibration, Cause, Limits, Looks, Run
from .compared import Compared
from .growth import Growth, pace_of, pace_spread
from .idle_time import Idle, divided_idle, gil_bottleneck
from .intervals import Bounds, share_between
from .noise import chilled, pressed, server_lateness, share_served
from .single_runs import alone_bounds
from .tolerances import (
    CPU_SPREAD,
    CPU_SPREAD_PRESSED,
    LEAST_EXCESS,
    MARGIN,
    MARGIN_PRESSED,
    RESIDUAL_SECONDS,
    RESIDUAL_SHARE,
    RESOLUTION,
)
from .waits import hidden_wait, waits_beyond_cores


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


def excess_of(compared: Compared, limits: Limits) -> Excess:
    """Return the excess of a burst over the single runs."""
    burst, growth, shown = compared.burst, compared.growth, compared.shown
    looks, calibration = shown.looks, compared.calibration
    alone = alone_bounds(compared.singles, growth, calibration)
    idle = divided_idle(burst, growth, looks, calibration, shown.queued.not_for_cores)
    bottleneck = gil_bottleneck(looks, shown.later_looks, calibration)
    gil = _paced(_gil(compared, idle, bottleneck), burst, calibration)
    cpu = _spread(growth.paced_cpu, cpu_spread(burst), chilled(burst))
    allowance = limits.cpu_allowance * max(1.0, burst.requests / burst.concurrency)
    cpu_excess, gil_excess = _beyond(allowance, cpu, gil)
    # What nobody saw is as likely a wait for the GIL as others hold it: its holder may itself wait
    # for a core, and then uses no CPU.
    likely_gil = bottleneck * growth.unwitnessed
    more_likely, less_likely = Bounds(0.0, likely_gil, 0.0), Bounds(0.0, -likely_gil, 0.0)
    parts: dict[Cause, Bounds] = {
        "cpu-on-loop": cpu_excess,
        "blocking-call": _blocked(burst, growth, looks) + less_likely,
        "gil-contention": gil_excess + more_likely,
        shown.waits_for: waits_beyond_cores(compared, idle, alone, _left(allowance, cpu, gil)),
    }
    return Excess(
        {cause: part.in_order() for cause, part in parts.items()},
        alone,
        growth,
        offloaded=max(0.0, growth.offloaded - idle.gil.estimate),
        margin=MARGIN + MARGIN_PRESSED * pressed(burst),
        hidden=hidden_wait(compared, idle),
        fills_a_pool=burst.opened > 0,
        starts_threads=burst.started > 0,
    )


# Its parts


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


def _gil(compared: Compared, idle: Idle, bottleneck: float) -> Bounds:
    """Return what the GIL adds per request, in callbacks and while the loop is idle.

    In callbacks that were seen waiting for the GIL, the other threads' CPU bounds how long they
    held it; any wait beyond that is the machine's, which did not run the holder. All cores were in
    use for no longer than that CPU time fills them: 426 of 498 ms were once excused by what threads
    had used in the other 2.
    """
    growth, later_looks = compared.growth, compared.shown.later_looks
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
    cores = compared.calibration.cores
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
