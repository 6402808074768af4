"""What the evidence proves. Pure: from measured runs to a judgement, no clock, no loop.

A closed burst of N copies takes T(N) = W + N * S, where S is the serial demand per request. The
loop-time budget is additive, so is its slope: the part that grows with N is the cause.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .results import (
    Budget,
    Cause,
    Evidence,
    GilUse,
    Judgement,
    Limits,
    Pool,
    Reason,
    Run,
    Step,
    Word,
)

SOLOS = 3
SMALL_BURST = 8
LEAD = 3
_MOST_SMALL = 5
_MOST_TOP = 5

LEAST_EXCESS = 0.001
"""Serial demand in seconds per request below which nothing is convicted for scaling."""

_WAIT_IS_PLAIN = 0.5
"""Serial fraction from which a small burst alone may convict a wait. The longest of 8 waits of
random length is well above their median too; that of 50 is not 50 times above it."""

_MIDDLE = 0.35
"""Where the copy in the middle must end for a queue, from alone (0) to the makespan (1)."""

_GIL_HELD = 0.3
"""Share of the loop's sleep in which the GIL was held, from which threads contend for it; for
systems that do not tell what a thread waits for."""
_GIL_WANTED = 0.1
_GIL_MOSTLY_HELD = 0.5
"""Where it is told: the share of threads that want the GIL, if the GIL is held most of the time.
With four busy processes on two cores pure-Python threads showed shares from 0.11 on and the GIL
held for 0.5 to 0.9 of the time, hashing threads shares up to 0.25, and it held for up to 0.41."""
_LEAST_GIL_WAIT = 0.005
"""The interpreter's switch interval: a thread that computes holds the GIL at least as long."""

_BLIND = 0.1
"""Share of the time that the machine may take where it does not tell for what."""

_QUEUED = 0.5
"""Share of the unfinished copies that must wait, late in a burst, for them to be in a queue."""

_OFFLOADED = 0.2
"""Share of the idle growth that other threads' and child processes' CPU must make up to be its
reason. Their run-queue delay then belongs to it; with idle workers it is only noise."""


@dataclass(frozen=True, slots=True)
class Demand:
    """Serial demand per request in one burst, in seconds, by part of the budget.

    ``low`` is what stands when all that noise may explain is taken out, ``high`` what stands
    otherwise: a fail needs the one above the limit, a pass the other below it. ``in_turn`` tells
    that the copies ended one after the other, as in a queue, and not most of them at once.
    """

    cpu: float
    blocked: float
    gil: float
    idle: float
    excess: dict[Cause, float]
    low: float
    high: float
    alone: float
    allowed: tuple[Cause, ...]
    offloaded: float
    in_turn: bool

    @property
    def serial(self) -> float:
        """S: the sum of all parts that grow with each further request."""
        return self.cpu + self.blocked + self.gil + self.idle

    @property
    def cause(self) -> Cause | None:
        """The cause that explains at least half of the excess, if one does."""
        if not self.excess:
            return None
        cause = max(self.excess, key=lambda name: self.excess[name])
        total = sum(self.excess.values())
        return cause if total > 0 and self.excess[cause] >= total / 2 else None

    def convicts(self, limits: Limits) -> bool:
        """Whether this burst alone speaks for a fail."""
        over = self.low > limits.max_serial_fraction * self.alone and self.low >= LEAST_EXCESS
        return over and self.cause is not None

    def acquits(self, limits: Limits) -> bool:
        """Whether this burst alone proves a pass: noise adds time, it never takes any away."""
        return self.high <= limits.max_serial_fraction * self.alone or self.high < LEAST_EXCESS

    @property
    def is_plain(self) -> bool:
        """Whether a small burst is enough to tell."""
        waits = self.cause in ("serialised-wait", "thread-pool")
        return not waits or (self.low >= _WAIT_IS_PLAIN * self.alone and self.in_turn)


