"""Attribution: from the evidence of a fail to the one place that causes it.

A stack counts for a cause only if its thread was in the state that makes the cause (running for
CPU, waiting for a queue), and is weighted by the time it stands for. The culprit is a function that
has the majority of that time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from statistics import median

from ..model import Culprit, Evidence, Judgement, Run, Sample, Slices
from .culprits import Routes, culprit_of, definition, libraries, users
from .places import Place, Reader, Seen, definition_of, is_begun, place_of
from .queues import was_held
from .tolerances import CALLBACKS_ALIKE, UNSEEN
from .user_code import calls_handlers
from .votes import majority
from .waiting_lines import line_of_pool, line_of_queue

_WAITS = ("blocked", "sleep", "lock")


def target(evidence: Evidence) -> str | None:
    """Return the most frequent request, as "GET /report", or None if there was none."""
    runs = evidence.bursts or evidence.singles
    asked = Counter(f"{e.method} {e.path}" for run in runs for e in run.exchanges)
    if not asked:
        return None
    most = asked.most_common(1)[0][0]
    return most if len(asked) == 1 else f"{most} (and {len(asked) - 1} more)"


def find(
    evidence: Evidence,
    judgement: Judgement,
    body: Place | None = None,
    packages: Collection[str] = (),
) -> Culprit | None:
    """Return the culprit of a fail, or None if no stack shows the app or the test.

    ``body`` is the test function; it waits for the app, so its own line is named only for its own
    work. ``packages`` are the top-level packages of the app.
    """
    if judgement.verdict != "fail" or judgement.cause is None:
        return None
    reader = Reader(packages, body)
    route = Routes(evidence, reader)
    bursts = evidence.bursts or evidence.singles
    alone = median([run.budget.idle for run in evidence.singles] or [0.0])
    if "timeout" in judgement.reasons:
        late = evidence.late
        assert late is not None
        if late.stuck is not None and was_held(late):
            return _voted(reader.read_all([Sample(late.stuck, "unknown", 1.0)]), route)
        return line_of_queue([late], reader, route, alone)
    if judgement.cause == "thread-pool":
        return line_of_pool(bursts, reader, route, alone)
    if judgement.cause == "serialised-wait":
        return line_of_queue(bursts, reader, route, alone)
    runs = evidence.runs
    seen = {
        "blocking-call": _blocked_on_loop,
        "cpu-on-loop": _computing_on_loop,
        "gil-contention": _computing_in_threads,
    }[judgement.cause](runs, reader)
    return _voted(seen, route)


# Stacks that count for a cause


def _blocked_on_loop(runs: Sequence[Run], reader: Reader) -> list[Seen]:
    """Return the loop's stacks that wait off the CPU in callbacks confirmed as blocked."""
    in_steps = [s for run in runs for step in run.steps if step.witnessed for s in step.samples]
    waits = [sample for sample in in_steps if sample.state in _WAITS]
    # Without thread states, the callback as a whole is the evidence. Callbacks with short waits are
    # not kept, but their samples are.
    waits = waits or [sample for sample in in_steps if sample.state == "unknown"]
    every = (sample for run in runs for sample in run.samples)
    return reader.read_all(waits or [s for s in every if s.state in _WAITS])


def _computing_on_loop(runs: Sequence[Run], reader: Reader) -> list[Seen]:
    """Return the loop's stacks that compute, including slices too short to be sampled."""
    seen: list[Seen] = []
    for run in runs:
        computing = [step for step in run.steps if step.cpu > step.blocked]
        samples = [s for s in run.samples if s.state in ("running", "gil")]
        samples += [s for step in computing for s in step.samples if s.state == "unknown"]
        # A callback's samples are the same objects as the run's.
        brief_enough = max(UNSEEN, CALLBACKS_ALIKE * _size_of(run.slices))
        long = {id(s) for step in computing if step.cpu > brief_enough for s in step.samples}
        brief = reader.read_all(sample for sample in samples if id(sample) not in long)
        slices = reader.read_all(Sample(one.stack, "running", one.cpu) for one in run.slices)
        seen += [*reader.read_all(s for s in samples if id(s) in long), *_sliced(slices, brief)]
    return _returned([_begun(one) for one in seen if not one.is_clients])


def _size_of(slices: Sequence[Slices]) -> float:
    """Return the mean CPU seconds of a slice; each second counts alike, and not each slice."""
    whole = sum(one.cpu for one in slices)
    return sum(one.cpu * one.cpu / one.times for one in slices) / whole if whole > 0 else 0.0


