"""The verdict that the evidence supports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from statistics import median

from ..model import Cause, Evidence, Judged, Judgement, Limits, Reason, Run, Step, Verdict
from .bounds import Excess, limit_at
from .growth import stolen_in
from .levels import Level, corroborated, level_at, queue_by_ranks_only
from .queues import pool_waited_for, was_held
from .stalls import Stalls, bursts_convict, singles_convict, stall_of, stalls_of
from .tolerances import BLIND, LEAST_EXCESS, MOSTLY_TAKEN, SINGLES


def machine_share(evidence: Evidence) -> float:
    """Return the share of all runs for which the loop was descheduled, from 0 to 1."""
    runs = evidence.runs
    wall = sum(run.budget.wall for run in runs)
    return sum(run.budget.descheduled for run in runs) / wall if wall > 0 else 0.0


def is_blind(evidence: Evidence) -> bool:
    """Return whether time off the CPU cannot be attributed here.

    Without schedstat the reason why a thread left the CPU is unknown: beside busy neighbours, 7 of
    44 healthy handlers looked blocked. CPU time is exact on every system.
    """
    return not evidence.calibration.knows_delays and machine_share(evidence) > BLIND


def judge(evidence: Evidence, limits: Limits) -> Judgement:
    """Return the judgement that ``evidence`` supports under ``limits``."""
    if evidence.unmeasured:
        return Judgement("not-measured")
    if evidence.late is not None:
        return _judge_timeout(evidence.late, evidence)
    if evidence.watched or evidence.scaling_unmeasured:
        return _judge_single_runs(evidence, limits)
    if len(evidence.singles) < SINGLES or not evidence.bursts:
        return Judgement("not-measured")
    return _judge_runs(evidence, limits)


def _allowed(evidence: Evidence, limits: Limits, excesses: Iterable[Excess]) -> tuple[str, ...]:
    """Return the causes that were found and that ``limits.allow`` accepts."""
    if not limits.allow:
        return ()
    strict = replace(limits, allow=())
    runs = evidence.runs
    stalls = Counter(
        s.cause for run in runs if (s := stall_of(run, evidence, strict)) is not None and s.over
    )
    found: set[str] = {cause for cause, times in stalls.items() if 2 * times > len(runs)}
    found.update(
        cause
        for excess in excesses
        for cause, part in excess.parts.items()
        if part.lower >= LEAST_EXCESS or part.estimate > limit_at(excess.alone.upper, limits)
    )
    return tuple(sorted(found.intersection(limits.allow)))


def _judge_single_runs(evidence: Evidence, limits: Limits) -> Judgement:
    """Judge lag and blocking only; a stall in every run convicts, or in three and most of more."""
    stalls = stalls_of(evidence.singles, evidence, limits)
    verdict: Verdict = "pass" if evidence.watched else "not-measured"
    reasons: tuple[Reason, ...] = ()
    cause: Cause | None = None
    near = ""
    most = stalls.same >= SINGLES and 2 * stalls.same > stalls.runs
    if stalls.runs and (most or stalls.same == stalls.runs):
        cause = stalls.guilty[0].cause
        verdict = "inconclusive" if is_blind(evidence) and cause != "cpu-on-loop" else "fail"
        if verdict == "fail":
            reasons = _reasons(stalls)
    elif stalls.undecided:
        verdict, near = "inconclusive", _near_step(stalls)
    return Judgement(
        verdict,
        reasons=reasons,
        cause=cause if verdict == "fail" else None,
        causes=((cause, 1.0),) if verdict == "fail" and cause else (),
        allowed=_allowed(evidence, limits, ()),
        near=near,
        guilty_runs=len(stalls.guilty),
        judged_runs=stalls.runs,
        max_lag=_max_lag(evidence),
        max_blocked=_max_blocked(evidence),
    )


def _reasons(stalls: Stalls) -> tuple[Reason, ...]:
    kinds: tuple[Reason, ...] = ("lag", "blocked")
    return tuple(kind for kind in kinds if any(kind in stall.reasons for stall in stalls.guilty))


def _near_step(stalls: Stalls) -> str:
    found = (*stalls.guilty, *stalls.near)
    nearest = median(stall.nearest for stall in found)
    names = sorted({f"max_{reason}" for stall in found for reason in stall.reasons})
    return f"the longest callback is within {abs(nearest - 1):.0%} of {' and '.join(names)}"


def share_taken(run: Run) -> float:
    """Return the share of ``run`` that the machine or this plugin took from its loop, 0 to 1."""
    taken = run.budget.taken + stolen_in(run)
    return min(1.0, taken / run.budget.wall) if run.budget.wall > 0 else 0.0


def _is_one_callback(run: Run) -> bool:
    """Return whether one callback used most of the time that the loop had."""
    had = run.budget.wall * (1 - share_taken(run))
    return max((step.loop_time for step in run.steps), default=0.0) > had / 2


def _judge_timeout(run: Run, evidence: Evidence) -> Judgement:
    cause: Cause
    if share_taken(run) > MOSTLY_TAKEN and not _is_one_callback(run):
        return Judgement("inconclusive", judged_runs=1)
    if was_held(run):
        cause = "blocking-call" if run.budget.blocked >= run.budget.cpu else "cpu-on-loop"
    else:
        cause = "thread-pool" if pool_waited_for([run], evidence.singles) else "serialised-wait"
    return Judgement(
        "fail",
        reasons=("timeout",),
        cause=cause,
        causes=((cause, 1.0),),
        guilty_runs=1,
        judged_runs=1,
        max_lag=_max_lag(evidence),
        max_blocked=_max_blocked(evidence),
    )


def _steps(evidence: Evidence) -> Iterable[Step]:
    return (step for run in evidence.runs for step in run.steps)


def _lag(step: Step) -> float:
    return step.cpu + (step.blocked if step.witnessed else 0.0)


def longest_callback(evidence: Evidence) -> Step | None:
    """Return the callback with the largest lag, None without any."""
    return max(_steps(evidence), key=_lag, default=None)


def _max_lag(evidence: Evidence) -> float:
    longest = longest_callback(evidence)
    return 0.0 if longest is None else _lag(longest)


def _max_blocked(evidence: Evidence) -> float:
    return max((s.blocked for s in _steps(evidence) if s.witnessed), default=0.0)


def _judge_runs(evidence: Evidence, limits: Limits) -> Judgement:
    level = level_at(max(run.concurrency for run in evidence.bursts), evidence, limits)
    if not level.excesses:
        return Judgement("not-measured", max_lag=_max_lag(evidence))
    always_stalls = singles_convict(evidence, limits)
    scales = level.convicts(limits, always_stalls or corroborated(evidence, limits))
    stalled = always_stalls or bursts_convict(evidence, limits)
    stalls = stalls_of(evidence.runs, evidence, limits)
    judged = _judged(level, limits)
    judgement = _with_figures(level, judged, stalls, stalled, evidence, limits)
    causes = _causes(level)
    cause = causes[0][0] if scales and causes else None
    if stalled and cause is None:
        cause = Counter(stall.cause for stall in stalls.guilty).most_common(1)[0][0]
    if scales or stalled:
        if is_blind(evidence) and cause != "cpu-on-loop" and not always_stalls:
            return replace(judgement, near=_near_limit(judged, causes))
        reasons: tuple[Reason, ...] = ("scaling",) if scales else ()
        return replace(
            judgement,
            verdict="fail",
            reasons=reasons + _reasons(stalls) if stalled else reasons,
            cause=cause,
            causes=causes or (((cause, 1.0),) if cause else ()),
            guilty_runs=len(stalls.guilty) if stalled else judgement.guilty_runs,
        )
    top = stalls_of(evidence.bursts_of(limits.concurrency), evidence, limits)
    if top.undecided:
        return replace(judgement, near=_near_step(top))
    if level.acquits(limits):
        return replace(judgement, verdict="pass", guilty_runs=0)
    return replace(
        judgement,
        near=_near_limit(judged, causes),
        may_be_random=queue_by_ranks_only(evidence, limits),
    )


def _with_figures(
    level: Level,
    judged: Judged,
    stalls: Stalls,
    stalled: bool,
    evidence: Evidence,
    limits: Limits,
) -> Judgement:
    """Return an inconclusive judgement with every figure that does not depend on the verdict."""
    middle = level.middle
    one_off = max((stall.step.loop_time for stall in stalls.guilty), default=0.0)
    return Judgement(
        "inconclusive",
        serial=middle.growth.serial,
        serial_fraction=middle.growth.serial / middle.alone.estimate,
        excess=middle.total.estimate,
        judged=judged,
        allowed=_allowed(evidence, limits, level.strict),
        guilty_runs=level.votes(limits)[0],
        judged_runs=stalls.runs if stalled else len(level.excesses),
        offloaded=middle.offloaded,
        one_off=0.0 if stalled else one_off,
        max_lag=_max_lag(evidence),
        max_blocked=_max_blocked(evidence),
    )


def _judged(level: Level, limits: Limits) -> Judged:
    """Return the median figures of the bursts, as fractions of T(1)."""

    def middle(figure: Callable[[Excess], float]) -> float:
        return median(figure(excess) for excess in level.excesses)

    return Judged(
        fraction=middle(lambda e: e.total.estimate / e.alone.estimate),
        low=middle(lambda e: e.total.lower / e.alone.upper / (1 + e.margin)),
        high=middle(lambda e: e.most(limits) / e.alone.lower * (1 + e.margin)),
        limit=middle(lambda e: limit_at(e.alone.estimate, limits) / e.alone.estimate),
    )


def _near_limit(judged: Judged, causes: tuple[tuple[Cause, float], ...]) -> str:
    """Return a message that says how near ``judged`` is to its limit.

    If the fraction may be over the limit, the message names the cause of most of it.
    """
    off = abs(judged.fraction / judged.limit - 1)
    most = [cause for cause, share in causes if share > 0.5]
    suspect = f" (most of it {most[0]})" if most and judged.fraction > judged.limit / 2 else ""
    bounds = f"with bounds {judged.low:.2f} and {judged.high:.2f}"
    near = f"within {off:.0%} of" if off < 0.5 else "not distinguishable from"
    return (
        f"the serial fraction {judged.fraction:.2f}{suspect}, {bounds}, is {near} the limit "
        f"{judged.limit:.2f}"
    )


def _causes(level: Level) -> tuple[tuple[Cause, float], ...]:
    """Return the causes with their shares of the excess of all bursts, largest first.

    First comes the one with the largest part of which at least half is proved: on a busy machine
    most of an estimate may be waits for a core (57 ms of idle time while a thread computed for 16).
    No other is shown as larger.
    """
    estimates: Counter[Cause] = Counter()
    proved: Counter[Cause] = Counter()
    for excess in level.excesses:
        for cause, part in excess.parts.items():
            estimates[cause] += part.estimate  # type: ignore[assignment]  # a Counter of seconds
            proved[cause] += min(part.estimate, 2 * part.lower)  # type: ignore[assignment]  # as above
    order = (proved if proved.total() > 0 else estimates).most_common()
    largest = estimates[order[0][0]] if order else 0.0
    weights = {cause: min(estimate, largest) for cause, estimate in estimates.items()}
    total = sum(weights.values())
    shares = [(cause, weight / total) for cause, weight in weights.items() if total > 0]
    first = order[0][0] if order else None
    shares.sort(key=lambda found: (found[0] != first, -found[1]))
    return tuple((cause, share) for cause, share in shares if share >= 0.005)