def alone_latency(evidence: Evidence) -> float:
    """T(1) in seconds: the median lone run without what the machine or the collector added.

    Its CPU is divided by the machine factor, as in the excess that is compared with it. The
    loop's idle time holds the wait of its worker threads for a processor: with busy neighbours a
    lone request of 20 ms of work in a thread was seen to take 100 ms.
    """
    dearer = 1 - 1 / evidence.calibration.factor
    return statistics.median(
        max(_undisturbed(run.budget) - run.budget.cpu * dearer, 1e-6) for run in evidence.solos
    )


def _undisturbed(budget: Budget) -> float:
    delay = min(budget.idle, budget.other_delay + budget.child_delay)
    return budget.wall - budget.descheduled - budget.gc - delay


def gil_contended(uses: Iterable[GilUse]) -> bool:
    """Return whether worker threads compete for the GIL rather than run in parallel.

    Judged over all bursts together: on a busy machine one burst shows few threads, and some of
    those that wait for the GIL just then wait for a processor too, and look as if they ran.
    """
    together = tuple(uses)
    wanting = sum(use.wanting for use in together)
    running = sum(use.running for use in together)
    watched = sum(use.watched for use in together)
    waited = sum(use.waited for use in together)
    if wanting or running:
        share = wanting / (wanting + running)
        return share > 0.5 or (share >= _GIL_WANTED and waited >= _GIL_MOSTLY_HELD * watched)
    return waited >= max(_LEAST_GIL_WAIT, _GIL_HELD * watched)


def demand_of(burst: Run, evidence: Evidence, limits: Limits) -> Demand:
    """Return the serial demand that ``burst`` shows against the lone runs."""

    def slope(name: str) -> float:
        alone = statistics.median(_part(run.budget, name) for run in evidence.solos)
        grown = (_part(burst.budget, name) - alone) / (burst.concurrency - 1)
        return max(0.0, grown)

    cpu, blocked, gil, idle = slope("cpu"), slope("blocked"), slope("gil"), slope("idle")
    elsewhere = slope("other_cpu") + slope("child_cpu")
    delay = slope("other_delay")
    if evidence.calibration.clock != "schedstat":
        delay = slope("descheduled")  # the canary's: what other threads met is not known
    if slope("child_cpu") >= _OFFLOADED * idle:
        delay += slope("child_delay")
    # Threads that hardly compute compete for nothing, whatever a few looks at them showed (six
    # looks at a process pool's feeder threads: four wanted the GIL).
    computing = slope("other_cpu") >= _OFFLOADED * (gil + idle)
    contended = computing and gil_contended(run.gil for run in evidence.bursts)
    masked = 0.0

    requests = max(1.0, burst.requests / burst.concurrency)
    # CPU is judged as the reference machine would show it, without a tracer.
    factor = evidence.calibration.factor
    allowance = limits.cpu_allowance * requests
    left = max(0.0, allowance - cpu / factor)
    if contended:
        # What no sample confirms to be a blocking call is a wait for the GIL here: the kernel
        # brings other threads' CPU up to date only at its ticks (6 of 28 ms were seen).
        unseen = min(blocked, slope("unwitnessed"))
        blocked, gil = blocked - unseen, gil + unseen
        # The other threads' CPU bounds what their holding of the GIL can have cost, and is the
        # one figure of the two that noise leaves alone.
        held = min(gil + idle, slope("other_cpu"))
        gil_excess, wait = max(gil if gil < held else 0.0, held), max(0.0, gil + idle - held)
        gil_noise, wait_noise = 0.0, min(wait, delay)
        # While the machine keeps the loop from running, it does not wait for the GIL either.
        masked = min(slope("other_cpu") - held, slope("descheduled"))
    else:
        wait = max(0.0, idle - elsewhere)
        if elsewhere >= _OFFLOADED * idle:
            wait = max(0.0, wait - delay)
        gil_excess, gil_noise, wait_noise = gil, min(gil, delay), min(wait, delay)
    blocked_noise = 0.0 if contended else min(slope("unwitnessed"), blocked, delay)

    pool = fullest_pool([burst])
    wait_cause: Cause = "thread-pool" if pool is not None else "serialised-wait"
    by_chance = pool is not None and pool.sized_by_cpu_count
    if by_chance and pool is not None and wait <= 1.5 * alone_latency(evidence) / pool.size:
        wait = wait_noise = 0.0  # another machine would have given it more threads: a note
    # Driver threads that work for a request need the GIL too: what the loop waits for it is CPU
    # work of the request like its own, and shares its allowance. Without this 100 rows through
    # aiosqlite failed on busy machines, 2.6 ms on the loop and 2.4 ms in the driver's threads.
    gil_excess = max(0.0, gil_excess / factor - left)
    gil_noise = min(gil_noise, gil_excess)
    candidates: dict[Cause, tuple[float, float]] = {
        "cpu-on-loop": (max(0.0, cpu / factor - allowance), 0.0),
        "blocking-call": (blocked, blocked_noise),
        "gil-contention": (gil_excess, gil_noise),
        wait_cause: (wait, wait_noise),
    }
    # A timer or an answer on its way comes nearer while the machine keeps the loop from running:
    # in a burst that waits, such time hides idle time (seen: a pool of 5 at 0.10 instead of 0.14).
    queued = burst.queued >= _QUEUED and delay < slope("descheduled")
    waits = (wait >= LEAST_EXCESS or queued) and wait_cause not in limits.allow
    hidden = slope("descheduled") if waits else 0.0
    if "gil-contention" in limits.allow:
        masked = 0.0
    counted = {name: pair for name, pair in candidates.items() if name not in limits.allow}
    high = hidden + masked / factor + sum(most for most, _ in counted.values())
    low = sum(most - noise for most, noise in counted.values())
    excess = {name: most - noise for name, (most, noise) in counted.items()}
    if queued and wait_cause in excess:
        # It says what they wait for, not whose fault it is: a busy machine keeps the server that
        # they wait for from answering too (seen: an HTTP service beside four busy processes).
        excess[wait_cause] += hidden
    allowed = tuple(
        name
        for name, (most, noise) in candidates.items()
        if name in limits.allow and most - noise >= LEAST_EXCESS
    )
    return Demand(
        cpu=cpu,
        blocked=blocked,
        gil=gil,
        idle=idle,
        excess=excess,
        low=low,
        high=high,
        alone=alone_latency(evidence),
        allowed=allowed,
        offloaded=0.0 if contended else elsewhere,
        in_turn=_in_turn(burst, evidence),
    )


