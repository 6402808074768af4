"""From a composition to its label, by the bottleneck law. Pure: no clock, no loop.

A request's demand on each resource is summed over its steps. In a long burst each further request
adds the largest of them, S. What the loop's thread and the GIL account for overlaps with a
queue's time or does not, since it is the loop that passes a lock on: so there are two bounds, and
a label holds only where both give it. Times are milliseconds.
"""

from __future__ import annotations

import itertools
import math
from typing import Literal, NamedTuple

from .calls import BLOCKING, HARMLESS
from .primitives import DEFAULT_THREADS, PRIMITIVES, Cause, Primitive

Place = Literal["handler", "dependency", "middleware", "base-middleware", "stream"]

MAX_FRACTION, MIN_EXCESS, MAX_LAG, MAX_BLOCKED, ALLOWANCE = 0.1, 1.0, 20.0, 5.0, 5.0
_CORES = 2  # for which the labels are made
_NEAR = (0.7, 1.4)
_APART = 1.5
_CORES_APART = 0.7
_SHORT_CALLS = ("block-socket", "block-requests")
_ALL = {**PRIMITIVES, **BLOCKING, **HARMLESS}
FRAMEWORK = 0.3  # FastAPI's own loop CPU, and the client's
_FRAMEWORKS = (0.1, FRAMEWORK, 1.2)
# Processors that share their units, as the two threads of a core do, lose half of their speed while
# the other is busy: a label holds for that too.
_CPU_SCALES = (0.8, 1.0, 1.4, 2.0)
PLACES: dict[Place, float] = {
    "middleware": 0.01,
    "base-middleware": 0.2,
    "dependency": 0.02,
    "handler": 0.0,
    "stream": 0.1,
}
"""The places of steps in the order in which a request comes to them, and their own loop CPU."""


class Step(NamedTuple):
    """One primitive of a request, where it stands and how many files deep."""

    kind: str
    ms: float
    place: Place = "handler"
    depth: int = 0
    width: int = 0
    slices: int = 1

    @property
    def primitive(self) -> Primitive:
        """What the step does."""
        return _ALL[self.kind]


class Composition(NamedTuple):
    """An endpoint: its steps in the order in which a request comes to them."""

    steps: tuple[Step, ...]
    mounted: bool = False
    method: str = "spawn"  # how processes are started


class Queue(NamedTuple):
    """What a request takes of something of which there are ``width``."""

    hold: float
    width: int

    @property
    def demand(self) -> float:
        """What each further request adds in the long run."""
        return self.hold / self.width

    def slope(self, copies: int) -> float:
        """Return the same in a burst of ``copies``, which ends with a round that may be half."""
        return (math.ceil(copies / self.width) - 1) * self.hold / (copies - 1)


class Demand(NamedTuple):
    """What one request asks of each resource; ``queues`` by the number of the step."""

    loop: float
    blocked: float
    gil: float
    cores: float
    queues: dict[int, Queue]
    threads: Queue
    alone: float
    after: float

    @property
    def busy(self) -> float:
        """What the loop's thread and the GIL account for."""
        return self.loop + self.blocked + self.gil

    def on_cores(self, cores: int) -> float:
        """Return the demand on the processors."""
        return (self.loop + self.gil + self.cores) / cores

    def serial(self, copies: int, cores: int) -> tuple[float, float]:
        """Return the least and the largest S in a burst; alike where one resource is used."""
        queues = [queue.slope(copies) for queue in (*self.queues.values(), self.threads)]
        others = max(*queues, self.on_cores(cores))
        least = max(self.loop + self.blocked, self.loop + self.gil, others)
        return least, max(least, self.busy + max(*queues, self.cores / cores))


class Label(NamedTuple):
    """What is true of an endpoint, and the number of the guilty step."""

    cause: Cause | None
    culprit: int | None


HEALTHY = Label(None, None)


class Unclear(Exception):  # noqa: N818  # not an error: another draw is made
    """The composition lies too near a limit, or two of its causes are alike."""


def demand(composition: Composition, framework: float = FRAMEWORK, scale: float = 1) -> Demand:
    """Return what one request asks for; all CPU is multiplied by ``scale``."""
    spent = {"wait": 0.0, "blocked": 0.0, "loop": scale * framework, "gil": 0.0, "cores": 0.0}
    queues: dict[int, Queue] = {}
    threads = after = 0.0
    for number, step in enumerate(composition.steps):
        primitive = step.primitive
        took = step.ms * (scale if primitive.uses in ("loop", "gil", "cores") else 1)
        spent[primitive.uses] += took
        spent["loop"] += scale * (primitive.overhead + PLACES[step.place])
        if step.width:
            queues[number] = Queue(took, step.width)
        if primitive.threads:
            threads += took
        if primitive.after:
            after += took
    return Demand(
        loop=spent["loop"],
        blocked=spent["blocked"],
        gil=spent["gil"],
        cores=spent["cores"],
        queues=queues,
        threads=Queue(threads, DEFAULT_THREADS),
        alone=sum(spent.values()) - after,
        after=after,
    )


