"""From a seed to a composition and its label: the same on any machine."""

from __future__ import annotations

import random
from typing import NamedTuple

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