def _in_turn(burst: Run, evidence: Evidence) -> bool:
    """Return whether the copies of ``burst`` ended one after the other.

    In a queue the copy in the middle ends in the middle. Where waits are of random length, most
    copies end as early as a lone one and a few much later: those few looked serial after three
    lone runs that were short by chance.
    """
    alone = statistics.median(run.makespan for run in evidence.solos)
    middle = statistics.median(burst.latencies) if burst.latencies else burst.makespan
    return middle - alone >= _MIDDLE * (burst.makespan - alone)


def _part(budget: Budget, name: str) -> float:
    return float(getattr(budget, name))


def fullest_pool(runs: Iterable[Run]) -> Pool | None:
    """Return the pool of threads for which most work was seen waiting, if any did."""
    pools = [pool for run in runs for pool in run.pools if pool.waiting]
    return max(pools, key=lambda pool: pool.waiting, default=None)


def machine_share(evidence: Evidence) -> float:
    """Return which share of all runs the machine took from the loop, from 0 to 1."""
    runs = (*evidence.solos, *evidence.bursts)
    wall = sum(run.budget.wall for run in runs)
    return sum(run.budget.descheduled for run in runs) / wall if wall > 0 else 0.0


def is_blind(evidence: Evidence) -> bool:
    """Return whether time off the processor tells nothing here.

    Without schedstat nobody knows why a thread left the processor; with busy neighbours healthy
    handlers then looked blocked in 7 of 44 cases. Processor time is exact anywhere.
    """
    return evidence.calibration.clock != "schedstat" and machine_share(evidence) > _BLIND


# Steps that keep the loop


@dataclass(frozen=True, slots=True)
class Stall:
    """The worst step of a run, and which limits it breaks."""

    step: Step
    reasons: tuple[Reason, ...]
    cause: Cause


