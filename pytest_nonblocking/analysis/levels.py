"""The bursts at one concurrency level, and what they prove together."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..model import Evidence, Limits
from .bounds import (
    Excess,
    cpu_spread,
    excess_of,
    is_evidence,
    limit_at,
)
from .compared import compared, shown_by
from .growth import pace_of
from .noise import chilled, disturbance, lateness_in, share_served
from .tolerances import CONVICTING, MARGIN, QUIETEST


@dataclass(frozen=True, slots=True)
class Level:
    """The votes of the quietest bursts at one concurrency level."""

    excesses: tuple[Excess, ...]
    made: int
    strict: tuple[Excess, ...]
    """The excesses with accepted causes included."""

    queued: float
    """The share of the waiting that was seen in queues, from 0 to 1."""

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


def level_at(
    concurrency: int, evidence: Evidence, limits: Limits, *, if_queued: bool = False
) -> Level:
    """Return the level of ``concurrency`` copies; it has no excesses without usable bursts.

    With ``if_queued``, it is the level as it would be if the ranks of the latencies showed that all
    waits are a queue.
    """
    usable = [r for r in evidence.bursts if r.concurrency == concurrency and is_evidence(r)]
    # A burst that fills a pool shows what it costs to open connections or to start threads; later
    # ones show what it costs to use them. Which pool of threads is full shows in either.
    steady = [r for r in usable if not r.opened]
    runs = [r for r in steady if not r.started] or steady or usable
    # All bursts as quiet as the third-quietest, so that ties do not depend on the order.
    most = max(sorted(map(disturbance, runs))[:QUIETEST], default=0.0)
    quietest = [r for r in runs if disturbance(r) <= most]
    shown = shown_by(usable, runs, evidence.singles)
    compares = [compared(run, evidence.singles, evidence.calibration, shown) for run in quietest]
    if if_queued:
        compares = [
            replace(one, growth=replace(one.growth, ranked_idle=one.growth.idle))
            for one in compares
        ]
    strict = tuple(excess_of(one, limits) for one in compares)
    accepted = tuple(excess.without(limits.allow) for excess in strict)
    return Level(accepted, len(runs), strict, shown.queued.share)


def corroborated(evidence: Evidence, limits: Limits) -> bool:
    """Return whether every single run shows a demand on the loop over the limit by itself.

    While one request computes or blocks on the loop, no other can make progress.
    """
    for run in evidence.singles:
        budget, slowdown = run.budget, pace_of(run, evidence.calibration)
        cpu = (budget.cpu + budget.gc) / slowdown / (1 + cpu_spread(run) + chilled(run))
        cpu -= limits.cpu_allowance * max(1, run.requests)
        late = share_served(run.samples) * lateness_in(run, evidence)
        blocked = budget.blocked - budget.unwitnessed - late
        parts = {"cpu-on-loop": max(0.0, cpu), "blocking-call": max(0.0, blocked)}
        demand = sum(part for cause, part in parts.items() if cause not in limits.allow)
        if demand <= limit_at(run.makespan, limits) * (1 + MARGIN):
            return False
    return bool(evidence.singles)


def queue_by_ranks_only(evidence: Evidence, limits: Limits) -> bool:
    """Return whether only ranks are missing: the bursts prove a fail if these show a queue.

    More single runs may show it. If noise hides the queue, they do not.
    """
    top = max((run.concurrency for run in evidence.bursts), default=0)
    queued = level_at(top, evidence, limits, if_queued=True)
    return queued.convicts(limits, corroborated(evidence, limits))
