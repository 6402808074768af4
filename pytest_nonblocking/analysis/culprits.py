"""From a vote to the culprit, and the handler that is given where no line has a majority."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal

from ..model import Culprit, Evidence, Frame, Sample
from .places import Place, Reader, Seen, calls_below, code_at, definition_of, place_of
from .queues import works_in_a_pool
from .votes import Path, Vote, majority

Counted = Literal["samples", "copies", "threads"]


class Routes:
    """Finds the handler that serves the requests, from the stacks of a scenario."""

    def __init__(self, evidence: Evidence, reader: Reader) -> None:
        self._runs = evidence.runs
        self._reader = reader

    def handler(self) -> Frame | None:
        """Return the definition of the handler that most stacks show, None without a majority."""
        frames: dict[Place, Frame] = {}
        times: Counter[Place] = Counter()
        for stack, count in self._stacks():
            seen = self._reader.read(stack, 0.0)
            frame = None if seen is None else seen.handler
            if frame is not None:
                frames.setdefault(place_of(frame), frame)
                times[place_of(frame)] += count
        if not times:
            return self._in_threads()
        place, most = times.most_common(1)[0]
        return definition_of(frames[place]) if 2 * most > times.total() else None

    def _stacks(self) -> Iterable[tuple[tuple[Frame, ...], int]]:
        for run in self._runs:
            yield from ((waiters.stack, waiters.count) for waiters in run.waiters)
            yield from ((one.stack, 1) for one in run.slices)
            yield from ((sample.stack, 1) for sample in run.samples)

    def _in_threads(self) -> Frame | None:
        """Return the outermost function of most worker threads, which is the `def` handler."""
        every = (sample for run in self._runs for sample in run.workers)
        working = working_in_pools(every, self._reader)
        vote = majority([(seen, path[:1]) for seen, path in working])
        return None if vote is None else definition_of(vote.frame)


# The culprit


def users(seen: Iterable[Seen]) -> list[Path]:
    """Return the stacks with code of the user, with its frames."""
    return [(one, one.users) for one in seen if one.users]


def libraries(seen: Iterable[Seen]) -> list[Path]:
    """Return the stacks without code of the user, with the frames of libraries."""
    return [(one, one.library) for one in seen if not one.users and one.library]


def culprit_of(
    vote: Vote,
    of: Sequence[Seen],
    counted: Counted = "samples",
    *,
    copies: int | None = None,
    library: bool = False,
    route: Frame | None = None,
) -> Culprit:
    """Return the culprit of a ``vote`` of the stacks ``of``, which are of what ``counted`` says.

    ``copies`` is how many there could have been, by default as many as were seen. If it is a
    ``library``'s line, ``route`` is the handler that leads to it.
    """
    frame = vote.frame
    weights: defaultdict[tuple[str, ...], float] = defaultdict(float)
    for seen in vote.agreeing:
        if frame in seen.frames:
            weights[_calls(seen, frame, library)] += seen.weight
    total = sum(seen.times for seen in of) if copies is None else copies
    agreeing = sum(seen.times for seen in vote.agreeing)
    if copies is None and (weight := sum(seen.weight for seen in of)):
        # By time: a slice of 0.1 ms must not count like a sample of 2.5 ms.
        agreeing = round(total * sum(seen.weight for seen in vote.agreeing) / weight)
    return Culprit(
        file=frame.file,
        line=frame.line,
        function=frame.function,
        code=code_at(frame),
        calls=max(weights, key=lambda calls: weights[calls], default=()),
        samples=min(total, agreeing),
        of=total,
        counted=counted,
        library=library,
        route=route,
    )


def _calls(seen: Seen, frame: Frame, library: bool) -> tuple[str, ...]:
    """Return the calls below a user's ``frame``, or those that lead to a library's."""
    if library:
        return calls_below(seen.library[: seen.library.index(frame) + 1])
    innermost = len(seen.frames) - 1 - seen.frames[::-1].index(frame)
    return calls_below(seen.frames[innermost + 1 :])


def definition(function: Frame | None, seen: Sequence[Seen]) -> Culprit | None:
    """Return the culprit for a function in which no line has a majority."""
    if function is None:
        return None
    place = place_of(function)
    inside = (one.times for one in seen if any(place_of(frame) == place for frame in one.frames))
    return Culprit(
        file=function.file,
        line=function.line,
        function=function.function,
        code=code_at(function),
        calls=(),
        samples=sum(inside),
        of=sum(one.times for one in seen),
        route=function,
    )


def working_in_pools(samples: Iterable[Sample], reader: Reader) -> list[Path]:
    """Return the samples of pools' threads at work; the app's other threads are no workers."""
    return users(reader.read_all(filter(works_in_a_pool, samples), on_loop=False))
