"""What the machine did to a run: pressure on its cores, and servers that answered late."""

from __future__ import annotations

from collections.abc import Sequence

from ..model import Evidence, Looks, Run, Sample
from .idle_time import together
from .tolerances import COLD, SERVER_WAKEUPS


def other_delay(run: Run) -> float:
    """Return the run-queue delay of all threads but the loop's, and of child processes."""
    return run.budget.other_delay + run.budget.child_delay


def pressed(run: Run) -> float:
    """Return the share of ``run`` during which tasks may have waited for a core, from 0 to 1."""
    return min(1.0, run.pressure.waiting / run.makespan) if run.makespan > 0 else 0.0


def chilled(run: Run) -> float:
    """Return by how much neighbours may have raised the CPU time of ``run``, relative to itself.

    A neighbour's turn on the core is as long as a slice of the loop. So if each slice follows a
    turn, the loop waits for the core for at least as long as it runs.
    """
    cpu = run.budget.cpu + run.budget.gc
    return COLD * min(1.0, run.budget.descheduled / cpu) if cpu > 0 else 0.0


def disturbance(run: Run) -> float:
    """Return how much the machine disturbed ``run``: CPU pressure and what our threads missed.

    Both are shares of the makespan. Beside busy processes the pressure is near 1 in each run, and
    only the other differs. What a hypervisor took is left out: in a short burst, a tick of it would
    outweigh all else.
    """
    missed = run.budget.descheduled + other_delay(run)
    return pressed(run) + (missed / run.makespan if run.makespan > 0 else 0.0)


def server_lateness(looks: Looks, wakeups: float = SERVER_WAKEUPS) -> float:
    """Return the seconds by which the machine may have delayed another process's response."""
    return wakeups * looks.late / looks.wakes if looks.wakes else 0.0


def lateness_in(run: Run, evidence: Evidence, wakeups: float = SERVER_WAKEUPS) -> float:
    """Return the seconds by which the machine may have delayed a response in ``run``."""
    looks = together(one.looks for one in evidence.runs)
    return min(server_lateness(looks, wakeups), run.pressure.waiting)


def share_served(samples: Sequence[Sample]) -> float:
    """Return the share of the waits in ``samples`` that may be for another process, from 0 to 1.

    A sleep depends on no server, so no server can delay it.
    """
    waits = {"blocked": 0.0, "sleep": 0.0, "lock": 0.0}
    for sample in samples:
        if sample.state in waits:
            waits[sample.state] += sample.weight
    whole = sum(waits.values())
    return 1 - waits["sleep"] / whole if whole > 0 else 1.0
