"""From the calls that the guard saw to the lines of code that make them."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from ..model import (
    BlockingCall,
    Category,
    Culprit,
    Exemption,
    Finding,
    Frame,
    Guarded,
    Judgement,
    Limits,
    Stack,
)
from .places import Place, Reader, Seen, calls_below, code_at, definition_of, runs_app
from .tolerances import BLOCKS, COMPUTES, QUICK_CALLS
from .user_code import package_of

_IMPORTS = ("_frozen_importlib", "importlib._bootstrap", "zipimport")
_RUNS_CALLBACKS = "pytest_nonblocking.sentinel.probes"
_RUNS_TEST = ("pytest_nonblocking.load", "pytest_nonblocking.runner")
COMPUTING_CALLS: tuple[Category, ...] = ("database", "file")
"""Categories with calls that compute: queries of SQLite, copies of files."""

_WAITS: tuple[Category, ...] = ("network", "lock")
"""Categories of the calls in which a client of a database waits for it."""


class _Found(NamedTuple):
    """One call, the line that makes it, and what was read from its stack."""

    call: BlockingCall
    seen: Seen
    frame: Frame
    library: bool


def find(
    guarded: Guarded | None,
    exempt: Sequence[Exemption],
    body: Place | None = None,
    packages: Collection[str] = (),
) -> tuple[Finding, ...]:
    """Return what the guard found, one line of code and category each, slow ones first.

    ``body`` is the test function: its own calls count only if it sends no request. ``packages`` are
    the top-level packages of the app.
    """
    if guarded is None:
        return ()
    reader = Reader(packages, body)
    groups: defaultdict[tuple[str, str, int], list[_Found]] = defaultdict(list)
    for one in _found(guarded, reader, exempt):
        groups[one.call.category, one.frame.file, one.frame.line].append(one)
    findings = map(_finding, groups.values())
    return tuple(sorted(findings, key=_rank))


def _rank(found: Finding) -> tuple[int, str, int]:
    """Return what findings are ordered by: the slow ones first, then their places."""
    return -_slowness(found.seconds), found.file, found.line


def _slowness(seconds: float) -> int:
    """Return what calls are compared by: which of two quick ones took longer is chance."""
    return int(seconds / QUICK_CALLS)


def _found(guarded: Guarded, reader: Reader, exempt: Sequence[Exemption]) -> Iterator[_Found]:
    for call in guarded.calls:
        seen = reader.read(call.stack, call.seconds, call.times)
        if seen is None or seen.is_clients or (seen.side == "test" and guarded.requests):
            continue
        frames = seen.users or (() if seen.side == "test" else seen.library)
        if not frames or any(frame.module.startswith(_IMPORTS) for frame in seen.frames):
            continue
        between = _after(call.stack, frames[-1])
        # The user's own line may not be exempt; a library's may, as where asyncio's debug mode
        # reads source lines (400 calls of os.stat in a test).
        makers = between if seen.users else (frames[-1], *between)
        if _is_ours(call.stack, between) or any(_is_exempt(f, call, exempt) for f in makers):
            continue
        made_by = between if seen.users else seen.library
        by_whom = _by_client(call, made_by, guarded.databases)
        yield _Found(by_whom, seen, frames[-1], library=not seen.users)


def _by_client(call: BlockingCall, made_by: Stack, databases: Collection[str]) -> BlockingCall:
    """Return ``call`` as one of the database if a client of databases waits in it."""
    if call.category in _WAITS and any(package_of(frame) in databases for frame in made_by):
        return replace(call, category="database")
    return call


def _after(stack: Stack, frame: Frame) -> Stack:
    return stack[len(stack) - stack[::-1].index(frame) :]


def _is_ours(stack: Stack, between: Stack) -> bool:
    """Return whether this plugin makes the call, and not code that it runs."""
    if any(map(_is_own, between)):
        return True
    own = next((frame for frame in reversed(stack) if _is_own(frame)), None)
    if own is None or runs_app(own) or own.module.startswith(_RUNS_CALLBACKS):
        return False
    # The plugin calls the test, too, which is the user's code.
    return not own.module.startswith(_RUNS_TEST)


def _is_own(frame: Frame) -> bool:
    return package_of(frame) == "pytest_nonblocking"


def _is_exempt(frame: Frame, call: BlockingCall, exempt: Iterable[Exemption]) -> bool:
    """Return whether a call by ``frame`` is not the fault of the code that called ``frame``."""
    return any(
        (frame.module == one.module or frame.module.startswith(f"{one.module}."))
        and (not one.functions or frame.leaf in one.functions)
        and (not one.categories or call.category in one.categories)
        for one in exempt
    )


def _finding(found: Sequence[_Found]) -> Finding:
    times: Counter[str] = Counter()
    seconds: defaultdict[str, float] = defaultdict(float)
    for one in found:
        times[one.call.function] += one.call.times
        seconds[one.call.function] += one.call.seconds
    slowest = max(found, key=lambda one: _slowness(one.call.seconds))
    frame, seen = slowest.frame, slowest.seen
    route = seen.handler if slowest.library else None
    below = seen.library if slowest.library else _after(seen.frames, frame)
    return Finding(
        category=slowest.call.category,
        functions=tuple(sorted(seconds, key=lambda name: -_slowness(seconds[name]))),
        file=frame.file,
        line=frame.line,
        function=frame.function,
        code=code_at(frame),
        calls=_once((*calls_below(below), slowest.call.function)),
        times=times.total(),
        seconds=sum(seconds.values()),
        library=slowest.library,
        route=None if route is None else definition_of(route),
        instead=slowest.call.instead,
    )


def _once(calls: Iterable[str]) -> tuple[str, ...]:
    """Return ``calls`` without those whose C function has their name, as in ``socket``."""
    return tuple(name for name, _ in itertools.groupby(calls))


# What the findings mean for the verdict


def convicted(
    judgement: Judgement, guarded: Guarded | None, findings: Iterable[Finding], limits: Limits
) -> Judgement:
    """Return the judgement under ``guard="fail"``: a finding fails the test.

    A pass for which the guard has no result is none, as is one without all calls that could fail.
    """
    if limits.guard != "fail":
        return judgement
    if not any(one.is_accused(limits) for one in findings):
        if judgement.verdict == "pass" and guarded is not None and _is_open(guarded, limits):
            return replace(judgement, verdict="not-measured")
        return judgement
    if judgement.verdict == "fail":
        return replace(judgement, reasons=(*judgement.reasons, "guard"))
    return replace(
        judgement,
        verdict="fail",
        reasons=("guard",),
        cause="blocking-call",
        causes=(("blocking-call", 1.0),),
        near="",
    )


def _is_open(guarded: Guarded, limits: Limits) -> bool:
    """Return whether a call that is not known could be accused."""
    if guarded.unmeasured is None:
        return False
    of_clients = ("database",) if guarded.unknown.intersection(_WAITS) else ()
    chosen = set(limits.guard_categories).difference(limits.guard_allow)
    return not chosen.isdisjoint((*guarded.unknown, *of_clients))


def named(
    culprit: Culprit | None, judgement: Judgement, findings: Sequence[Finding], limits: Limits
) -> Culprit | None:
    """Return the culprit of a blocking call with the function that blocks there, if it is known.

    Where no line has most of the samples, the line of the slowest finding is the culprit. A call of
    the table that computes, such as a query of SQLite, is named as what is to be awaited.
    """
    if "timeout" in judgement.reasons:
        return culprit
    if judgement.cause == "cpu-on-loop" and culprit is not None:
        computing = [one for one in findings if one.category in COMPUTING_CALLS]
        return _with_call(culprit, computing, COMPUTES * judgement.max_lag)
    if judgement.cause != "blocking-call":
        return culprit
    if judgement.reasons == ("guard",):
        return _culprit(next(one for one in findings if one.is_accused(limits)))
    slow = [one for one in findings if one.seconds >= BLOCKS * judgement.max_blocked]
    if culprit is None or culprit.is_route:
        return _culprit(slow[0]) if slow else culprit
    return _with_call(culprit, slow, 0.0)


def _with_call(culprit: Culprit, findings: Sequence[Finding], least: float) -> Culprit:
    """Return ``culprit`` with the call at its line, if that takes ``least`` seconds."""
    there = (one for one in findings if (one.file, one.line) == (culprit.file, culprit.line))
    finding = next((one for one in there if one.seconds >= least), None)
    return culprit if finding is None else replace(culprit, blocks_in=finding.functions[0])


def _culprit(finding: Finding) -> Culprit:
    return Culprit(
        file=finding.file,
        line=finding.line,
        function=finding.function,
        code=finding.code,
        calls=finding.calls,
        samples=0,
        of=0,
        library=finding.library,
        route=finding.route,
        blocks_in=finding.functions[0],
    )
