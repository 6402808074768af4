"""Every tolerance of the analysis, with its derivation, and the bounds that are made of them.

A verdict is a proof, so every figure in it is a bound: a pass rests on the upper bound, from
which no noise is taken, and a fail on the lower bound, from which all is taken that noise can
explain.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..model import Calibration, Cause, Limits, Looks, Pool, Run, Sample
from .growth import Growth, growth_of, pace_of, pace_spread

LEAST_EXCESS = 0.001
"""Seconds per request below which nothing fails for scaling: 1,000 requests/s on one core."""

CPU_SPREAD, CPU_SPREAD_PRESSED = 0.12, 0.05
"""By which share the processor time of the same code differs from one measurement to the next:
caches, clock speed, and the measured slowdown itself; and what is added where tasks wait for a
processor all the time. Divided by the slowdown it differed by 7 % (standard deviation) on a virtual
machine whose host was busy; the operating curve (docs/operating-curve.md) shows what they buy."""

MARGIN, MARGIN_PRESSED = 0.04, 0.10
"""By which share the judged figure must clear its limit, on either side, and what is added where
tasks wait for a processor all the time. It covers what differs between two measurements of the same
waits; see the operating curve."""

CONFIDENCE = 3.0
"""Standard deviations of the bounds of a share that was sampled: 1 in 740 on each side."""

SERVER_WAKEUPS, LONGEST_WAKEUPS = 4, 18
"""How often a server of another process wakes up for one request at most: accept, read, a worker,
write. Each of them is as late as the watching thread was, on average; the longest of 50 such sums
is below 18 times that (four exponential delays each: 1 in 740 of the longest is above)."""

FREELY_HELD = 0.41
"""For which share of the time the GIL is held where threads compute without it, at most: 40 threads
that hash on two cores beside four busy processes, whose holder of the GIL waits for a core too.
Where it is held for all of the time, it is the bottleneck."""

RESIDUAL_SHARE, RESIDUAL_SECONDS = 0.01, 0.001
"""What the parts of a run may leave unaccounted: one reading of the clocks at either end (20 us),
and the kernel's accounting tick of 1 to 4 ms in the worst case, once."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """An estimate between its lower and its upper bound."""

    lower: float
    estimate: float
    upper: float

    def in_order(self) -> Bounds:
        """Return the same with the estimate between the bounds."""
        high = max(self.lower, self.upper)
        return Bounds(self.lower, min(max(self.lower, self.estimate), high), high)

    def __add__(self, other: Bounds) -> Bounds:
        return Bounds(
            self.lower + other.lower, self.estimate + other.estimate, self.upper + other.upper
        )


def share_between(part: float, whole: float, count: int) -> tuple[float, float]:
    """Return the bounds of the share of ``whole`` that ``part`` is, seen in ``count`` samples.

    Wilson's score interval; from 0 to 1 where there were no samples.
    """
    if count <= 0 or whole <= 0:
        return 0.0, 1.0
    share, z2 = min(1.0, part / whole), CONFIDENCE**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    spread = math.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    half = CONFIDENCE * spread / (1 + z2 / count)
    return max(0.0, middle - half), min(1.0, middle + half)


def is_evidence(run: Run) -> bool:
    """Return whether the parts of ``run`` account for its makespan."""
    return abs(run.residual) <= RESIDUAL_SHARE * run.makespan + RESIDUAL_SECONDS


def alone_bounds(singles: Sequence[Run], calibration: Calibration) -> Bounds:
    """Return T(1) in seconds, with its bounds, without what the machine and the plugin added.

    Its CPU is divided by the slowdown, as is the excess that is compared with it. The loop's idle
    time holds the wait of its worker threads for a processor, which only the upper bound keeps:
    with busy neighbours a request of 20 ms of work in a thread was seen to take 100 ms.
    """
    high = [_undisturbed(run, pace_of(run, calibration)) for run in singles]
    low = [
        max(taken - min(run.budget.idle, run.budget.other_delay + run.budget.child_delay), 1e-6)
        for taken, run in zip(high, singles, strict=True)
    ]
    usual = statistics.median(low)
    return Bounds(usual, usual, max(*low, statistics.median(high)))


def _undisturbed(run: Run, slowdown: float) -> float:
    budget = run.budget
    own_pace = budget.wall - budget.descheduled - budget.own
    return max(own_pace - (budget.cpu + budget.gc) * (1 - 1 / slowdown), 1e-6)


def pressed(run: Run) -> float:
    """Return for which share of ``run`` tasks can have waited for a processor, from 0 to 1."""
    return min(1.0, run.pressure.waiting / run.makespan) if run.makespan > 0 else 0.0


