"""The function, and the line in it, on which most stacks agree; votes are weighted by time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from ..model import Frame, Stack
from .places import Place, Seen, place_of

Path = tuple[Seen, Stack]
"""A stack, and its frames that may be named: at least one, outermost first."""


class Vote(NamedTuple):
    """The function with most votes, at its line with most votes."""

    frame: Frame
    agreeing: list[Seen]
    sure: bool
    """Whether there is a majority for the line, not only for the function."""


def majority(paths: Sequence[Path], total: float | None = None) -> Vote | None:
    """Return the innermost function with more than half of ``total``, by default all weight.

    If no innermost function has a majority (two helpers that share the cost), it is their common
    caller, which is the same in every run; its line is sure only if most calls come from it.
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


def longest(paths: Sequence[Path], queues: Sequence[Path] = (), alone: float = 0.0) -> Vote | None:
    """Return the function with the longest queue, by the weight of innermost frames.

    ``queues`` are the ``paths`` that are seen to queue, for a lock for example. They take
    precedence from half of the longest one on: what follows a queue may take as long. So they do if
    the longest is no longer than they are beyond ``alone``, which is what the copies wait for if
    none waits for another: 3 of 8 copies hold a connection and wait for the response, when most of
    the others have already had one.
    """
    lengths, in_queues = _lengths(paths), _lengths(queues)
    if not lengths:
        return None
    place = max(lengths, key=lambda p: lengths[p])
    queue = max(in_queues, key=lambda p: in_queues[p], default=place)
    in_queue = in_queues.get(queue, 0.0)
    if max(2 * in_queue, in_queue + alone) >= lengths[place]:
        place = queue
    return _vote([(seen, path[-1:]) for seen, path in paths], place)


def length(paths: Sequence[Path]) -> float:
    """Return the length of the longest queue, integrated over time."""
    return max(_lengths(paths).values(), default=0.0)


def _lengths(paths: Sequence[Path]) -> dict[Place, float]:
    lengths: defaultdict[Place, float] = defaultdict(float)
    for seen, path in paths:
        lengths[place_of(path[-1])] += seen.weight
    return dict(lengths)


def _vote(paths: Sequence[Path], place: Place) -> Vote:
    """Return the vote for ``place``, a function in some of ``paths``, at its heaviest line."""
    there: list[tuple[Seen, Frame]] = []
    weights: defaultdict[int, float] = defaultdict(float)
    for seen, path in paths:
        if frame := next((f for f in reversed(path) if place_of(f) == place), None):
            there.append((seen, frame))
            weights[frame.line] += seen.weight
    line = max(weights, key=lambda n: weights[n])
    frame = next(frame for _, frame in there if frame.line == line)
    return Vote(frame, [seen for seen, _ in there], sure=True)