def stall_of(run: Run, evidence: Evidence, limits: Limits) -> Stall | None:
    """Return the worst step of ``run`` that breaks a limit, or None.

    A wait that no sample confirms does not count: where the machine is busy, a wait for the GIL
    whose holder was descheduled looks the same. CPU is divided by the machine factor.
    """
    worst: Stall | None = None
    for step in run.steps:
        blocked = step.blocked if step.witnessed else 0.0
        cpu = step.cpu / evidence.calibration.factor
        cause: Cause = "blocking-call" if blocked >= cpu else "cpu-on-loop"
        reasons: list[Reason] = []
        if cpu + blocked > limits.max_lag:
            reasons.append("lag")
        if blocked > limits.max_blocked:
            reasons.append("blocked")
            cause = "blocking-call"
        if not reasons or cause in limits.allow:
            continue
        if worst is None or step.keep > worst.step.keep:
            worst = Stall(step, tuple(reasons), cause)
    return worst


@dataclass(frozen=True, slots=True)
class _Stalls:
    """The stalls of a set of runs of the same kind."""

    guilty: tuple[Stall, ...]
    runs: int

    @property
    def same(self) -> int:
        """How many guilty runs have the same cause."""
        causes = Counter(stall.cause for stall in self.guilty)
        return max(causes.values(), default=0)


def _stalls(runs: Sequence[Run], evidence: Evidence, limits: Limits) -> _Stalls:
    found = (stall_of(run, evidence, limits) for run in runs)
    return _Stalls(tuple(s for s in found if s is not None), len(runs))


def _solos_convict(evidence: Evidence, limits: Limits) -> bool:
    stalls = _stalls(evidence.solos, evidence, limits)
    return stalls.runs >= SOLOS and stalls.same == stalls.runs


def _bursts_convict_for_stalls(evidence: Evidence, limits: Limits) -> bool:
    stalls = _stalls(evidence.bursts, evidence, limits)
    return stalls.same >= 2 and stalls.same > stalls.runs / 2


# What to run next, and what it all proves


@dataclass(frozen=True, slots=True)
class _Tally:
    """How the bursts of one level speak."""

    demands: tuple[Demand, ...]
    convicting: int
    acquitting: int

    @property
    def lead(self) -> int:
        return self.convicting - self.acquitting


def _tally(level: int, evidence: Evidence, limits: Limits) -> _Tally:
    demands = tuple(
        demand_of(run, evidence, limits) for run in evidence.bursts if run.concurrency == level
    )
    return _Tally(
        demands,
        sum(d.convicts(limits) for d in demands),
        sum(d.acquits(limits) for d in demands),
    )


def next_level(evidence: Evidence, limits: Limits) -> int | None:
    """Return how many copies to run next, or None where the evidence is enough.

    Alone three times, then a small burst. What convicts there is replicated there, so that a
    handler that blocks never pays for the largest burst; everything else goes on to it.
    """
    if evidence.unmeasured or any(run.timed_out for run in (*evidence.solos, *evidence.bursts)):
        return None
    if len(evidence.solos) < SOLOS:
        return 1
    small, top = min(SMALL_BURST, limits.concurrency), limits.concurrency
    if _solos_convict(evidence, limits):
        return None if evidence.bursts else small
    at_top = any(run.concurrency == top for run in evidence.bursts)
    if small < top and not at_top:
        tally = _tally(small, evidence, limits)
        if not tally.demands:
            return small
        plain = any(d.convicts(limits) and d.is_plain for d in tally.demands)
        if plain and tally.lead >= LEAD:
            return None
        if plain and tally.acquitting == 0 and len(tally.demands) < _MOST_SMALL:
            return small
    tally = _tally(top, evidence, limits)
    seen = len(tally.demands)
    stalled = _stalls([r for r in evidence.bursts if r.concurrency == top], evidence, limits)
    if tally.acquitting:
        return top if stalled.guilty and seen < LEAD else None
    if tally.lead >= LEAD or seen >= _MOST_TOP:
        return None
    return top


