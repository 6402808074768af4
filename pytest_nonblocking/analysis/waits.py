"""What waiting adds per request, beyond what the cores and the GIL explain."""

from __future__ import annotations

from math import ceil
from statistics import median

from ..model import Pool, Run
from .compared import Compared
from .idle_time import Idle, gil_held, least_share
from .intervals import Bounds
from .noise import server_lateness
from .queued import contended_for
from .single_runs import certain_idle, starved_in
from .tolerances import QUEUED, WAVES


def waits_beyond_cores(compared: Compared, idle: Idle, alone: Bounds, left: float) -> Bounds:
    """Return what waits add per request, without what a machine with more cores would save.

    ``alone`` is T(1), and ``left`` what is left of the CPU allowance.
    """
    pool = compared.shown.pool
    due = 0.0
    if pool is not None and pool.sized_by_cpu_count:
        # asyncio's default executor has 4 more threads than the machine has cores.
        due = WAVES * alone.estimate / pool.size
    waits = _waits(compared, idle, left)
    return Bounds(
        max(0.0, waits.lower - due), max(0.0, waits.estimate - due), max(0.0, waits.upper - due)
    )


def _waits(compared: Compared, idle: Idle, left: float) -> Bounds:
    """Return what waiting adds per request while the loop is idle or descheduled.

    Time that may be a wait for the GIL shares what is ``left`` of the CPU allowance.

    The cores explain at most C / c + D of the idle time, where C is the CPU time of workers on c
    cores and D their run-queue delay: while c of them are runnable, all cores are in use, which
    takes C / c if all of them run; while fewer are, the delay is what holds them up. Work done
    while fewer than c of them are runnable takes as long on any machine.

    While nothing of this process is runnable, every unfinished copy waits, and so does the one that
    ends last. Its own waits are those of a request alone: more than that is a queue, however few
    cores there are.

    Threads of a pool that want the GIL are held up by each delay of the one that holds it, and it
    uses no CPU meanwhile: a burst of Python in threads beside six busy processes was idle for
    1,280 ms, in which others held the GIL all the time and computed for 560.

    A copy's waits may be of random length: handlers that wait for 3 to 40 ms failed in 1 of 80
    measurements. Unless half of the waiting was seen to be in a line, the lower bound counts only
    what the ranks of the latencies show, or the time for which any copy waited for what another
    holds: if every third copy does, the middle one is not late.

    While the loop is descheduled or read, timers and responses come nearer: that time hides idle
    time if copies are seen waiting (it made a pool of 5 look like 0.10 instead of 0.14).
    """
    burst, singles, growth = compared.burst, compared.singles, compared.growth
    looks, queued = compared.shown.looks, compared.shown.queued
    elsewhere = _elsewhere(compared)
    held = gil_held(looks, compared.calibration)
    by_turns = _held_up(burst, compared.shown.pool)
    delay = growth.thread_delay * (by_turns + (1 - by_turns) * held.upper)
    noise = delay + growth.child_delay + elsewhere
    starved = zip(singles, starved_in(singles, growth), strict=True)
    alone = median(run.budget.idle - lost for run, lost in starved)
    least = median(certain_idle(singles, growth, compared.calibration))

    def unexplained(cores: float, alone: float) -> float:
        return max(0.0, (burst.budget.idle * (1 - cores) - alone) / (burst.concurrency - 1))

    perhaps_gil = min(left, idle.gil.upper - idle.gil.lower)
    known = min(1.0, queued.share / QUEUED)
    ranked = growth.ranked_idle
    in_queue = ranked + max(0.0, growth.middle_idle - ranked) * known
    in_queue = max(in_queue, contended_for(burst) / (burst.concurrency - 1))
    seen = min(unexplained(idle.cores_upper, alone), in_queue)
    proved = max(seen - noise, min(seen, idle.worked))
    quiet = burst.budget.idle * least_share("quiet", "watched", burst, looks)
    in_quiet = max(0.0, (quiet - alone) / (burst.concurrency - 1))
    certain = min(seen - idle.gil.lower, in_quiet + idle.worked_freely)
    lower = max(proved - idle.gil.lower - perhaps_gil, certain - elsewhere)
    between = unexplained((idle.cores_lower + idle.cores_upper) / 2, alone)
    upper = unexplained(idle.cores_lower, least) - idle.gil.lower
    held_by_others = max(idle.gil.estimate, held.estimate * growth.idle)
    hidden = (growth.descheduled + growth.own) * burst.queued * (1 - idle.cores_lower)
    return Bounds(
        max(0.0, lower),
        max(0.0, lower, min(between - held_by_others, upper)),
        max(0.0, lower, upper + hidden),
    )


def _elsewhere(compared: Compared) -> float:
    """Return how late another process, or a hypervisor, may make each request, in seconds.

    Only the time spent waiting for another process can be such a process's lateness. A connection
    that is kept open looks like such a wait, which one for a timer is not.
    """
    looks, growth = compared.shown.looks, compared.growth
    served = looks.external / looks.count if looks.count else 0.0
    served = min(served, 1 - compared.shown.queued.asleep)
    return min(served * server_lateness(looks), growth.pressure) + growth.stolen


def hidden_wait(compared: Compared, idle: Idle) -> float:
    """Return the wait per request that is not seen while the loop is descheduled or read.

    Requests wait for another resource no longer than one alone usually does while its loop is idle.
    """
    burst, growth = compared.burst, compared.growth
    away = (growth.descheduled + growth.own) * (1 - idle.cores_lower) * (1 - burst.queued)
    return min(away, median(run.budget.idle for run in compared.singles))


def _held_up(burst: Run, pool: Pool | None) -> float:
    """Return the share of its threads' run-queue delay by which the queue of a burst is longer.

    Requests that queue for one thing wait for each delay of whoever holds it. A pool of n threads
    serves waves of n calls, each of them later by the delay of one call: the copy in the middle
    waits for as many waves as there are before it, and for its own.
    """
    if pool is None:
        return 1.0
    before = (burst.concurrency - 1) / 2
    return min(1.0, WAVES * ceil(before / max(1, pool.busy)) / before)
