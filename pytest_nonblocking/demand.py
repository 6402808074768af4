"""The serial demand of one burst, from its budget and that of the lone runs.

A closed burst of N copies takes T(N) = W + N * S, where S is the serial demand per request. The
loop-time budget is additive, so is its slope: the part that grows with N is the cause.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from .results import Budget, Cause, Evidence, GilUse, Limits, Pool, Run

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

_PARALLEL = 1.1
"""CPU per second of all threads together from which some of them compute without the GIL."""
_SATURATED = 0.7
"""CPU per second of all threads together below which the machine keeps them from computing."""

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
    offloaded = slope("other_cpu") + slope("child_cpu")
    # Clients in threads of this process compute while the loop sleeps, and have the GIL meanwhile.
    elsewhere = offloaded + max(0.0, slope("driver_cpu") - _queueing(burst, evidence))
    gil = max(0.0, gil - slope("driver_cpu"))
    delay = slope("other_delay")
    if evidence.calibration.clock != "schedstat":
        delay = slope("descheduled")  # the canary's: what other threads met is not known
    if slope("child_cpu") >= _OFFLOADED * idle:
        delay += slope("child_delay")
    # Threads that hardly compute compete for nothing, whatever a few looks at them showed (six
    # looks at a process pool's feeder threads: four wanted the GIL).
    computing = slope("other_cpu") >= _OFFLOADED * (gil + idle)
    contended = computing and gil_contended(run.gil for run in evidence.bursts)
    starved = False
    if contended and evidence.calibration.clock != "schedstat":
        # The GIL lets one thread compute at a time, on a processor that nobody disputes it. Both
        # tell it from work without the GIL where no thread's state is known.
        busy = (burst.budget.cpu + burst.budget.other_cpu) / burst.budget.wall
        contended, starved = busy <= _PARALLEL, busy < _SATURATED
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
        gil_noise, wait_noise = (gil_excess, wait) if starved else (0.0, min(wait, delay))
        # While the machine keeps the loop from running, it does not wait for the GIL either.
        masked = min(slope("other_cpu") - held, slope("descheduled"))
    else:
        wait = max(0.0, idle - elsewhere)
        if elsewhere >= _OFFLOADED * idle:
            wait = max(0.0, wait - delay)
        gil_excess, gil_noise, wait_noise = gil, min(gil, delay), min(wait, delay)
    blocked_noise = 0.0 if contended else min(slope("unwitnessed"), blocked, delay)

    pool = pool_waited_for([burst])
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
        offloaded=0.0 if contended else offloaded,
        in_turn=_in_turn(burst, evidence),
    )


def _queueing(burst: Run, evidence: Evidence) -> float:
    """Return the seconds per request by which requests wait in the application itself.

    The one in the middle of a queue waits for half of the others. Where clients are slow to send,
    requests do not stay longer in the application; behind a pool they do, whatever the clients do
    meanwhile (a pool of 3 behind clients that cost 8 ms each showed 10 ms of idle time).
    """
    alone = [stay for run in evidence.solos for stay in run.stays]
    if not alone or not burst.stays:
        return 0.0
    longer = statistics.median(burst.stays) - statistics.median(alone)
    return max(0.0, 2 * longer / burst.concurrency)


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
    return _fullest(pool for run in runs for pool in run.pools if pool.waiting)


def pool_waited_for(runs: Iterable[Run]) -> Pool | None:
    """Return the pool of threads for which most work waited when most of the copies waited.

    Where all copies ask for threads and then wait for a lock, a pool is full for a moment only.
    """
    runs = tuple(runs)
    if any(run.waiters for run in runs):
        return _fullest(run.pool for run in runs if run.pool is not None)
    return fullest_pool(runs)


def _fullest(pools: Iterable[Pool]) -> Pool | None:
    return max(pools, key=lambda pool: pool.waiting, default=None)
