"""From a seed to a composition and its label: the same on any machine."""

from __future__ import annotations

import random
from typing import NamedTuple

from .calls import BLOCKING, HARMLESS
from .primitives import CAUSES, PRIMITIVES, Cause, Primitive
from .truth import PLACES, Composition, Label, Place, Step, Unclear, demand, label

_LONGEST = 110.0
_SHORTEST = 8.0
_MOST_SERIAL = 50.0
_TRIES = 20_000


class Case(NamedTuple):
    """A composition and the truth about it."""

    seed: int
    composition: Composition
    label: Label

    @property
    def name(self) -> str:
        """The name by which tests, folders and marks of culprits tell it."""
        return f"seed-{self.seed}"


def case(seed: int) -> Case:
    """Return the case of ``seed``."""
    rng = random.Random(seed)
    cause = rng.choice(CAUSES) if rng.random() < 0.5 else None
    kinds = [k for k, p in PRIMITIVES.items() if (p.cause == cause if cause else p.innocence[1])]
    kind = rng.choice(kinds)
    for _ in range(_TRIES):
        composition = _draw(rng, kind, cause)
        asked = demand(composition)
        if not _SHORTEST <= asked.alone <= _LONGEST or asked.serial(50, 2)[1] > _MOST_SERIAL:
            continue
        try:
            found = label(composition)
        except Unclear:
            continue
        if found.cause == cause and (
            found.culprit is None or composition.steps[found.culprit].kind == kind
        ):
            return Case(seed, composition, found)
    raise RuntimeError(f"no composition with {kind} and {cause} in {_TRIES} draws")


def _draw(rng: random.Random, kind: str, cause: Cause | None) -> Composition:
    kinds = [kind, *rng.choices(list(PRIMITIVES), k=rng.choice((0, 1, 1, 2, 2)))]
    rng.shuffle(kinds)
    in_def = any(PRIMITIVES[k].in_def for k in kinds) and rng.random() < 0.7
    streams = rng.random() < 0.15
    places = [_place(rng, PRIMITIVES[k], in_def, streams) for k in kinds]
    main = kinds.index(kind)
    steps = [
        _step(rng, k, place, guilty=cause is not None and number == main)
        for number, (k, place) in enumerate(zip(kinds, places, strict=True))
    ]
    order = list(PLACES)
    return Composition(
        tuple(sorted(steps, key=lambda s: (s.primitive.after, order.index(s.place)))),
        mounted=rng.random() < 0.2,
        method=rng.choice(("spawn", "forkserver")),
    )


def _place(rng: random.Random, primitive: Primitive, in_def: bool, streams: bool) -> Place:
    if primitive.after:
        return "handler"
    if primitive.in_def:
        return rng.choice(("handler", "handler", "dependency")) if in_def else "dependency"
    places: list[Place] = ["dependency", "middleware", "base-middleware"]
    if not in_def:
        places += ["handler"] * 4
    if streams:
        places += ["stream"] * 3
    return rng.choice(places)


def _step(rng: random.Random, kind: str, place: Place, *, guilty: bool) -> Step:
    primitive = PRIMITIVES[kind]
    least, most = primitive.guilt if guilty else primitive.innocence
    ms = float(rng.randint(round(least), round(most)))
    if not primitive.whole:
        ms = round(rng.uniform(least, most), 1)
    widths = primitive.narrow if guilty else primitive.wide
    return Step(
        kind,
        ms,
        place,
        depth=0 if primitive.after else rng.choice((0, 0, 1, 2, 3)),
        width=rng.choice(widths) if widths else 0,
        slices=rng.choice(primitive.slices) if primitive.slices else 1,
    )


def with_calls(case: Case) -> Case:
    """Return the case with a step of HARMLESS and, in three of four, one of BLOCKING."""
    rng = random.Random(case.seed)
    kinds = [rng.choice(list(HARMLESS))]
    if rng.random() < 0.75:
        kinds.append(rng.choice(list(BLOCKING)))
    added = [
        Step(kind, 0.0, _place_of_call(rng, case), rng.choice((0, 0, 1, 2, 3))) for kind in kinds
    ]
    steps = [*case.composition.steps, *added]
    order = list(PLACES)
    steps.sort(key=lambda step: (step.primitive.after, order.index(step.place)))
    culprit = case.label.culprit
    if culprit is not None:
        culprit = steps.index(case.composition.steps[culprit])
    composition = case.composition._replace(steps=tuple(steps))
    return case._replace(composition=composition, label=case.label._replace(culprit=culprit))


def _place_of_call(rng: random.Random, case: Case) -> Place:
    places: list[Place] = ["dependency", "middleware", "base-middleware"]
    at_handler = [step for step in case.composition.steps if step.place == "handler"]
    if not any(step.primitive.in_def for step in at_handler):
        places += ["handler"] * 3
    if any(step.place == "stream" for step in case.composition.steps):
        places += ["stream"] * 3
    return rng.choice(places)
