"""The verdict that the evidence supports, and what to run next."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from ..model import Cause, Evidence, Judged, Judgement, Limits, Looks, Reason, Run, Step, Verdict
from .bounds import (
    LEAST_EXCESS,
    LONGEST_WAKEUPS,
    MARGIN,
    SERVER_WAKEUPS,
    Bounds,
    Excess,
    cpu_spread,
    excess_of,
    is_evidence,
    pressed,
    server_lateness,
    share_served,
)
from .growth import pace_of
from .queues import pool_waited_for, waits_for

SINGLES = 3
MORE_SINGLES = 5
"""Single runs needed before waits can convict: the shortest of three random waits may be short by
chance."""
SMALL_BURST = 8
CONVICTING = 2
"""Bursts that must agree on a fail that the single runs do not show by themselves."""
MOST = 5
"""Largest number of bursts at one level."""
QUIETEST = 3
"""Bursts at one level that vote: those under no more CPU pressure than the third-quietest."""

_IMPORT = "importlib._bootstrap"
_BLIND = 0.1
"""Largest share of the time for which the loop may be descheduled on a system without schedstat."""


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
    return not evidence.calibration.knows_delays and machine_share(evidence) > _BLIND


# Callbacks that hold the loop


@dataclass(frozen=True, slots=True)
class Stall:
    """The callback of a run that exceeds its limits most."""

    step: Step
    reasons: tuple[Reason, ...]
    cause: Cause
    over: bool
    """Whether its lower bound exceeds a limit, not only its upper bound."""
    nearest: float
    """Its estimate as a multiple of the limit."""


def stall_of(run: Run, evidence: Evidence, limits: Limits) -> Stall | None:
    """Return the worst callback of ``run`` that exceeds a limit or may do so, or None.

    A wait that no sample confirms does not count: on a busy machine, a wait for the GIL looks the
    same if its holder is descheduled. CPU time is divided by the slowdown.
    """
    stalls = (
        _stall(step, run, evidence, limits)
        for step in run.steps
        if not (evidence.watched and _imports(step))
    )
    broken = [stall for stall in stalls if stall is not None]
    return max(broken, key=lambda stall: (stall.over, stall.step.loop_time), default=None)


def _stall(step: Step, run: Run, evidence: Evidence, limits: Limits) -> Stall | None:
    spread = cpu_spread(run)
    blocked = step.blocked if step.witnessed else 0.0
    cpu = step.cpu / pace_of(run, evidence.calibration)
    # The machine may have delayed another process's response (2 ms became more than 5).
    noise = share_served(step.samples) * _lateness(run, evidence, LONGEST_WAKEUPS)
    surely = max(0.0, blocked - noise)
    cause: Cause = "blocking-call" if blocked >= cpu else "cpu-on-loop"
    lag = Bounds(cpu / (1 + spread) + surely, cpu + blocked, cpu * (1 + spread) + blocked)
    figures: dict[Reason, tuple[Bounds, float]] = {
        "lag": (lag, limits.max_lag),
        "blocked": (Bounds(surely, blocked, blocked), limits.max_blocked),
    }
    over = tuple(name for name, (it, limit) in figures.items() if it.lower > limit * (1 + _STEP))
    near = tuple(name for name, (it, limit) in figures.items() if it.upper * (1 + _STEP) > limit)
    reasons: tuple[Reason, ...] = over or near
    if not reasons:
        return None
    if "blocked" in reasons:
        cause = "blocking-call"
    if cause in limits.allow:
        return None
    nearest = max(figures[name][0].estimate / figures[name][1] for name in reasons)
    return Stall(step, reasons, cause, bool(over), nearest)


def _lateness(run: Run, evidence: Evidence, wakeups: float = SERVER_WAKEUPS) -> float:
    """Return the seconds by which the machine may have delayed a response in ``run``."""
    looks = _together(one.looks for one in evidence.runs)
    return min(server_lateness(looks, wakeups), run.pressure.waiting)


_STEP = 0.02
"""Share by which a callback must clear its limit: a 50 ms timer fires up to 1 ms late."""


def _imports(step: Step) -> bool:
    """Return whether ``step`` was mostly the first import of a module.

    This happens only once and matters only if no run precedes the judged one.
    """
    importing = sum(any(f.module == _IMPORT for f in s.stack) for s in step.samples)
    return 2 * importing > len(step.samples)


@dataclass(frozen=True, slots=True)
class _Stalls:
    """The stalls of a set of runs."""

    guilty: tuple[Stall, ...]
    near: tuple[Stall, ...]
    runs: int

    @property
    def same(self) -> int:
        """The number of guilty runs with the most common cause."""
        return max(Counter(stall.cause for stall in self.guilty).values(), default=0)

    @property
    def undecided(self) -> bool:
        """Whether most runs have a callback that may exceed its limit."""
        return 2 * (len(self.guilty) + len(self.near)) > self.runs


def _stalls(runs: Sequence[Run], evidence: Evidence, limits: Limits) -> _Stalls:
    found = [s for run in runs if (s := stall_of(run, evidence, limits)) is not None]
    return _Stalls(
        tuple(s for s in found if s.over), tuple(s for s in found if not s.over), len(runs)
    )


def _singles_convict(evidence: Evidence, limits: Limits) -> bool:
    stalls = _stalls(evidence.singles, evidence, limits)
    return stalls.runs >= SINGLES and stalls.same == stalls.runs


def _bursts_convict_for_stalls(evidence: Evidence, limits: Limits) -> bool:
    stalls = _stalls(evidence.bursts, evidence, limits)
    return stalls.same >= CONVICTING and stalls.same > stalls.runs / 2


# Scaling


@dataclass(frozen=True, slots=True)
class _Level:
    """The votes of the quietest bursts at one concurrency level."""

    excesses: tuple[Excess, ...]
    made: int
    strict: tuple[Excess, ...]
    """The excesses with accepted causes included."""

    def only_fails(self, limits: Limits) -> bool:
        """Return whether there are votes for a fail and none for a pass."""
        fails, passes = self.votes(limits)
        return fails > 0 and passes == 0

    def votes(self, limits: Limits) -> tuple[int, int]:
        """Return the number of votes for a fail and for a pass."""
        return (
            sum(excess.convicts(limits) for excess in self.excesses),
            sum(excess.acquits(limits) for excess in self.excesses),
        )

    @property
    def middle(self) -> Excess:
        """The burst with the median excess."""
        ordered = sorted(self.excesses, key=lambda e: (e.total.estimate, e.growth.serial))
        return ordered[(len(ordered) - 1) // 2]

    def convicts(self, limits: Limits, corroborated: bool) -> bool:
        """Return whether the bursts prove a fail.

        ``corroborated`` says that the single runs show the same.
        """
        fails, passes = self.votes(limits)
        enough = corroborated or any(excess.convicts_alone(limits) for excess in self.excesses)
        agree = passes == 0 and 2 * fails > len(self.excesses)
        return agree and fails >= (1 if enough else CONVICTING)

    def acquits(self, limits: Limits) -> bool:
        """Return whether the bursts prove a pass."""
        fails, passes = self.votes(limits)
        return fails == 0 and 2 * passes > len(self.excesses)


def _level(concurrency: int, evidence: Evidence, limits: Limits) -> _Level:
    runs = [r for r in evidence.bursts if r.concurrency == concurrency and is_evidence(r)]
    # All bursts as quiet as the third-quietest, so that ties do not depend on the order.
    most = max(sorted(map(pressed, runs))[:QUIETEST], default=0.0)
    quietest = [r for r in runs if pressed(r) <= most]
    looks, later = _together(r.looks for r in runs), _together(r.after_looks for r in runs)
    cause = waits_for(runs)
    strict = tuple(
        excess_of(run, evidence.singles, looks, later, limits, evidence.calibration, cause)
        for run in quietest
    )
    return _Level(tuple(e.without(limits.allow) for e in strict), len(runs), strict)


def _together(looks: Iterable[Looks]) -> Looks:
    total = Looks()
    for one in looks:
        total = total.plus(one)
    return total


def _corroborated(evidence: Evidence, limits: Limits) -> bool:
    """Return whether every single run shows a demand on the loop over the limit by itself.

    While one request computes or blocks on the loop, no other can make progress.
    """
    for run in evidence.singles:
        budget, slowdown = run.budget, pace_of(run, evidence.calibration)
        cpu = (budget.cpu + budget.gc) / slowdown / (1 + cpu_spread(run))
        cpu -= limits.cpu_allowance * max(1, run.requests)
        late = share_served(run.samples) * _lateness(run, evidence)
        blocked = budget.blocked - budget.unwitnessed - late
        parts = {"cpu-on-loop": max(0.0, cpu), "blocking-call": max(0.0, blocked)}
        demand = sum(part for cause, part in parts.items() if cause not in limits.allow)
        limit = max(LEAST_EXCESS, limits.max_serial_fraction * run.makespan)
        if demand <= limit * (1 + MARGIN):
            return False
    return bool(evidence.singles)


def next_level(evidence: Evidence, limits: Limits) -> int | None:
    """Return the number of copies to run next, or None if the evidence is sufficient.

    Three single runs come first, then a small burst. A fail there is replicated there, so that a
    blocking handler never pays for the largest burst; everything else is measured at the top level.
    """
    if evidence.unmeasured or any(run.timed_out for run in evidence.runs):
        return None
    if len(evidence.singles) < SINGLES:
        return 1
    small, top = min(SMALL_BURST, limits.concurrency), limits.concurrency
    if _singles_convict(evidence, limits):
        return None if evidence.bursts else small
    made = Counter(run.concurrency for run in evidence.bursts)
    if made[top]:
        return _after_top_bursts(made[top], evidence, limits)
    if small == top:
        return top
    return _after_small_bursts(made[small], evidence, limits) if made[small] else small


def _after_small_bursts(made: int, evidence: Evidence, limits: Limits) -> int | None:
    """Return the level that follows ``made`` small bursts."""
    small, top = SMALL_BURST, limits.concurrency
    level = _level(small, evidence, limits)
    if not level.only_fails(limits):
        return top
    if _needs_single_run(level, evidence):
        return 1
    if level.convicts(limits, _corroborated(evidence, limits)):
        return None
    return small if made < QUIETEST else top


def _after_top_bursts(made: int, evidence: Evidence, limits: Limits) -> int | None:
    """Return the level that follows ``made`` bursts at the top level."""
    top = limits.concurrency
    level = _level(top, evidence, limits)
    if level.acquits(limits):
        stalls = _stalls(evidence.bursts_of(top), evidence, limits)
        return top if (stalls.guilty or stalls.near) and made < QUIETEST else None
    if level.only_fails(limits) and _needs_single_run(level, evidence):
        return 1
    if level.convicts(limits, _corroborated(evidence, limits)) or made >= MOST:
        return None
    # On a quiet machine, a figure too near its limit stays there.
    if made >= QUIETEST and level.votes(limits) == (0, 0) and _is_quiet(evidence):
        return None
    return top


def _needs_single_run(level: _Level, evidence: Evidence) -> bool:
    """Return whether waits are about to convict on too few single runs."""
    return len(evidence.singles) < MORE_SINGLES and _mostly_waits(level)


def _mostly_waits(level: _Level) -> bool:
    parts = level.middle.parts
    waits = sum(b.lower for c, b in parts.items() if c in ("serialised-wait", "thread-pool"))
    return 2 * waits > sum(b.lower for b in parts.values())


def _is_quiet(evidence: Evidence) -> bool:
    waiting = sum(run.pressure.waiting for run in evidence.bursts)
    return waiting <= MARGIN * sum(run.makespan for run in evidence.bursts)


# The verdict


def judge(evidence: Evidence, limits: Limits) -> Judgement:
    """Return the judgement that ``evidence`` supports under ``limits``."""
    if evidence.unmeasured:
        return Judgement("not-measured")
    late = [run for run in evidence.runs if run.timed_out]
    if late:
        return _judge_timeout(late[0], evidence)
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
        if part.lower >= LEAST_EXCESS
    )
    return tuple(sorted(found.intersection(limits.allow)))


def _judge_single_runs(evidence: Evidence, limits: Limits) -> Judgement:
    """Judge lag and blocking only; a stall in every run convicts."""
    stalls = _stalls(evidence.singles, evidence, limits)
    verdict: Verdict = "pass" if evidence.watched else "not-measured"
    reasons: tuple[Reason, ...] = ()
    cause: Cause | None = None
    near = ""
    if stalls.runs and stalls.same == stalls.runs:
        cause = stalls.guilty[0].cause
        verdict = "inconclusive" if is_blind(evidence) and cause != "cpu-on-loop" else "fail"
        if verdict == "fail":
            reasons = _reasons(stalls)
    elif evidence.watched and stalls.undecided:
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


def _reasons(stalls: _Stalls) -> tuple[Reason, ...]:
    kinds: tuple[Reason, ...] = ("lag", "blocked")
    return tuple(kind for kind in kinds if any(kind in stall.reasons for stall in stalls.guilty))


def _near_step(stalls: _Stalls) -> str:
    found = (*stalls.guilty, *stalls.near)
    nearest = statistics.median(stall.nearest for stall in found)
    names = sorted({f"max_{reason}" for stall in found for reason in stall.reasons})
    return f"the longest callback is within {abs(nearest - 1):.0%} of {' and '.join(names)}"


def _judge_timeout(run: Run, evidence: Evidence) -> Judgement:
    cause: Cause
    if run.stuck is not None:
        cause = "blocking-call" if run.budget.blocked >= run.budget.cpu else "cpu-on-loop"
    else:
        cause = "thread-pool" if pool_waited_for([run]) else "serialised-wait"
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


def _max_lag(evidence: Evidence) -> float:
    lags = (s.cpu + (s.blocked if s.witnessed else 0.0) for s in _steps(evidence))
    return max(lags, default=0.0)


def _max_blocked(evidence: Evidence) -> float:
    return max((s.blocked for s in _steps(evidence) if s.witnessed), default=0.0)


def _judge_runs(evidence: Evidence, limits: Limits) -> Judgement:
    level = _level(max(run.concurrency for run in evidence.bursts), evidence, limits)
    if not level.excesses:
        return Judgement("not-measured", max_lag=_max_lag(evidence))
    singles_convict = _singles_convict(evidence, limits)
    scales = level.convicts(limits, singles_convict or _corroborated(evidence, limits))
    stalled = singles_convict or _bursts_convict_for_stalls(evidence, limits)
    stalls = _stalls(evidence.runs, evidence, limits)
    judged = _judged(level, limits)
    judgement = _with_figures(level, judged, stalls, stalled, evidence, limits)
    causes = _causes(level)
    cause = causes[0][0] if scales and causes else None
    if stalled and cause is None:
        cause = Counter(stall.cause for stall in stalls.guilty).most_common(1)[0][0]
    if scales or stalled:
        if is_blind(evidence) and cause != "cpu-on-loop" and not singles_convict:
            return replace(judgement, near=_near_limit(judged))
        reasons: tuple[Reason, ...] = ("scaling",) if scales else ()
        return replace(
            judgement,
            verdict="fail",
            reasons=reasons + _reasons(stalls) if stalled else reasons,
            cause=cause,
            causes=causes or (((cause, 1.0),) if cause else ()),
            guilty_runs=len(stalls.guilty) if stalled else judgement.guilty_runs,
        )
    top = _stalls(evidence.bursts_of(limits.concurrency), evidence, limits)
    if top.undecided:
        return replace(judgement, near=_near_step(top))
    if level.acquits(limits):
        return replace(judgement, verdict="pass", guilty_runs=0)
    return replace(judgement, near=_near_limit(judged))


def _with_figures(
    level: _Level,
    judged: Judged,
    stalls: _Stalls,
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


def _judged(level: _Level, limits: Limits) -> Judged:
    """Return the median figures of the bursts, as fractions of T(1)."""

    def median(figure: Callable[[Excess], float]) -> float:
        return statistics.median(figure(excess) for excess in level.excesses)

    return Judged(
        fraction=median(lambda e: e.total.estimate / e.alone.estimate),
        low=median(lambda e: e.total.lower / e.alone.upper / (1 + e.margin)),
        high=median(lambda e: e.total.upper / e.alone.lower * (1 + e.margin)),
        limit=median(lambda e: max(limits.max_serial_fraction, LEAST_EXCESS / e.alone.estimate)),
    )


def _near_limit(judged: Judged) -> str:
    """Return a message that says how near ``judged`` is to its limit."""
    off = abs(judged.fraction / judged.limit - 1)
    bounds = f"with bounds {judged.low:.2f} and {judged.high:.2f}"
    near = f"within {off:.0%} of" if off < 0.5 else "not distinguishable from"
    return (
        f"the serial fraction {judged.fraction:.2f}, {bounds}, is {near} the limit "
        f"{judged.limit:.2f}"
    )


def _causes(level: _Level) -> tuple[tuple[Cause, float], ...]:
    """Return the causes with their shares of the excess of all bursts, largest first."""
    weights: Counter[Cause] = Counter()
    for excess in level.excesses:
        for cause, part in excess.parts.items():
            weights[cause] += part.estimate  # type: ignore[assignment]  # a Counter of seconds
    total = sum(weights.values())
    if total <= 0:
        return ()
    shares = ((cause, weight / total) for cause, weight in weights.most_common())
    return tuple((cause, share) for cause, share in shares if share >= 0.005)