def _sliced(slices: Sequence[Seen], brief: Sequence[Seen]) -> list[Seen]:
    """Merge ``slices`` into ``brief``, the samples of callbacks that are as short.

    A slice shows only where its task yielded to the loop. Samples within the same function show
    what it did before. If that is a framework's function, which sends what a generator of the
    user's yields, samples within it show the generator.

    If its task yielded only because it waits, for a thread for example, all that it did since the
    request came is in the slice: samples show it that are within the innermost function of its
    stack that calls handlers, and without any it is the function's, at no line.
    """
    callers = {_caller(sample) for sample in brief if sample.users} - {None}
    places = {place_of(frame) for sample in brief for frame in sample.frames}
    within = {id(one): _innermost(one, places) for one in slices if one.only_waits}

    def before(one: Seen, sample: Seen) -> bool:
        if id(one) in within:
            return within[id(one)] in [place_of(frame) for frame in sample.frames]
        if one.users:
            return place_of(one.users[-1]) in map(place_of, sample.users)
        inside = callers.intersection(map(place_of, one.frames))
        if sample.users:
            return _caller(sample) in inside
        return not inside.isdisjoint(map(place_of, sample.frames))

    merged = _merged(slices, brief, before)
    return [_at_no_line(one) if id(one) in within else one for one in merged]


def _innermost(seen: Seen, places: Collection[Place]) -> Place | None:
    """Return the innermost function of the user's, or that calls handlers, which is in ``places``.

    None if there is none.
    """
    mine = zip(reversed(seen.frames), reversed(seen.owners), strict=True)
    named = (frame for frame, owner in mine if owner != "library" or calls_handlers(frame))
    return next((place for place in map(place_of, named) if place in places), None)


def _at_no_line(seen: Seen) -> Seen:
    """Return ``seen`` with its innermost function of the user's at its definition, calling none."""
    last = len(seen.frames) - seen.frames[::-1].index(seen.users[-1])
    frames = (*seen.frames[: last - 1], definition_of(seen.users[-1]))
    return replace(seen, frames=frames, owners=seen.owners[:last])


def _begun(seen: Seen) -> Seen:
    """Return ``seen`` without the functions of libraries that have run none of their lines.

    CPython switches threads as a function begins. What code in C computes before it calls one shows
    there: a logger was named for what a raster library does in Cython.
    """
    last = len(seen.frames)
    while last > 1 and seen.owners[last - 1] == "library" and is_begun(seen.frames[last - 1]):
        last -= 1
    return replace(seen, frames=seen.frames[:last], owners=seen.owners[:last])


def _returned(seen: Sequence[Seen]) -> list[Seen]:
    """Merge samples taken as a handler returns into the samples within that handler.

    CPython switches threads only at some instructions. Freeing what a handler has built shows in
    its caller, or in what that calls next: up to 40 % of the time of one that parses JSON.
    """

    def beside(one: Seen, sample: Seen) -> bool:
        return _caller(sample) in [place_of(frame) for frame in one.frames[-2:]]

    after = [one for one in seen if not one.users]
    return _merged(after, [one for one in seen if one.users], beside)


def _caller(seen: Seen) -> Place | None:
    """Return the framework's function that calls the outermost user code, None if none does."""
    first = seen.frames.index(seen.users[0])
    caller = seen.frames[first - 1] if first else None
    return place_of(caller) if caller is not None and calls_handlers(caller) else None


def _merged(
    ends: Sequence[Seen], samples: Sequence[Seen], belongs: Callable[[Seen, Seen], bool]
) -> list[Seen]:
    """Add the weight of each of ``ends`` to the ``samples`` that it belongs to, if there are any.

    They share it in proportion to their weights.
    """
    kept, more = [], [0.0] * len(samples)
    for one in ends:
        theirs = [n for n, sample in enumerate(samples) if belongs(one, sample)]
        weight = sum(samples[n].weight for n in theirs)
        if not weight:
            kept.append(one)
        for n in theirs if weight else ():
            more[n] += one.weight * samples[n].weight / weight
    return kept + [replace(s, weight=s.weight + w) for s, w in zip(samples, more, strict=True)]


def _computing_in_threads(runs: Sequence[Run], reader: Reader) -> list[Seen]:
    """Return the stacks of other threads that run or wait for the GIL."""
    every = [s for run in runs for s in run.thread_samples]
    known = [s for s in every if s.state in ("running", "gil")]
    # Without thread states, take all sampled threads.
    samples = known or [s for s in every if s.state == "unknown"]
    seen = _returned(list(map(_begun, reader.read_all(samples, on_loop=False))))
    return [one for one in seen if one.side != "test" and (one.users or one.library)]


def _voted(seen: Sequence[Seen], route: Routes) -> Culprit | None:
    """Return the place with the majority of ``seen`` by weight, else a function, else the handler.

    The function is the deepest that most of them have in common. An app may wrap all handlers
    alike, and then the handler tells nothing.
    """
    mine, total = users(seen), sum(one.weight for one in seen)
    if mine and 2 * sum(one.weight for one, _ in mine) >= total:
        vote = majority(mine)
        if vote is None:
            return definition(route.handler(), seen)
        return culprit_of(vote, seen) if vote.sure else definition(definition_of(vote.frame), seen)
    vote = majority(libraries(seen), total)
    if vote is None:
        return definition(route.handler(), seen)
    return culprit_of(vote, seen, library=True, route=route.handler())
