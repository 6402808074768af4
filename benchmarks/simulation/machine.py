"""A machine on which handlers of known demand are measured in no time: exact budgets, and noise.

The noise is a model whose figures were measured from real runs (``noise.py`` prints them).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from pytest_nonblocking.load.schedule import replicate
from pytest_nonblocking.model import (
    Budget,
    Calibration,
    Cause,
    Evidence,
    Frame,
    Limits,
    Looks,
    Pressure,
    Run,
    Sample,
    Step,
    Waiters,
)

CORES = 2
_LOOK_EVERY = 0.0025
_SWITCH = 0.005
_HANDLER = Frame("app.py", 1, "show", "app")
_LOCK = Frame("locks.py", 1, "Lock.acquire", "asyncio.locks")


@dataclass(frozen=True, slots=True)
class Handler:
    """What one request asks of each resource, in seconds.

    ``wait`` passes in parallel, ``hold`` is the time for which it has a lock to itself, ``python``
    is computed in a thread with the GIL, ``free`` in a thread without it. ``pieces`` is into how
    many steps its CPU and its blocking are cut.
    """

    wait: float = 0.0
    cpu: float = 0.0
    collector: float = 0.0
    blocked: float = 0.0
    hold: float = 0.0
    python: float = 0.0
    free: float = 0.0
    pieces: int = 1


@dataclass(frozen=True, slots=True)
class Noise:
    """What the machine does to a measurement.

    ``between`` and ``within`` are the standard deviations of processor time, as shares: from one
    measurement to the next, and from one run to the next within one. ``slowdown`` is that of the
    measured slowdown. ``delay`` is the mean run-queue delay at a wake-up, ``starved`` what the
    machine takes for each second on the processor, ``stolen`` the mean of what a hypervisor takes
    in a run, ``timer`` by how much a wait ends late, ``pressed`` the share of the time in which
    some task waits for a processor.
    """

    name: str
    between: float
    within: float
    slowdown: float
    delay: float
    starved: float
    stolen: float
    timer: float
    pressed: float


QUIET = Noise("quiet", 0.020, 0.030, 0.040, 0.00003, 0.004, 0.00005, 0.0001, 0.002)
BUSY = Noise("busy", 0.030, 0.050, 0.050, 0.00125, 1.2, 0.001, 0.0008, 0.95)
NOISES = (QUIET, BUSY)


class SimulatedMachine:
    """Makes runs of one handler; a Runner of the schedule."""

    def __init__(self, handler: Handler, noise: Noise, seed: int) -> None:
        self._handler = handler
        self._noise = noise
        self._random = random.Random(seed)
        self._pace = self._about(1.0, noise.between)
        self.seconds = 0.0

    def slowdown(self) -> float:
        """Return the slowdown as it is measured: the pace with an error of its own."""
        return self._about(self._pace, self._noise.slowdown)

    def fault(self) -> str | None:
        """Return None: nothing of it fails."""
        return None

    async def run(self, concurrency: int, alone: tuple[float, ...]) -> Run:
        """Return one run; ``alone`` is not needed."""
        run = self._run(concurrency)
        self.seconds += run.makespan
        return run

    def _about(self, value: float, spread: float) -> float:
        return value * max(0.2, self._random.gauss(1.0, spread))

    def _run(self, copies: int) -> Run:
        handler, noise = self._handler, self._noise
        pace = self._about(self._pace, noise.within)
        cpu, collector = copies * handler.cpu * pace, copies * handler.collector * pace
        blocked = copies * self._about(handler.blocked, 0.002)
        python, free = copies * handler.python * pace, copies * handler.free * pace
        starved = noise.starved * self._about(1.0, 0.3)
        loop = cpu + collector + blocked
        # The loop wakes up late after each piece that blocks, and at each hand-over of a lock.
        wakeups = 1 + copies * ((handler.pieces if blocked else 0) + (handler.hold > 0))
        taken = (cpu + collector) * starved + self._random.expovariate(1 / noise.stolen)
        taken += sum(self._random.expovariate(1 / noise.delay) for _ in range(wakeups))
        wait = self._about(handler.wait, 0.01) + self._random.expovariate(1 / noise.timer)
        hold = copies * self._about(handler.hold, 0.005)
        # A thread with the GIL waits for a processor as any other, and all others wait for it.
        threads = python * (1 + starved)
        cores = free * (1 + 2 * starved) / min(CORES, copies)
        in_steps = threads * self._random.uniform(0.0, 0.6)
        # What is waited for comes nearer while the loop runs for others, or is kept from running.
        overlap = (1 - 1 / copies) * self._random.uniform(0.8, 1.0)
        idle = wait + max(hold, cores) + threads - in_steps
        if not python:  # which needs the GIL, as the loop does
            idle = max(0.0, idle - (loop + (cpu + collector) * starved) * overlap)
        late = sum(self._random.expovariate(1 / noise.delay) for _ in range(copies))
        share = 1 - in_steps / threads if python else 0.0
        budget = Budget(
            cpu=cpu,
            blocked=blocked,
            gil=in_steps,
            gc=collector,
            descheduled=taken,
            idle=idle,
            own=0.0003 * copies,
            other_cpu=python + free,
            other_delay=(python + 2 * free) * starved + (late if python or free else 0.0),
            idle_cpu=python * share + free,
            gil_cpu=python * (1 - share),
            gil_seen=python * (1 - share) * self._random.uniform(0.3, 1.0),
        )
        latencies = self._latencies(copies, budget.wall, wait)
        return Run(
            concurrency=copies,
            makespan=budget.wall,
            latencies=latencies,
            taken=tuple(one * (taken + budget.own) / budget.wall for one in latencies),
            budget=budget,
            steps=self._steps(copies, pace),
            looks=self._looks(budget, max(0.0, idle - wait - hold), python > 0, free > 0),
            pressure=Pressure(budget.wall * noise.pressed * self._random.uniform(0.8, 1.0), 0.0),
            slowdowns=(self.slowdown(), self.slowdown()),
            requests=copies,
            queued=self._random.uniform(0.8, 1.0) if handler.hold or python else 0.1,
            waiters=self._waiters(copies, wait, hold),
        )

    def _waiters(self, copies: int, wait: float, hold: float) -> tuple[Waiters, ...]:
        """Return who waits for the lock and for what passes in parallel, after the first pass."""
        if copies == 1:
            return ()
        at_lock = Waiters((_HANDLER, _LOCK), copies - 1, copies * hold / 2)
        return (Waiters((_HANDLER,), copies, wait), *((at_lock,) if hold else ()))

    def _latencies(self, copies: int, makespan: float, wait: float) -> tuple[float, ...]:
        first = min(makespan, wait + self._handler.hold + self._handler.cpu)
        step = (makespan - first) / max(1, copies - 1)
        return tuple(first + step * number for number in range(copies))

    def _steps(self, copies: int, pace: float) -> tuple[Step, ...]:
        handler = self._handler
        cpu, blocked = handler.cpu * pace / handler.pieces, handler.blocked / handler.pieces
        if cpu + blocked < _LOOK_EVERY:
            return ()
        sample = Sample((), "blocked" if blocked > cpu else "running", cpu + blocked)
        step = Step(cpu + blocked, cpu, blocked, 0.0, 0, (sample,), witnessed=blocked > 0)
        return (step,) * min(64, copies * handler.pieces)

    def _looks(self, budget: Budget, active: float, python: bool, free: bool) -> Looks:
        watched = budget.idle + budget.gil
        count = int(budget.idle / (_LOOK_EVERY if not python else 10 * _LOOK_EVERY))
        full = 0.97 if free and not self._handler.hold else 0.0
        one = 0.95 if free else 0.05 * python
        held = self._random.uniform(0.93, 1.0) if python else 0.02
        return Looks(
            count=count,
            watched=budget.idle,
            saturated=budget.idle * full,
            maybe_saturated=budget.idle * max(full, 0.1 * python),
            free=budget.idle * (CORES * full if full else one),
            used=budget.other_cpu,
            used_alone=budget.other_cpu * 0.9 if free and not full else 0.0,
            active=active,
            several=budget.idle * max(full, 0.1 * python),
            quiet=(budget.idle - active) * _LOOK_EVERY / (_LOOK_EVERY + self._noise.delay),
            held=watched * held,
            maybe_held=watched * held,
            tried=watched,
            wakes=count,
            late=count * self._random.uniform(0.5, 1.5) * self._noise.delay,
        )


def measured(handler: Handler, noise: Noise, seed: int, limits: Limits) -> tuple[Evidence, float]:
    """Return the evidence of one measurement, and how many seconds it would have taken."""
    machine = SimulatedMachine(handler, noise, seed)
    start = Evidence(calibration=Calibration(factor=machine.slowdown(), cores=CORES))
    done: Any = None
    running = replicate(machine, start, limits)
    try:
        running.send(None)
    except StopIteration as ended:
        done = ended.value
    warm_up = done.singles[0].makespan
    return done, machine.seconds + warm_up


CAUSES: tuple[Cause, ...] = ("cpu-on-loop", "blocking-call", "gil-contention", "serialised-wait")


def handler_at(cause: Cause, ratio: float, alone: float, limits: Limits) -> Handler | None:
    """Return a handler whose judged figure is ``ratio`` times the limit, None where none can be.

    ``alone`` is the latency of a single request in seconds.
    """
    base = 0.0006
    excess = ratio * max(0.001, limits.max_serial_fraction * alone)
    if cause == "cpu-on-loop":
        cpu = limits.cpu_allowance + excess
        handler = Handler(wait=alone - cpu, cpu=cpu, pieces=1 + int(cpu / 0.004))
    elif cause == "blocking-call":
        pieces = 1 + int(excess / 0.002)
        handler = Handler(wait=alone - excess - base, cpu=base, blocked=excess, pieces=pieces)
    elif cause == "gil-contention":
        python = limits.cpu_allowance - base + excess
        handler = Handler(wait=alone - python - base, cpu=base, python=python)
    else:
        handler = Handler(wait=alone - excess - base, cpu=base, hold=excess)
    return handler if handler.wait >= 0 else None
