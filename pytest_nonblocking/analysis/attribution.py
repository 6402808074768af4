"""Which line of the user's code the cost goes to: from sampled stacks to one culprit."""

from __future__ import annotations

import linecache
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..results import Cause, Culprit, Evidence, Frame, Judgement, Run, Sample, Stack
from ..sentinel import is_own_code, is_user_code

Place = tuple[str, str]
"""A file and the name of a function in it."""

# Frames below which another task of the same request does the waiting.
_PASS_ON = ("starlette", "fastapi", "anyio.streams")
_LOCKS = ("asyncio.locks", "asyncio.queues", "anyio._backends", "anyio._core._sync", "trio._sync")
# A client passes a request on to the app, or really waits for a server.
_TRANSPORTS = ("pytest_nonblocking", "httpx._transports.asgi", "httpx2._transports.asgi")


class _Seen(NamedTuple):
    """A line of the user's, the stack in which it was seen, and how often."""

    frame: Frame
    stack: Stack
    times: int


def target(evidence: Evidence) -> str | None:
    """Return what was requested most, as "GET /report", or None where no request was seen."""
    runs = evidence.bursts or evidence.solos
    asked = Counter(f"{e.method} {e.path}" for run in runs for e in run.exchanges)
    if not asked:
        return None
    most = asked.most_common(1)[0][0]
    return most if len(asked) == 1 else f"{most} (and {len(asked) - 1} more)"


def find(evidence: Evidence, judgement: Judgement, body: Place | None = None) -> Culprit | None:
    """Return the culprit of a fail, or None where the samples name none.

    ``body`` is the test function: what it waits for is what the app does, so its own line is
    named only for what it does itself.
    """
    if judgement.word != "fail" or judgement.cause is None:
        return None
    bursts = evidence.bursts or evidence.solos
    if "timeout" in judgement.reasons:
        late = [run for run in (*evidence.solos, *evidence.bursts) if run.timed_out]
        if late[0].stuck is not None:
            return _most_common([[_user_line(late[0].stuck)]])
        return _waiting(late, body)
    if judgement.cause == "thread-pool":
        # A `def` handler waits in the framework, and only its client in a line of the user's:
        # what the workers do names it.
        in_app = _waiting(bursts, body, of_client=False)
        return in_app or _in_threads([run.workers for run in bursts]) or _waiting(bursts, body)
    if judgement.cause == "serialised-wait":
        return _waiting(bursts, body)
    if judgement.cause == "gil-contention":
        return _in_threads([run.thread_samples for run in bursts])
    runs = (*evidence.solos, *evidence.bursts)
    sampled = _most_common([_stall_lines(run, judgement.cause) for run in runs])
    sampled = sampled or _most_common([_all_lines(run) for run in runs])
    if sampled is not None and sampled.samples >= sampled.of / 2:
        return sampled
    # Work in slices shorter than the watchdog's interval is seen where it gives the loop back.
    yields = _most_common([[_user_line(stack) for stack, _ in run.yields] for run in runs])
    return yields or sampled


def _in_threads(runs: Iterable[Sequence[Sample]]) -> Culprit | None:
    # A thread without a line of the user's waits for work: it is no sample of any. Nor is one of
    # the plugin's own, in which a copy of a test that is a plain function waits for its response.
    lines = [[_user_line(s.stack) for s in samples if not _has_own(s.stack)] for samples in runs]
    return _most_common([[seen for seen in run if seen] for run in lines])


def _stall_lines(run: Run, cause: Cause) -> list[_Seen | None]:
    """Return what was sampled in the long steps of ``run`` that show ``cause``."""
    if cause == "blocking-call":
        steps = [step for step in run.steps if step.witnessed and step.blocked >= step.cpu]
    else:
        steps = [step for step in run.steps if step.cpu > step.blocked]
    return [_user_line(s.stack) for step in steps for s in step.samples if not _is_own(s.stack)]


def _all_lines(run: Run) -> list[_Seen | None]:
    return [_user_line(s.stack) for s in run.samples if not _is_own(s.stack)]


def _is_own(stack: Stack) -> bool:
    return bool(stack) and is_own_code(stack[-1].file)


def _has_own(stack: Stack) -> bool:
    return any(is_own_code(frame.file) for frame in stack)


def _user_line(stack: Stack) -> _Seen | None:
    frame = next((f for f in reversed(stack) if is_user_code(f.file)), None)
    return None if frame is None else _Seen(frame, stack, 1)


