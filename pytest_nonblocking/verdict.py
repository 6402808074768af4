"""What the evidence proves. Pure: from measured runs to a judgement, no clock, no loop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from .demand import Demand, demand_of, pool_waited_for
from .results import (
    Cause,
    Evidence,
    Judgement,
    Limits,
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

_IMPORT = "importlib._bootstrap"

_BLIND = 0.1
"""Share of the time that the machine may take where it does not tell for what."""


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
        if evidence.watched and _imports(step):
            continue
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


def _imports(step: Step) -> bool:
    """Return whether ``step`` was mostly the first import of a module, which happens only once.

    It matters where there is no run before the one that is judged.
    """
    importing = sum(any(f.module == _IMPORT for f in stack) for stack in step.stacks)
    return 2 * importing > len(step.stacks)


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


def _allowed(evidence: Evidence, limits: Limits, demands: Iterable[Demand]) -> tuple[str, ...]:
    """Return the causes that were found and are accepted by ``limits.allow``."""
    if not limits.allow:
        return ()
    strict = replace(limits, allow=())
    runs = (*evidence.solos, *evidence.bursts)
    stalls = Counter(s.cause for run in runs if (s := stall_of(run, evidence, strict)) is not None)
    found = {cause for cause, times in stalls.items() if 2 * times > len(runs)}
    found.update(cause for demand in demands for cause in demand.allowed)
    return tuple(sorted(found.intersection(limits.allow)))


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

    @property
    def acquits(self) -> bool:
        """Whether most bursts prove a pass, which the first one does in 97 of 100 healthy cases.

        One among several was too little: threads whose collections took the time of others, and a
        pool's waits behind a busy machine, passed so in 3 of 3,054 faulty cases.
        """
        return 2 * self.acquitting > len(self.demands)


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
    if tally.acquits:
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
    if evidence.watched or evidence.scaling_unmeasured:
        return _judge_lone_runs(evidence, limits)
    if len(evidence.solos) < SOLOS or not evidence.bursts:
        return Judgement("not-measured")
    return _judge_runs(evidence, limits)


def _judge_lone_runs(evidence: Evidence, limits: Limits) -> Judgement:
    """Judge lag and blocking; what is seen in all runs convicts."""
    stalls = _stalls(evidence.solos, evidence, limits)
    word: Word = "pass" if evidence.watched else "not-measured"
    reasons: tuple[Reason, ...] = ()
    cause: Cause | None = None
    if stalls.runs and stalls.same == stalls.runs:
        cause = stalls.guilty[0].cause
        word = "inconclusive" if is_blind(evidence) and cause != "cpu-on-loop" else "fail"
        if word == "fail":
            reasons = _reasons(stalls)
    return Judgement(
        word,
        reasons=reasons,
        cause=cause if word == "fail" else None,
        allowed=_allowed(evidence, limits, ()),
        guilty_runs=len(stalls.guilty),
        judged_runs=stalls.runs,
        max_lag=_max_lag(evidence),
        max_blocked=_max_blocked(evidence),
    )


def _reasons(stalls: _Stalls) -> tuple[Reason, ...]:
    kinds: tuple[Reason, ...] = ("lag", "blocked")
    return tuple(kind for kind in kinds if any(kind in stall.reasons for stall in stalls.guilty))


def _judge_timeout(run: Run, evidence: Evidence, limits: Limits) -> Judgement:
    cause: Cause
    if run.stuck is not None:
        cause = "blocking-call" if run.budget.blocked >= run.budget.cpu else "cpu-on-loop"
    else:
        cause = "thread-pool" if pool_waited_for([run]) else "serialised-wait"
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
        reasons += _reasons(stalls)
    word: Word
    if reasons and is_blind(evidence) and cause != "cpu-on-loop" and not solos_convict:
        word, guilty, reasons, cause = "inconclusive", tally.convicting, [], None
    elif reasons:
        word, guilty = "fail", len(stalls.guilty) if stalled else tally.convicting
    elif tally.acquits:
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
        allowed=_allowed(evidence, limits, tally.demands),
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