@dataclass(frozen=True, slots=True)
class _Idle:
    """Which shares of a burst's idle time the cores explain, and what the GIL adds in it.

    ``gil_low``, ``gil`` and ``gil_high`` are seconds per further request, and so is ``worked``:
    what workers certainly computed while a core was free.
    """

    cores_low: float
    cores_high: float
    gil_low: float
    gil: float
    gil_high: float
    worked: float


def _idle(run: Run, growth: Growth, looks: Looks, calibration: Calibration) -> _Idle:
    """Return how the idle time of ``run`` divides.

    The machine is a resource too: while as many threads or processes of ours as there are cores
    run or want to, more cores would help. What their processor time proves holds on any machine;
    what the looks saw holds beside busy neighbours too, which keep our threads from running.
    """
    budget = run.budget
    idle = budget.idle
    if idle <= 0:
        return _Idle(0.0, 1.0, 0.0, 0.0, 0.0, 0.0)
    cores = calibration.cores
    busy = budget.cpu + budget.gc + budget.own
    away = budget.blocked + budget.gil + budget.descheduled
    children = max(0.0, budget.child_cpu - (cores - 1) * busy - cores * away)
    computed = budget.idle_cpu + children
    certain = max(0.0, computed - (math.ceil(cores) - 1) * idle) / idle
    # The wait of workers for a processor is told apart (``_wait``); where nothing tells of it, they
    # may wait all along.
    at_most = computed / (cores * idle if calibration.clock == "schedstat" else idle)
    held = looks.held / looks.tried if looks.tried > 0 else 0.0
    gil_low = growth.idle_cpu * _bottleneck_gil(looks, Looks(), calibration)
    worked = 0.0
    if looks.states and looks.count:
        seen, _ = share_between(looks.saturated, looks.watched, looks.count)
        certain = max(certain, seen)
        _, seen_most = share_between(looks.maybe_saturated, looks.watched, looks.count)
        at_most = min(at_most, seen_most)
        most = math.ceil(cores)
        worked = max(0.0, growth.idle_cpu - most * seen_most * idle / (run.concurrency - 1))
        worked /= pace_of(run, calibration) * (1 + pace_spread(run))
        _, free = share_between(looks.free, most * looks.watched, looks.count)
        gil_low = max(gil_low, growth.idle_cpu - most * free * idle / (run.concurrency - 1))
    certain = min(1.0, certain)
    at_most = min(1.0, max(certain, at_most))
    most_gil = growth.idle * (1 - certain)
    gil_low = min(gil_low, most_gil)
    gil = max(gil_low, min(growth.idle_cpu * held, most_gil))
    samples = int(looks.tried / calibration.switch_interval)
    _, most_held = share_between(looks.held, looks.tried, samples)
    most_held = min(growth.idle_cpu, most_held * idle / (run.concurrency - 1))
    gil_high = max(gil, min(most_held, most_gil))
    return _Idle(certain, at_most, gil_low, gil, gil_high, worked)


def _bottleneck_gil(looks: Looks, later: Looks, calibration: Calibration) -> float:
    """Return for how much of the time the GIL was certainly the bottleneck, from 0 to 1.

    The watching thread measures how long it waits for the GIL, which changes hands once in a
    switch interval: so many samples its waits are worth.
    """
    tried = looks.tried + later.tried
    samples = int(tried / calibration.switch_interval)
    held, _ = share_between(looks.held + later.held, tried, samples)
    return max(0.0, (held - FREELY_HELD) / (1 - FREELY_HELD))


@dataclass(frozen=True, slots=True)
class Excess:
    """The serial demand per request that is judged, in seconds, by cause."""

    parts: dict[Cause, Bounds]
    alone: Bounds
    growth: Growth
    offloaded: float
    margin: float

    @property
    def total(self) -> Bounds:
        """The sum of all causes."""
        return sum(self.parts.values(), Bounds(0.0, 0.0, 0.0))

    def without(self, causes: Sequence[str]) -> Excess:
        """Return the same without the causes that are accepted."""
        kept = {name: part for name, part in self.parts.items() if name not in causes}
        return replace(self, parts=kept)

    def convicts(self, limits: Limits) -> bool:
        """Whether this burst alone speaks for a fail."""
        limit = max(LEAST_EXCESS, limits.max_serial_fraction * self.alone.upper)
        return self.total.lower > limit * (1 + self.margin)

    def convicts_alone(self, limits: Limits) -> bool:
        """Whether this burst is enough for a fail: nothing that happens once looks like it.

        Processor time is not a hiccup. Waits are none where each copy ends after the one before
        it; where all are late together, a server may have paused once.
        """
        limit = max(LEAST_EXCESS, limits.max_serial_fraction * self.alone.upper)
        low = 0.0
        for cause, part in self.parts.items():
            if cause in ("cpu-on-loop", "gil-contention"):
                low += part.lower
            elif cause in ("serialised-wait", "thread-pool"):
                low += min(part.lower, self.growth.spread_idle)
        return low > limit * (1 + self.margin)

    def acquits(self, limits: Limits) -> bool:
        """Whether this burst alone speaks for a pass."""
        limit = max(LEAST_EXCESS, limits.max_serial_fraction * self.alone.lower)
        return self.total.upper * (1 + self.margin) <= limit