def judge(evidence: Evidence, limits: Limits) -> Judgement:
    """Return what the evidence proves."""
    runs = (*evidence.solos, *evidence.bursts)
    if evidence.unmeasured:
        return Judgement("not-measured")
    late = [run for run in runs if run.timed_out]
    if late:
        return _judge_timeout(late[0], evidence, limits)
    if len(evidence.solos) < SOLOS or not evidence.bursts:
        return Judgement("not-measured")
    return _judge_runs(evidence, limits)


def _judge_timeout(run: Run, evidence: Evidence, limits: Limits) -> Judgement:
    cause: Cause
    if run.stuck is not None:
        cause = "blocking-call" if run.budget.blocked >= run.budget.cpu else "cpu-on-loop"
    else:
        cause = "thread-pool" if fullest_pool([run]) else "serialised-wait"
    return Judgement(
        "fail",
        reasons=("timeout",),
        cause=cause,
        guilty_runs=1,
        judged_runs=1,
        max_lag=_max_lag(evidence),
        max_blocked=_max_blocked(evidence),
    )


def _steps(evidence: Evidence) -> Iterable[Step]:
    return (step for run in (*evidence.solos, *evidence.bursts) for step in run.steps)


def _max_lag(evidence: Evidence) -> float:
    kept = (s.cpu + (s.blocked if s.witnessed else 0.0) for s in _steps(evidence))
    return max(kept, default=0.0)


def _max_blocked(evidence: Evidence) -> float:
    return max((s.blocked for s in _steps(evidence) if s.witnessed), default=0.0)


def _judge_runs(evidence: Evidence, limits: Limits) -> Judgement:
    level = max(run.concurrency for run in evidence.bursts)
    tally = _tally(level, evidence, limits)
    demand = _median_demand(tally)
    solos_convict = _solos_convict(evidence, limits)
    # One burst after lone runs that convict already only tells how the fault scales.
    scales = tally.lead >= (1 if solos_convict else LEAD)
    stalled = solos_convict or _bursts_convict_for_stalls(evidence, limits)
    stalls = _stalls((*evidence.solos, *evidence.bursts), evidence, limits)

    reasons: list[Reason] = ["scaling"] if scales else []
    cause = _common_cause(tally) if scales else None
    if stalled:
        common = Counter(stall.cause for stall in stalls.guilty).most_common(1)[0][0]
        cause = common if cause is None or solos_convict else cause
        for reason in ("lag", "blocked"):
            if any(reason in stall.reasons for stall in stalls.guilty):
                reasons.append(reason)
    word: Word
    if reasons and is_blind(evidence) and cause != "cpu-on-loop" and not solos_convict:
        word, guilty, reasons, cause = "inconclusive", tally.convicting, [], None
    elif reasons:
        word, guilty = "fail", len(stalls.guilty) if stalled else tally.convicting
    elif tally.acquitting:
        word, guilty = "pass", 0
    else:
        word, guilty = "inconclusive", tally.convicting
    return Judgement(
        word,
        reasons=tuple(reasons),
        cause=cause,
        serial=demand.serial,
        serial_fraction=demand.serial / demand.alone,
        excess=demand.high if word != "fail" else demand.low,
        excess_fraction=(demand.high if word != "fail" else demand.low) / demand.alone,
        allowed=tuple(sorted({name for d in tally.demands for name in d.allowed})),
        guilty_runs=guilty,
        judged_runs=stalls.runs if stalled else len(tally.demands),
        offloaded=demand.offloaded,
        one_off=max((s.step.keep for s in stalls.guilty), default=0.0) if not stalled else 0.0,
        max_lag=_max_lag(evidence),
        max_blocked=_max_blocked(evidence),
    )


def _common_cause(tally: _Tally) -> Cause | None:
    """Return the cause that most bursts name, the one with the larger excess where they tie."""
    votes = Counter(d.cause for d in tally.demands if d.cause is not None)
    weight = {c: sum(d.excess.get(c, 0.0) for d in tally.demands) for c in votes}
    return max(votes, key=lambda cause: (votes[cause], weight[cause]), default=None)


def _median_demand(tally: _Tally) -> Demand:
    """Return the burst in the middle by its excess."""
    ordered = sorted(tally.demands, key=lambda d: d.low)
    return ordered[(len(ordered) - 1) // 2]