def label(composition: Composition) -> Label:
    """Return the label; raises Unclear where the margins are too small."""
    slow = _served_late(composition)
    _check_margins(composition)
    _check_margins(slow)
    _check_service(composition)
    found: set[Label] = set()
    for framework, scale, it in itertools.product(_FRAMEWORKS, _CPU_SCALES, {composition, slow}):
        asked = demand(it, framework, scale)
        for overlaps, merged in itertools.product((False, True), repeat=2):
            for alone in {asked.alone, asked.alone + asked.after}:
                found.add(_label(it, asked, alone, overlaps, merged))
                if len(found) > 1:
                    raise Unclear("the label hangs on small things")
    return found.pop()


def _served_late(composition: Composition) -> Composition:
    """Return the same with what calls of the service take beyond the time that it was asked for."""
    steps = (step._replace(ms=step.ms + step.primitive.late) for step in composition.steps)
    return composition._replace(steps=tuple(steps))


def _label(
    composition: Composition, asked: Demand, alone: float, overlaps: bool, merged: bool
) -> Label:
    parts = _parts(asked, overlaps)
    excess = sum(parts.values())
    scales = excess / alone > MAX_FRACTION and excess > MIN_EXCESS
    steps = _loop_steps(composition, merged)
    if not scales and not any(cpu > MAX_LAG or off > MAX_BLOCKED for cpu, off in steps):
        return HEALTHY
    first, second = sorted(parts, key=lambda part: -parts[part])[:2]
    _check_apart(parts[first], parts[second])
    if isinstance(first, int):
        return _queued(composition, asked, first)
    if first == "gil-contention":
        _check_cores(asked, asked.gil)
        _check_apart(asked.gil, asked.loop)
    if first == "cpu-on-loop":
        _check_apart(asked.loop, asked.gil)
    return Label(first, _largest_step(composition, first))


def _parts(asked: Demand, overlaps: bool) -> dict[Cause | int, float]:
    """Return the judged excess by cause; a queue's is the number of its step, -1 for threads."""
    queues = {**asked.queues, -1: asked.threads}
    number = max(queues, key=lambda n: queues[n].demand)
    return {
        "cpu-on-loop": max(0.0, asked.loop - ALLOWANCE),
        "gil-contention": max(0.0, asked.gil - max(0.0, ALLOWANCE - asked.loop)),
        "blocking-call": asked.blocked,
        number: max(0.0, queues[number].demand - (asked.busy if overlaps else 0)),
    }


def _queued(composition: Composition, asked: Demand, number: int) -> Label:
    if number < 0:
        raise Unclear("the default threads have no line")
    mine = asked.queues[number].demand
    others = [queue.demand for n, queue in asked.queues.items() if n != number]
    _check_apart(mine, max((*others, asked.threads.demand)))
    _check_cores(asked, mine)
    return Label(composition.steps[number].primitive.cause, number)


def _largest_step(composition: Composition, cause: Cause) -> int:
    uses = {"cpu-on-loop": "loop", "gil-contention": "gil", "blocking-call": "blocked"}[cause]
    mine = {n: s.ms for n, s in enumerate(composition.steps) if s.primitive.uses == uses}
    ordered = sorted(mine, key=lambda number: -mine[number])
    if not ordered:
        raise Unclear("the framework's own work has no line")
    if len(ordered) > 1:
        _check_apart(mine[ordered[0]], mine[ordered[1]])
    return ordered[0]


def _loop_steps(composition: Composition, merged: bool) -> list[tuple[float, float]]:
    """Return CPU and blocked time of each step of the loop, as short or as long as it can be."""
    found = [(0.0, 0.0)]
    for step in composition.steps:
        uses, ms = step.primitive.uses, step.ms / step.slices
        mine = (ms if uses == "loop" else 0.0, ms if uses == "blocked" else 0.0)
        before = found[-1]
        if merged:
            found[-1] = (before[0] + mine[0], before[1] + mine[1])
        else:
            found.append(mine)
        if step.primitive.suspends:
            found += [mine, (0.0, 0.0)] if step.slices > 1 else [(0.0, 0.0)]
    return found


def _check_margins(composition: Composition) -> None:
    asked = demand(composition)
    for overlaps in (False, True):
        excess = sum(_parts(asked, overlaps).values())
        _check_far(excess, MIN_EXCESS)
        for alone in (asked.alone, asked.alone + asked.after):
            _check_far(excess / alone, MAX_FRACTION)
    for merged in (False, True):
        for cpu, blocked in _loop_steps(composition, merged):
            _check_far(cpu, MAX_LAG)
            _check_far(blocked, MAX_BLOCKED)


def _check_service(composition: Composition) -> None:
    """Reject short waits for the slow service beside work that takes all processors from it."""
    asked = demand(composition)
    if any(step.kind in _SHORT_CALLS and step.ms < MAX_BLOCKED for step in composition.steps):
        _check_apart(MAX_BLOCKED, asked.cores + asked.gil)


def _check_far(figure: float, limit: float) -> None:
    if _NEAR[0] * limit < figure < _NEAR[1] * limit:
        raise Unclear(f"{figure:g} is near {limit:g}")


def _check_apart(first: float, second: float) -> None:
    if first < _APART * second:
        raise Unclear(f"{first:g} and {second:g} are alike")


def _check_cores(asked: Demand, bottleneck: float) -> None:
    if asked.on_cores(_CORES) > _CORES_APART * bottleneck:
        raise Unclear("the processors are nearly the bottleneck")
