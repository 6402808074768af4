"""What to run next, until the evidence is sufficient."""

from __future__ import annotations

from collections import Counter

from ..model import Evidence, Limits
from .bounds import limit_at
from .levels import Level, corroborated, level_at, queue_by_ranks_only
from .stalls import singles_convict, stalls_of
from .tolerances import (
    CONVICTING,
    ENOUGH_SINGLES,
    LONGEST,
    MARGIN,
    MORE_SINGLES,
    MOST,
    MOST_SHORT,
    MOST_SINGLES,
    QUEUED,
    QUIETEST,
    SINGLES,
    SMALL_BURST,
)


def next_level(evidence: Evidence, limits: Limits) -> int | None:
    """Return the number of copies to run next, or None if the evidence is sufficient.

    Three single runs come first, then a small burst. A fail there is replicated there, so that a
    blocking handler never pays for the largest burst; everything else is measured at the top level.
    """
    if evidence.unmeasured or evidence.late is not None:
        return None
    if len(evidence.singles) < SINGLES:
        return 1
    small, top = min(SMALL_BURST, limits.concurrency), limits.concurrency
    if singles_convict(evidence, limits):
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
    level = level_at(small, evidence, limits)
    if _needs_single_run(level, evidence, limits):
        return 1
    if not level.only_fails(limits):
        return top
    if level.convicts(limits, corroborated(evidence, limits)):
        return None
    return small if made < QUIETEST else top


def _after_top_bursts(made: int, evidence: Evidence, limits: Limits) -> int | None:
    """Return the level that follows ``made`` bursts at the top level."""
    top = limits.concurrency
    level = level_at(top, evidence, limits)
    if level.acquits(limits):
        stalls = stalls_of(evidence.bursts_of(top), evidence, limits)
        return top if (stalls.guilty or stalls.near) and made < QUIETEST else None
    if _needs_single_run(level, evidence, limits):
        return 1
    if level.convicts(limits, corroborated(evidence, limits)):
        return None
    if made >= CONVICTING and _may_single_runs_convict(evidence, limits):
        return 1
    spent = sum(run.makespan for run in evidence.bursts_of(top))
    if made >= (MOST_SHORT if spent < LONGEST else MOST):
        return None
    # On a quiet machine, a figure too near its limit stays there.
    if made >= QUIETEST and level.votes(limits) == (0, 0) and _is_quiet(evidence):
        return None
    return top


def _may_single_runs_convict(evidence: Evidence, limits: Limits) -> bool:
    """Return whether more single runs may show that a long wait is not of random length."""
    spent = sum(run.makespan for run in evidence.singles)
    is_few = len(evidence.singles) < MOST_SINGLES and spent < LONGEST
    return is_few and queue_by_ranks_only(evidence, limits)


def needs_run_alone(evidence: Evidence, limits: Limits) -> bool:
    """Return whether a test of which only single runs can be made needs one more.

    One of three may miss a callback that blocks: a handler that sleeps was once let through.
    """
    made = len(evidence.singles)
    if made < SINGLES:
        return True
    stalls = stalls_of(evidence.singles, evidence, limits)
    return made < MORE_SINGLES and stalls.undecided and stalls.same < SINGLES


def _needs_single_run(level: Level, evidence: Evidence, limits: Limits) -> bool:
    """Return whether waits look like a fail on too few single runs."""
    needed = MORE_SINGLES if level.queued >= QUEUED else ENOUGH_SINGLES
    return len(evidence.singles) < needed and _waits_look_guilty(level, limits)


def _waits_look_guilty(level: Level, limits: Limits) -> bool:
    _, passes = level.votes(limits)
    if passes or not level.excesses:
        return False
    middle = level.middle
    parts = middle.parts.items()
    waits = sum(b.estimate for cause, b in parts if cause in ("serialised-wait", "thread-pool"))
    total = middle.total.estimate
    return total > limit_at(middle.alone.upper, limits) and 2 * waits > total


def _is_quiet(evidence: Evidence) -> bool:
    waiting = sum(run.pressure.waiting + run.pressure.stolen for run in evidence.bursts)
    return waiting <= MARGIN * sum(run.makespan for run in evidence.bursts)
