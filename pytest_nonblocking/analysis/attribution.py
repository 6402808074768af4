"""Attribution: from the evidence of a fail to the one place that causes it.

A stack counts for a cause only if its thread was in the state that makes the cause (running for
CPU, waiting for a queue), and is weighted by the time it stands for. The culprit is a function that
has the majority of that time.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import Literal

from ..model import Culprit, Evidence, Frame, Judgement, Run, Sample, Slices, Waiters
from .places import Place, Reader, Seen, calls_below, code_at, definition_of, place_of
from .queues import (
    QUEUES,
    is_for_a_thread,
    waiting_frame,
    waits_for_lock,
    waits_in_a_queue,
    was_held,
    workers_wait_for_locks,
    works_in_a_pool,
)
from .tolerances import BESIDE, CALLBACKS_ALIKE, LOCK_IS_BOTTLENECK, UNSEEN
from .user_code import calls_handlers
from .votes import Path, Vote, length, longest, majority

Counted = Literal["samples", "copies", "threads"]
_SLEEPS = frozenset(("sleep", "__sleep0", "sleep_until", "sleep_forever"))
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
    route = _Routes(evidence, reader)
    bursts = evidence.bursts or evidence.singles
    alone = statistics.median([run.budget.idle for run in evidence.singles] or [0.0])
    if "timeout" in judgement.reasons:
        late = evidence.late
        assert late is not None
        if late.stuck is not None and was_held(late):
            return _voted(reader.read_all([Sample(late.stuck, "unknown", 1.0)]), route)
        return _queue([late], reader, route, alone)
    if judgement.cause == "thread-pool":
        return _pool(bursts, reader, route, alone)
    if judgement.cause == "serialised-wait":
        return _queue(bursts, reader, route, alone)
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
    return _returned([one for one in seen if not one.is_clients])


def _size_of(slices: Sequence[Slices]) -> float:
    """Return the mean CPU seconds of a slice; each second counts alike, and not each slice."""
    whole = sum(one.cpu for one in slices)
    return sum(one.cpu * one.cpu / one.times for one in slices) / whole if whole > 0 else 0.0


def _sliced(slices: Sequence[Seen], brief: Sequence[Seen]) -> list[Seen]:
    """Merge ``slices`` into ``brief``, the samples of callbacks that are as short.

    A slice shows only where its task yielded to the loop. Samples within the same function show
    what it did before. If that is a framework's function, which sends what a generator of the
    user's yields, samples within it show the generator.
    """
    callers = {_caller(sample) for sample in brief if sample.users} - {None}

    def before(one: Seen, sample: Seen) -> bool:
        if one.users:
            return place_of(one.users[-1]) in map(place_of, sample.users)
        inside = callers.intersection(map(place_of, one.frames))
        if sample.users:
            return _caller(sample) in inside
        return not inside.isdisjoint(map(place_of, sample.frames))

    return _merged(slices, brief, before)


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
    seen = reader.read_all(samples, on_loop=False)
    return [one for one in seen if one.side != "test" and (one.users or one.library)]


def _voted(seen: Sequence[Seen], route: _Routes) -> Culprit | None:
    """Return the place with the majority of ``seen`` by weight, else the handler."""
    users, total = _users(seen), sum(one.weight for one in seen)
    if users and 2 * sum(one.weight for one, _ in users) >= total:
        vote = majority(users)
        if vote is not None and vote.sure:
            return _culprit(vote, seen)
        function = None if vote is None else definition_of(vote.frame)
        return _definition(route.handler() or function, seen)
    vote = majority(_libraries(seen), total)
    if vote is None:
        return _definition(route.handler(), seen)
    return _culprit(vote, seen, library=True, route=route.handler())


# Queues


def _queue(runs: Sequence[Run], reader: Reader, route: _Routes, alone: float) -> Culprit | None:
    """Return the line at which most tasks wait, or where their worker threads wait for a lock."""
    tasks = _waiting_tasks(runs, reader)
    workers = [sample for run in runs for sample in run.workers]
    working = _working_in_pools(workers, reader)
    threads = _working_in_pools(filter(waits_for_lock, workers), reader)
    # Beside a queue in the user's code, a task that waits for a thread is being served.
    others = [one for one in tasks if not any(map(is_for_a_thread, one.frames))]
    # Tasks wait for threads, which wait for a lock: the lock is the end of the chain.
    is_chain = workers_wait_for_locks(runs) or _is_longest(threads, working, _users(others))
    is_chain = is_chain and length(threads) >= length(_at_locks(_users(tasks)))
    if is_chain and (vote := longest(threads)):
        return _culprit(vote, [seen for seen, _ in threads], "threads")
    # `def` handlers: a queue may be too short for most threads to wait in it.
    is_def = len(others) < len(tasks)
    is_def = is_def and not any(one.users for one in tasks if one.side != "test")
    if is_def and (vote := longest(working, threads)):
        return _culprit(vote, [seen for seen, _ in working], "threads")
    is_queue = any(one.users and waits_in_a_queue(one.frames) for one in others)
    return _of_tasks(others if is_queue else tasks, runs, route, alone)


def _pool(runs: Sequence[Run], reader: Reader, route: _Routes, alone: float) -> Culprit | None:
    """Return where tasks wait for a thread, or what the threads do for a `def` handler."""
    waiting = _of_tasks(_waiting_tasks(runs, reader), runs, route, alone)
    # A framework's own line, or none at all, is no culprit.
    if waiting is not None and not waiting.library and not waiting.is_route:
        return waiting
    threads = _working_in_pools((s for run in runs for s in run.workers), reader)
    vote = longest(threads)
    return waiting if vote is None else _culprit(vote, [seen for seen, _ in threads], "threads")


def _of_tasks(
    tasks: Sequence[Seen], runs: Sequence[Run], route: _Routes, alone: float
) -> Culprit | None:
    """Return the place of the longest queue of tasks; a request alone waits for ``alone`` seconds.

    Lengths are in seconds only where tasks were seen waiting after the first pass.
    """
    copies = sum(run.concurrency for run in runs if run.waiters)
    looked = [run for run in runs if any(one.waited for one in run.waiters)]
    all_alone = alone * sum(run.concurrency for run in looked)
    app = [one for one in tasks if one.side != "test"]
    mine, others = _users(app), _libraries(app)
    if mine and BESIDE * length(mine) >= length(others):
        at_locks = _at_locks(mine)
        vote = longest(mine, at_locks, all_alone) if at_locks else longest(mine, _fullest(mine))
    elif not any(one.side == "app" for one in app) and (tests := _users(tasks)):
        # Without requests, the test itself waits.
        vote = longest(tests, _at_locks(tests))
    elif vote := longest(others):
        return _culprit(vote, tasks, "copies", copies=copies, library=True, route=route.handler())
    if vote is None:
        return _definition(route.handler(), tasks)
    return _culprit(vote, tasks, "copies", copies=copies)


def _waiting_tasks(runs: Sequence[Run], reader: Reader) -> list[Seen]:
    """Return the tasks that queue; those that wait for the client only as a fallback.

    A request may sleep until its turn comes (a token bucket). So tasks that sleep count, unless a
    queue is seen, and except for those that no request waits for.
    """
    waiters = [w for run in runs for w in run.waiters]
    first_pass = not any(w.waited for w in waiters)  # no look after the first pass
    read = (reader.read(w.stack, _length(w, first_pass), w.most or w.count) for w in waiters)
    tasks = [one for one in read if one is not None]
    of_app = [one for one in tasks if not one.for_client]
    turns = [one for one in of_app if not _sleeps(one)]
    if not any(one.users and _is_queue(one) for one in turns):
        turns = [one for one in of_app if not _sleeps(one) or _is_requests(one)]
    return turns or of_app or tasks


def _length(waiters: Waiters, first_pass: bool) -> float:
    return float(waiters.count) if first_pass else waiters.waited


def _is_queue(seen: Seen) -> bool:
    return waits_in_a_queue(seen.frames) or any(map(is_for_a_thread, seen.frames))


def _is_requests(seen: Seen) -> bool:
    """Return whether a request waits for this task, and not only the app in the background.

    Middleware of Starlette runs the rest of the app in a task that nothing awaits.
    """
    return seen.side == "app" or seen.handler is not None


def _sleeps(seen: Seen) -> bool:
    return waiting_frame(seen.frames).leaf in _SLEEPS


def _at_locks(paths: Sequence[Path]) -> list[Path]:
    """Return the ``paths`` that wait for a lock or in a queue, and not for a thread."""
    return [
        (seen, path)
        for seen, path in paths
        if waiting_frame(seen.frames).module.startswith(QUEUES)
        and not any(map(is_for_a_thread, seen.frames))
    ]


def _fullest(paths: Sequence[Path]) -> list[Path]:
    """Return the ``paths`` to the line at which most tasks were seen waiting at once.

    A token bucket that its copies sleep before, one each 18 ms, had the same length after the first
    pass as the sleep of 45 ms behind it: 7 of 8 copies, and never more than 3.
    """
    most = max(seen.times for seen, _ in paths)
    return [(seen, path) for seen, path in paths if seen.times == most]


def _is_longest(locked: Sequence[Path], working: Sequence[Path], others: Sequence[Path]) -> bool:
    """Return whether the longest queue is that of threads for a lock, and not one of ``others``.

    It limits the calls that wait for it. Few of all threads may: those of another pool are busy.
    """
    vote = longest([*others, *locked], locked)
    calls = {place_of(path[0]) for seen, path in locked if vote and seen in vote.agreeing}
    waiting, whole = (
        sum(seen.weight for seen, path in paths if place_of(path[0]) in calls)
        for paths in (locked, working)
    )
    return waiting > LOCK_IS_BOTTLENECK * whole


def _working_in_pools(samples: Iterable[Sample], reader: Reader) -> list[Path]:
    """Return the samples of pools' threads at work; the app's other threads are no workers."""
    return _users(reader.read_all(filter(works_in_a_pool, samples), on_loop=False))


# The handler


class _Routes:
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
        working = _working_in_pools(every, self._reader)
        vote = majority([(seen, path[:1]) for seen, path in working])
        return None if vote is None else definition_of(vote.frame)


# The culprit


def _users(seen: Iterable[Seen]) -> list[Path]:
    return [(one, one.users) for one in seen if one.users]


def _libraries(seen: Iterable[Seen]) -> list[Path]:
    return [(one, one.library) for one in seen if not one.users and one.library]


def _culprit(
    vote: Vote,
    of: Sequence[Seen],
    counted: Counted = "samples",
    *,
    copies: int | None = None,
    library: bool = False,
    route: Frame | None = None,
) -> Culprit:
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


def _definition(function: Frame | None, seen: Sequence[Seen]) -> Culprit | None:
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