def _place(seen: _Seen) -> Place:
    return seen.frame.file, seen.frame.function


def _most_common(runs: Sequence[Sequence[_Seen | None]]) -> Culprit | None:
    """Return the function that most runs agree on, at its most common line."""
    tops: Counter[Place] = Counter()
    total: Counter[Place] = Counter()
    of = 0
    for run in runs:
        in_run: Counter[Place] = Counter()
        for seen in run:
            of += seen.times if seen else 1
            if seen is not None:
                in_run[_place(seen)] += seen.times
        total.update(in_run)
        if in_run:
            tops[in_run.most_common(1)[0][0]] += 1
    if not tops:
        return None
    place, agreeing = max(tops.items(), key=lambda item: (item[1], total[item[0]]))
    if agreeing <= sum(tops.values()) / 2:
        return None
    lines = [seen for run in runs for seen in run if seen is not None and _place(seen) == place]
    return _culprit(lines, total[place], of)


def _culprit(lines: Sequence[_Seen], samples: int, of: int) -> Culprit:
    at: Counter[int] = Counter()
    for seen in lines:
        at[seen.frame.line] += seen.times
    line = at.most_common(1)[0][0]
    calls = Counter(calls_below(seen) for seen in lines if seen.frame.line == line)
    frame = next(seen.frame for seen in lines if seen.frame.line == line)
    return Culprit(
        file=frame.file,
        line=line,
        function=frame.function,
        code=linecache.getline(frame.file, line).strip(),
        calls=calls.most_common(1)[0][0],
        samples=samples,
        of=of,
    )


def _waiting(runs: Sequence[Run], body: Place | None, *, of_client: bool = True) -> Culprit | None:
    """Return the line at which most tasks wait, in the task that waits and not its callers.

    Where only clients wait for the app, it is theirs, unless ``of_client`` says otherwise.
    """
    seen: list[_Seen] = []
    copies = 0
    for run in runs:
        if run.waiters:
            copies += run.concurrency
        for waiters in run.waiters:
            line = _user_line(waiters.stack)
            if line is not None:
                seen.append(line._replace(times=waiters.count))
    others = [s for s in seen if not _is_body(s, body)]
    lines = [s for s in others if not _passes_on(s)]
    if of_client:
        lines = lines or others or seen
    if not lines:
        return None
    place, count = _places(lines).most_common(1)[0]
    # A middleware that waits for a task of its framework's waits as often as the handler that
    # the task runs: the one that waits for a lock or a queue is meant.
    for_locks = _places(line for line in lines if line.stack[-1].module.startswith(_LOCKS))
    if for_locks and for_locks.most_common(1)[0][1] >= count / 2:
        place, count = for_locks.most_common(1)[0]
    there = [line for line in lines if _place(line) == place]
    return _culprit(there, min(count, copies), copies)


def _places(lines: Iterable[_Seen]) -> Counter[Place]:
    counts: Counter[Place] = Counter()
    for line in lines:
        counts[_place(line)] += line.times
    return counts


def _is_body(seen: _Seen, body: Place | None) -> bool:
    return body is not None and _place(seen) == body


def _passes_on(seen: _Seen) -> bool:
    below = seen.stack[seen.stack.index(seen.frame) + 1 :]
    if not below:
        return False
    to_app = any(frame.module.startswith(_TRANSPORTS) for frame in below)
    return to_app or below[0].module.startswith(_PASS_ON)


def calls_below(seen: _Seen) -> tuple[str, ...]:
    """Return the library calls below the user's line, one entry a package: first to innermost."""
    position = len(seen.stack) - 1 - seen.stack[::-1].index(seen.frame)
    below = seen.stack[position + 1 :]
    groups: list[list[Frame]] = []
    for frame in below:
        if groups and _package(groups[-1][0]) == _package(frame):
            groups[-1].append(frame)
        else:
            groups.append([frame])
    names = []
    for number, group in enumerate(groups):
        if number == 0:
            names.append(_call(group[0]))
        if number == len(groups) - 1:
            if len(group) > 1 or number > 0:
                names.append(_call(group[-1]))
        elif number > 0:
            names.append(f"{_package(group[0])} …")
    return tuple(names)


def _package(frame: Frame) -> str:
    return frame.module.partition(".")[0] or "?"


def _call(frame: Frame) -> str:
    return f"{_package(frame)}.{frame.function.rpartition('.')[2]}"
