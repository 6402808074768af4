"""From a vote to the culprit, and the handler that is given where no line has a majority."""

from __future__ import annotations

from collections import defaultdict
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
        """Return the definition of the handler that most stacks show, None without a majority.

        Where the framework runs in threads itself, it calls the handler there (Django, and Flask in
        an app of FastAPI). A `def` handler of an ASGI framework is what the threads begin with, if
        most requests wait for them: what else is seen on the loop then is no handler, but what the
        framework calls beside it, such as middleware.
        """
        every = (sample for run in self._runs for sample in run.workers)
        working = working_in_pools(every, self._reader)
        handler = _most((seen.handler, seen.weight) for seen, _ in working)
        if handler is None:
            read = [(self._reader.read(stack, 0.0), count) for stack, count in self._stacks()]
            tasks = [(seen, count) for seen, count in read if seen is not None]
            shown = [(seen.handler, count) for seen, count in tasks if seen.handler is not None]
            in_threads = sum(count for seen, count in tasks if seen.handler_is_in_a_thread)
            if in_threads >= sum(count for _, count in shown):
                vote = majority([(seen, path[:1]) for seen, path in working])
                handler = None if vote is None else vote.frame
            else:
                handler = _most(shown)
        handler = handler or self._by_router()
        return None if handler is None else definition_of(handler)

    def _by_router(self) -> Frame | None:
        """Return what the router named: a quick handler is in no stack while its answer is made."""
        exchanges = [exchange for run in self._runs for exchange in run.exchanges]
        return _most((exchange.handler, 1) for exchange in exchanges)

    def _stacks(self) -> Iterable[tuple[tuple[Frame, ...], int]]:
        for run in self._runs:
            yield from ((waiters.stack, waiters.count) for waiters in run.waiters)
            yield from ((one.stack, 1) for one in run.slices)
            yield from ((sample.stack, 1) for sample in run.samples)


def _most(found: Iterable[tuple[Frame | None, float]]) -> Frame | None:
    """Return the function with more than half of all weights, None if no function has."""
    frames: dict[Place, Frame] = {}
    weights: defaultdict[Place, float] = defaultdict(float)
    total = 0.0
    for frame, weight in found:
        total += weight
        if frame is not None:
            weights[place_of(frame)] += weight
            frames.setdefault(place_of(frame), frame)
    place = max(weights, key=lambda p: weights[p], default=None)
    return None if place is None or 2 * weights[place] <= total else frames[place]


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
