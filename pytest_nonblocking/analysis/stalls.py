"""Callbacks that hold the loop for longer than their limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..model import Cause, Evidence, Limits, Reason, Run, Step
from .bounds import cpu_spread
from .growth import pace_of, stolen_in
from .intervals import Bounds
from .noise import chilled, lateness_in, share_served
from .tolerances import CALLBACK_MARGIN, CONVICTING, LONGEST_WAKEUPS, SINGLES

_IMPORT = "importlib._bootstrap"


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
    noise = share_served(step.samples) * lateness_in(run, evidence, LONGEST_WAKEUPS)
    noise += stolen_in(run)
    surely = max(0.0, blocked - noise)
    cause: Cause = "blocking-call" if blocked >= cpu else "cpu-on-loop"
    lag = Bounds(
        cpu / (1 + spread + chilled(run)) + surely, cpu + blocked, cpu * (1 + spread) + blocked
    )
    figures: dict[Reason, tuple[Bounds, float]] = {
        "lag": (lag, limits.max_lag),
        "blocked": (Bounds(surely, blocked, blocked), limits.max_blocked),
    }
    over = tuple(
        name for name, (it, limit) in figures.items() if it.lower > limit * (1 + CALLBACK_MARGIN)
    )
    near = tuple(
        name for name, (it, limit) in figures.items() if it.upper * (1 + CALLBACK_MARGIN) > limit
    )
    reasons: tuple[Reason, ...] = over or near
    if not reasons:
        return None
    if "blocked" in reasons:
        cause = "blocking-call"
    if cause in limits.allow:
        return None
    nearest = max(figures[name][0].estimate / figures[name][1] for name in reasons)
    return Stall(step, reasons, cause, bool(over), nearest)


def _imports(step: Step) -> bool:
    """Return whether ``step`` was mostly the first import of a module.

    This happens only once and matters only if no run precedes the judged one.
    """
    importing = sum(any(f.module == _IMPORT for f in s.stack) for s in step.samples)
    return 2 * importing > len(step.samples)


@dataclass(frozen=True, slots=True)
class Stalls:
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


def stalls_of(runs: Sequence[Run], evidence: Evidence, limits: Limits) -> Stalls:
    """Return the worst callback of each of ``runs`` that has one over a limit or near it.

    A wait near a limit counts in a burst only if single runs show it, too: a callback that blocks
    has its server to itself in either, and of 50 such waits one is late beside busy neighbours.
    """
    found = [s for run in runs if (s := stall_of(run, evidence, limits)) is not None]
    near = tuple(s for s in found if not s.over)
    if any(run.concurrency > 1 for run in runs) and not _singles_wait(evidence, limits):
        near = tuple(s for s in near if s.cause != "blocking-call")
    return Stalls(tuple(s for s in found if s.over), near, len(runs))


def _singles_wait(evidence: Evidence, limits: Limits) -> bool:
    """Return whether most single runs have a callback that blocks over a limit or near it."""
    stalls = (stall_of(run, evidence, limits) for run in evidence.singles)
    waits = sum(stall is not None and stall.cause == "blocking-call" for stall in stalls)
    return 2 * waits > len(evidence.singles)


def singles_convict(evidence: Evidence, limits: Limits) -> bool:
    """Return whether every single run has a callback over a limit, for the same cause."""
    stalls = stalls_of(evidence.singles, evidence, limits)
    return stalls.runs >= SINGLES and stalls.same == stalls.runs


def bursts_convict(evidence: Evidence, limits: Limits) -> bool:
    """Return whether most bursts have a callback over a limit, for the same cause."""
    stalls = stalls_of(evidence.bursts, evidence, limits)
    return stalls.same >= CONVICTING and stalls.same > stalls.runs / 2