def excess_of(
    burst: Run,
    singles: Sequence[Run],
    looks: Looks,
    later_looks: Looks,
    limits: Limits,
    calibration: Calibration,
    waits_for: tuple[Cause, Pool | None],
) -> Excess:
    """Return the excess that ``burst`` shows.

    ``looks`` are those of all bursts of its level together, ``waits_for`` is the cause that idle
    time has, and the pool behind it.
    """
    growth = growth_of(burst, singles, calibration)
    alone = alone_bounds(singles, calibration)
    idle = _idle(burst, growth, looks, calibration)
    gil = _paced(
        _gil(growth, idle, _bottleneck_gil(looks, later_looks, calibration), later_looks),
        burst,
        calibration,
    )
    cpu = _spread(growth.paced_cpu, cpu_spread(burst))
    allowance = limits.cpu_allowance * max(1.0, burst.requests / burst.concurrency)
    cpu_excess, gil_excess = _beyond(allowance, cpu, gil)
    wait_cause, pool = waits_for
    parts: dict[Cause, Bounds] = {
        "cpu-on-loop": cpu_excess,
        "blocking-call": _blocked(burst, growth, looks),
        "gil-contention": gil_excess,
        wait_cause: _less(
            _wait(burst, singles, growth, idle, looks, _left(allowance, cpu, gil)),
            _by_chance(pool, alone),
        ),
    }
    parts = {cause: part.in_order() for cause, part in parts.items()}
    offloaded = max(0.0, growth.offloaded - idle.gil)
    margin = MARGIN + MARGIN_PRESSED * pressed(burst)
    return Excess(parts, alone, growth, offloaded, margin)


def server_lateness(looks: Looks, wakeups: float = SERVER_WAKEUPS) -> float:
    """Return by how much the machine may have delayed an answer of another process, in seconds."""
    return wakeups * looks.late / looks.wakes if looks.wakes else 0.0


def share_served(samples: Sequence[Sample]) -> float:
    """Return which share of the waits in ``samples`` may be for another process, from 0 to 1.

    A sleep ends when its time has come: no server can be late.
    """
    waits = {"blocked": 0.0, "sleep": 0.0, "lock": 0.0}
    for sample in samples:
        if sample.state in waits:
            waits[sample.state] += sample.weight
    whole = sum(waits.values())
    return 1 - waits["sleep"] / whole if whole > 0 else 1.0


def _blocked(burst: Run, growth: Growth, looks: Looks) -> Bounds:
    """Return what blocking calls add per request, of which a late server may explain a part."""
    noise = min(share_served(burst.samples) * server_lateness(looks), growth.pressure)
    low = growth.blocked - growth.unwitnessed - noise
    return Bounds(max(0.0, low), growth.blocked, growth.blocked)


def cpu_spread(run: Run) -> float:
    """Return by which share the processor time of ``run`` may differ from what it is usually."""
    return CPU_SPREAD + CPU_SPREAD_PRESSED * pressed(run) + pace_spread(run)


def _paced(bounds: Bounds, run: Run, calibration: Calibration) -> Bounds:
    """Return what the reference machine would have shown."""
    slowdown, spread = pace_of(run, calibration), 1 + pace_spread(run)
    return Bounds(
        bounds.lower / slowdown / spread,
        bounds.estimate / slowdown,
        bounds.upper / slowdown * spread,
    )


def _spread(value: float, share: float) -> Bounds:
    return Bounds(value / (1 + share), value, value * (1 + share))


