"""On which function, and on which line of it, stacks agree, each by the time it stands for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from ..model import Frame, Stack
from .places import Place, Seen, place_of

Path = tuple[Seen, Stack]
"""What a stack says, and which of its frames may be named, outermost first: one at least."""


class Vote(NamedTuple):
    """A function, at the line of it that has most of the weight, and what speaks for it."""

    frame: Frame
    agreeing: list[Seen]
    sure: bool
    """Whether the line is agreed on, and not only the function."""


def majority(paths: Sequence[Path], total: float | None = None) -> Vote | None:
    """Return the innermost function that more than half of ``total``, the weight, agrees on.

    Two helpers of which neither has so much are called by one function that has: there it is sure
    only of a line that most of the calls come from. That function is the same in every run.
    """
    total = sum(seen.weight for seen, _ in paths) if total is None else total
    innermost = _lengths(paths)
    place = max(innermost, key=lambda p: innermost[p], default=None)
    if place is None:
        return None
    if 2 * innermost[place] > total:
        return _vote([(seen, path[-1:]) for seen, path in paths], place)
    through: defaultdict[Place, float] = defaultdict(float)
    depths: defaultdict[Place, float] = defaultdict(float)
    for seen, path in paths:
        for called, depth in {place_of(frame): n for n, frame in enumerate(path)}.items():
            through[called] += seen.weight
            depths[called] += seen.weight * depth
    common = [called for called, weight in through.items() if 2 * weight > total]
    if not common:
        return None
    vote = _vote(paths, max(common, key=lambda p: depths[p] / through[p]))
    at_line = sum(seen.weight for seen in vote.agreeing if vote.frame in seen.frames)
    return vote._replace(sure=2 * at_line > through[place_of(vote.frame)])


def longest(paths: Sequence[Path], locks: Sequence[Path] = ()) -> Vote | None:
    """Return the function whose innermost frames have most of the weight: the longest queue.

    ``locks`` are those of ``paths`` that wait for a lock. A task that waits for another of its own
    waits as long as that one does: where that one waits for a lock, the lock is meant.
    """
    lengths, at_locks = _lengths(paths), _lengths(locks)
    if not lengths:
        return None
    place = max(lengths, key=lambda p: lengths[p])
    lock = max(at_locks, key=lambda p: at_locks[p], default=place)
    if 2 * at_locks.get(lock, 0.0) >= lengths[place]:
        place = lock
    return _vote([(seen, path[-1:]) for seen, path in paths], place)


def length(paths: Sequence[Path]) -> float:
    """Return how long the longest queue is, as its length integrated over time."""
    return max(_lengths(paths).values(), default=0.0)


def _lengths(paths: Sequence[Path]) -> dict[Place, float]:
    lengths: defaultdict[Place, float] = defaultdict(float)
    for seen, path in paths:
        lengths[place_of(path[-1])] += seen.weight
    return dict(lengths)


def _vote(paths: Sequence[Path], place: Place) -> Vote:
    """Return ``place``, which is in some of ``paths``, at the line that has most of the weight."""
    there: list[tuple[Seen, Frame]] = []
    weights: defaultdict[int, float] = defaultdict(float)
    for seen, path in paths:
        if frame := next((f for f in reversed(path) if place_of(f) == place), None):
            there.append((seen, frame))
            weights[frame.line] += seen.weight
    line = max(weights, key=lambda n: weights[n])
    frame = next(frame for _, frame in there if frame.line == line)
    return Vote(frame, [seen for seen, _ in there], sure=True)
