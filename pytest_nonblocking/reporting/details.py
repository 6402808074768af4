"""What a page shows beside the figures: one burst as it went, where samples fell, the source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path

from .. import model
from ..analysis.user_code import is_own_code, is_user_code, owner_of
from ..model import Cause, Evidence, Frame, Run, Step
from ..originals import linecache
from .places import relative
from .record import Copy, Source, Stack, Timeline

_LINES_AROUND = 4
_COPIES_SHOWN = 100
_STACKS_SHOWN = 24
DEEPEST_SHOWN = 40


def source(culprit: model.Culprit) -> Source | None:
    """Return the lines around the culprit's, None where its file cannot be read."""
    try:
        lines = linecache.getlines(culprit.file)
    except Exception:  # a test's own `open` or `os.stat`: the verdict does without the lines
        return None
    if not 0 < culprit.line <= len(lines):
        return None
    first = max(1, culprit.line - _LINES_AROUND)
    shown = lines[first - 1 : culprit.line + _LINES_AROUND]
    return Source(first=first, lines=tuple(line.rstrip() for line in shown))


def timeline(burst: Run) -> Timeline:
    """Return how ``burst`` went for each of its copies.

    A copy waits from the release to its end, except during its long callbacks. Each of these is
    ``[start, length, blocked]`` in milliseconds, with ``start`` relative to the release.
    """
    ends = dict(zip(burst.ended, burst.latencies, strict=False))
    steps: dict[int, list[tuple[float, float, float]]] = {}
    for step in sorted(burst.steps, key=lambda step: step.began_ns):
        if step.copy is not None and step.began_ns >= burst.released_ns:
            steps.setdefault(step.copy, []).append(_segment(step, burst))
    copies = tuple(
        Copy(
            end_ms=_ms(ends[copy]) if copy in ends else None,
            steps_ms=tuple(steps.get(copy, ())),
        )
        for copy in range(min(burst.concurrency, _COPIES_SHOWN))
    )
    return Timeline(concurrency=burst.concurrency, makespan_ms=_ms(burst.makespan), copies=copies)


def _segment(step: Step, burst: Run) -> tuple[float, float, float]:
    began = (step.began_ns - burst.released_ns) / 1e9
    return _ms(began), _ms(step.wall), _ms(step.blocked + step.unconfirmed)


def stacks(
    evidence: Evidence, cause: Cause | None, rootdir: Path, packages: Collection[str] = ()
) -> tuple[Stack, ...]:
    """Return where what ``cause`` names was seen: stacks from the user's first line on, counted."""
    seen: Counter[tuple[tuple[str, bool], ...]] = Counter()
    for stack, times in _witnesses(evidence, cause):
        # A stack that is missing from the look with most waiting copies has a count of 0.
        if times and (frames := _shown(stack, packages)):
            seen[
                tuple(
                    (_named(one, rootdir), owner_of(one, packages) != "library") for one in frames
                )
            ] += times
    return tuple(
        Stack(
            frames=tuple(name for name, _ in frames),
            count=count,
            user=tuple(is_users for _, is_users in frames),
        )
        for frames, count in seen.most_common(_STACKS_SHOWN)
    )


def _witnesses(evidence: Evidence, cause: Cause | None) -> Iterable[tuple[model.Stack, int]]:
    runs = (*evidence.singles, *evidence.bursts)
    if cause in ("serialised-wait", "thread-pool"):
        return ((w.stack, w.count) for run in runs for w in run.waiters)
    if cause == "gil-contention":
        return ((sample.stack, 1) for run in runs for sample in run.thread_samples)
    return ((sample.stack, 1) for run in runs for sample in run.samples)


def _shown(stack: model.Stack, packages: Collection[str]) -> model.Stack:
    """Return ``stack`` from the first line of the user's or the app's on, below the last of ours.

    What the plugin calls is the app, or where there is none of it, the test. Nothing is left of a
    stack that ends in the plugin, or has no line of the user's.
    """
    below = max((n for n, frame in enumerate(stack) if is_own_code(frame.file)), default=-1) + 1
    numbered = enumerate(stack[below:], start=below)
    mine = (n for n, frame in numbered if owner_of(frame, packages) in ("user", "app"))
    first = next(mine, len(stack))
    return stack[first : first + DEEPEST_SHOWN]


def _named(frame: Frame, rootdir: Path) -> str:
    where = relative(frame.file, rootdir) if is_user_code(frame.file) else frame.module
    return f"{frame.function} ({where}:{frame.line})"


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)