def _gil(growth: Growth, idle: _Idle, bottleneck: float, later_looks: Looks) -> Bounds:
    """Return what waiting for the GIL adds per request, in steps and while the loop is idle.

    In steps that were seen to wait for the GIL, the other threads' CPU bounds what they can have
    held it for; a wait beyond that is the machine's doing, which kept the holder from running.
    """
    later_held = later_looks.held / later_looks.tried if later_looks.tried > 0 else 0.0
    _, later_free = (
        share_between(later_looks.free, later_looks.watched, later_looks.count)
        if later_looks.states and later_looks.count
        else (0.0, 1.0)
    )
    later = min(growth.later_idle, growth.later_idle_cpu)
    later_low = max(0.0, later - growth.later_idle * later_free)
    in_idle = Bounds(
        idle.gil_low,
        idle.gil,
        # For the upper bound, what is not proved to be the GIL's counts as a wait.
        idle.gil_low,
    )
    proved = min(growth.gil, growth.gil_seen)
    proved += bottleneck * max(0.0, min(growth.gil, growth.gil_cpu) - proved)
    unproved = (growth.gil - proved) * (1 - idle.cores_low)
    in_steps = Bounds(proved, proved + unproved, proved + unproved)
    return in_idle + in_steps + Bounds(later_low, max(later_low, later * later_held), later)


def _beyond(allowance: float, cpu: Bounds, gil: Bounds) -> tuple[Bounds, Bounds]:
    """Return what CPU on the loop and waits for the GIL add beyond the allowance they share.

    Threads that work for a request need the GIL too: what the loop waits for it is CPU work of
    the request like its own.
    """

    def divided(cpu: float, gil: float) -> tuple[float, float]:
        left = max(0.0, allowance - cpu)
        return max(0.0, cpu - allowance), max(0.0, gil - left)

    low, mid, high = (
        divided(cpu.lower, gil.lower),
        divided(cpu.estimate, gil.estimate),
        divided(cpu.upper, gil.upper),
    )
    return Bounds(low[0], mid[0], high[0]), Bounds(low[1], mid[1], high[1])


def _left(allowance: float, cpu: Bounds, gil: Bounds) -> float:
    """Return what is left of the allowance, at most."""
    return max(0.0, allowance - cpu.lower - gil.lower)


def _wait(
    burst: Run, singles: Sequence[Run], growth: Growth, idle: _Idle, looks: Looks, left: float
) -> Bounds:
    """Return what waiting adds per request while the loop is idle or kept from running.

    What may be a wait for the GIL shares what is ``left`` of the CPU allowance.
    The cores explain at most C / c + D of the idle time, where C is what workers compute on c
    cores and D is for how long they wait for one: while c of them want one the cores are full,
    which takes C / c where all of them run, and while fewer do, the wait is what holds them up.
    What they compute while fewer than c of them want a core takes as long on any machine.
    While the machine or a reading keeps the loop from running, a timer or an answer comes nearer:
    such time hides idle time where copies are seen to wait (a pool of 5 at 0.10, not 0.14).
    """
    # For the share of the time in which an answer of another process is waited for.
    served = looks.external / looks.count if looks.count else 0.0
    noise = growth.delay + min(served * server_lateness(looks), growth.pressure)
    alone = statistics.median(run.budget.idle for run in singles)
    least = statistics.median(
        max(0.0, run.budget.idle - run.budget.other_delay - run.budget.child_delay)
        for run in singles
    )

    def unexplained(cores: float, alone: float) -> float:
        return max(0.0, (burst.budget.idle * (1 - cores) - alone) / (burst.concurrency - 1))

    perhaps_gil = min(left, idle.gil_high - idle.gil_low)
    seen = min(unexplained(idle.cores_high, alone), growth.middle_idle)
    proved = max(seen - noise, min(seen, idle.worked))
    low = proved - idle.gil_low - perhaps_gil
    between = unexplained((idle.cores_low + idle.cores_high) / 2, alone)
    high = unexplained(idle.cores_low, least) - idle.gil_low
    hidden = (growth.descheduled + growth.own) * burst.queued * (1 - idle.cores_low)
    return Bounds(
        max(0.0, low),
        max(0.0, low, min(between - idle.gil, high)),
        max(0.0, low, high + hidden),
    )


def _by_chance(pool: Pool | None, alone: Bounds) -> float:
    """Return what a pool costs per request that another machine would make larger.

    asyncio's default executor has as many threads as the machine has cores, and four.
    """
    if pool is None or not pool.sized_by_cpu_count:
        return 0.0
    return 1.5 * alone.estimate / pool.size


def _less(bounds: Bounds, part: float) -> Bounds:
    return Bounds(
        max(0.0, bounds.lower - part),
        max(0.0, bounds.estimate - part),
        max(0.0, bounds.upper - part),
    )
