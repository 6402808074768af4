"""What to do about a failure, and the notes beside a verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from statistics import median

from ..analysis.findings import COMPUTING_CALLS
from ..analysis.queues import (
    QueueKind,
    fullest_pool,
    hangs_alone,
    kind_of_lock,
    kind_of_queue,
    pool_waited_for,
    threads_wait_for_threads,
    waits_for_lock,
    waits_for_processes,
)
from ..analysis.user_code import is_framework, is_user_code, package_of
from ..analysis.verdict import is_blind, machine_share, share_taken
from ..causes import (
    ACCEPT_QUEUE,
    CAUSE_TEXTS,
    HANGS_FIX,
    NESTED_FIX,
    ONE_THREAD_FIX,
    PROCESS_POOL,
    QUEUE_FIXES,
    THREADS_OF,
)
from ..guard import advice_for, counterpart, instead_of
from ..model import Cause, Culprit, Evidence, Judgement, Limit, Stack
from ..originals import os
from .offloading import joined, offload
from .units import busy_threads, duration, milliseconds, plural, rate, setting_text


def fix_for(cause: Cause, culprit: Culprit | None, evidence: Evidence) -> str:
    """Return one line that says what to do about ``cause``, in the terms of the test's loop."""
    if hangs_alone(evidence):
        return HANGS_FIX
    general = CAUSE_TEXTS[cause].fix
    loop = evidence.calibration.loop
    if loop == "trio":
        general = general.replace(PROCESS_POOL, "anyio.to_process.run_sync(…)")
    if cause == "blocking-call":
        if culprit is not None and _logs(culprit, evidence):
            return instead_of(["logging"], loop=loop) or general
        known = None if culprit is None else counterpart(culprit, loop)
        return joined(known or _ANY_ASYNC, offload(evidence, _handler_of(culprit, evidence)))
    if cause == "cpu-on-loop":
        advice = _awaited(culprit, loop) or advice_for(culprit, evidence)
        return general if advice is None else f"{advice}; or {general}"
    if cause == "thread-pool":
        return _more_threads(evidence) or general
    if cause == "serialised-wait" and (kind := _queue_at(culprit, evidence)) is not None:
        return f"{QUEUE_FIXES[kind]}, {ACCEPT_QUEUE}"
    return general


def _queue_at(culprit: Culprit | None, evidence: Evidence) -> QueueKind | None:
    """Return the kind of queue in which most wait at ``culprit``, None if it is not known."""
    if culprit is None:
        return None
    if culprit.counted == "threads":
        locked = [one for run in evidence.runs for one in run.workers if waits_for_lock(one)]
        return kind_of_lock(_longest_at(culprit, [(one.stack, one.weight) for one in locked]))
    waiters = [(one.stack, one.waited) for run in evidence.runs for one in run.waiters]
    kind = kind_of_queue(_longest_at(culprit, waiters))
    if kind is None and waits_for_processes(culprit.code, evidence.bursts):
        return "processes"
    return kind


def _longest_at(culprit: Culprit, waits: Sequence[tuple[Stack, float]]) -> Stack:
    """Return the stack at ``culprit`` that waits for longest, an empty one if none does."""
    place = (culprit.file, culprit.line)
    there = [
        (waited, stack)
        for stack, waited in waits
        if any((frame.file, frame.line) == place for frame in stack)
    ]
    return max(there, key=lambda pair: pair[0], default=(0.0, ()))[1]


def _awaited(culprit: Culprit | None, loop: str) -> str | None:
    """Return what to await in place of a call that computes: SQLite's, or the copy of a file."""
    if culprit is None or culprit.blocks_in is None:
        return None
    calls = (*culprit.calls, culprit.blocks_in)
    found = (instead_of(calls, culprit.code, kind, loop) for kind in COMPUTING_CALLS)
    return next(filter(None, found), None)


def _more_threads(evidence: Evidence) -> str | None:
    """Return what to do about the thread pool that requests queue for, None if it is not known."""
    runs = evidence.bursts or evidence.singles
    pool = pool_waited_for(runs, evidence.singles)
    if pool is None:
        return None
    if evidence.late is not None and threads_wait_for_threads(runs):
        return NESTED_FIX
    stacks = (waiters.stack for run in runs for waiters in run.waiters)
    if pool.size == 1 and any(frame.module == "asgiref.sync" for s in stacks for frame in s):
        return ONE_THREAD_FIX
    return f"{THREADS_OF[pool.name]} to the concurrency you serve, or await an async client"


def _above(culprit: Culprit, evidence: Evidence) -> Iterator[Stack]:
    """Yield the frames that lead to ``culprit``, of each sample that shows it."""
    for run in evidence.runs:
        for sample in (*run.samples, *(one for step in run.steps for one in step.samples)):
            for number, frame in enumerate(sample.stack):
                if (frame.file, frame.function) == (culprit.file, culprit.function):
                    yield sample.stack[:number]
                    break


def _logs(culprit: Culprit, evidence: Evidence) -> bool:
    """Return whether ``culprit`` logs, or is what a logger calls."""
    above = _above(culprit, evidence)
    return any(call.startswith("logging.") for call in culprit.calls[:1]) or any(
        package_of(frame) == "logging" for stack in above for frame in stack
    )


def _handler_of(culprit: Culprit | None, evidence: Evidence) -> str | None:
    """Return the function of the user's that is or is below a handler of the user's, or None.

    A task of the app's own is below none, nor is a dependency, a middleware or the generator of a
    stream, and a handler of a WebSocket cannot be `def`.
    """
    if culprit is None or (culprit.library and culprit.route is None):
        return None
    asked = [exchange.method for run in evidence.runs for exchange in run.exchanges]
    if asked and set(asked) == {"WEBSOCKET"}:
        return None
    above = [*_above(culprit, evidence)]
    if above and not any(is_framework(frame) for stack in above for frame in stack):
        return None
    if culprit.route is None:
        return culprit.function if _is_below_endpoint(culprit, above, evidence) else None
    return culprit.route.function if is_user_code(culprit.route.file) else None


def _is_below_endpoint(culprit: Culprit, above: Iterable[Stack], evidence: Evidence) -> bool:
    """Return whether ``culprit`` is, or is called by, an endpoint; True if no router names one."""
    handlers = [exchange.handler for run in evidence.runs for exchange in run.exchanges]
    endpoints = {(one.file, one.function) for one in handlers if one is not None}
    callers = ((frame.file, frame.function) for stack in above for frame in stack)
    return not endpoints or not endpoints.isdisjoint(((culprit.file, culprit.function), *callers))


def notes_for(
    judgement: Judgement, evidence: Evidence, limits: dict[str, Limit]
) -> tuple[str, ...]:
    """Return what is worth a note beside the verdict, each note with what to do about it."""
    notes = []
    notes += [why for why in (evidence.unmeasured, evidence.scaling_unmeasured) if why]
    for cause in judgement.allowed:
        reason = limits["allow"].value[cause]
        notes.append(
            f"{cause} found and accepted by allow (from {limits['allow'].origin})"
            + (f": {reason}" if reason else "")
        )
    if judgement.verdict == "inconclusive":
        notes.append(_why_inconclusive(judgement, evidence, limits))
    notes += _pool_notes(judgement, evidence)
    noteworthy = max(_WORTH_A_NOTE, limits["cpu_allowance"].value)
    if judgement.verdict != "fail" and judgement.offloaded >= noteworthy:
        notes.append(_ceiling_of_offloaded_work(judgement.offloaded))
    if background := _background(evidence):
        notes.append(
            f"background work continued for {background * 1000:.0f} ms after the response: the "
            "latency does not include it, and it counts only while it holds the loop or the GIL"
        )
    if given_up := [stack for run in evidence.runs for stack in run.given_up]:
        notes.append(_what_ignores_cancellation(given_up))
    hung = None if judgement.verdict != "fail" else evidence.late
    if hung is not None and threads_wait_for_threads([hung]):
        notes.append(
            "the threads of this deadlock never end, and Python waits for them at exit: pytest may "
            "hang after its summary"
        )
    if judgement.one_off:
        notes.append(
            f"one callback held the loop for {judgement.one_off * 1000:.1f} ms, but not in most "
            "runs, so it was not judged"
        )
    return tuple(notes)


def _what_ignores_cancellation(stacks: list[Stack]) -> str:
    places = Counter(_innermost(stack) for stack in stacks)
    shown = ", ".join(f"{count} at {place}" for place, count in places.most_common(_PLACES))
    return (
        f"{plural(len(stacks), 'task')} ignored the cancellation after the timeout and will never "
        f"run again, so no cleanup of theirs runs ({shown}): let CancelledError pass, and shield "
        "no wait without a limit"
    )


def _innermost(stack: Stack) -> str:
    """Return the innermost line that is not a library's, or the innermost one."""
    if not stack:
        return "an unknown line"
    frame = next((one for one in reversed(stack) if is_user_code(one.file)), stack[-1])
    return f"{frame.file}:{frame.line} in {frame.function}"


_PLACES = 5
_WORTH_A_NOTE = 0.001
_ANY_ASYNC = "await an async equivalent"
_NEAR_ENOUGH = 0.5
"""Share of its limit from which a figure is news: 40 threads queue 50 requests, and hardly cost.

If as many wait as are served, latency doubles, however low the limit of each request is.
"""
_BACKGROUND = 0.005
_BACKGROUND_SHARE = 0.1


def _background(evidence: Evidence) -> float:
    """Return for how long an app worked on after its response, 0 if that is not worth a note.

    Any app returns a moment after its last byte. In a burst the other requests delay that moment,
    so only the single runs count.
    """
    if not evidence.singles:
        return 0.0
    after = median(run.background for run in evidence.singles)
    alone = median(run.makespan for run in evidence.singles)
    return after if after >= max(_BACKGROUND, _BACKGROUND_SHARE * alone) else 0.0


def _ceiling_of_offloaded_work(each: float) -> str:
    cores = os.cpu_count() or 1
    return (
        f"CPU-bound: each request uses {each * 1000:.1f} ms of CPU time in worker threads or "
        f"processes, so {plural(cores, 'core')} can serve at most {rate(cores / each)}"
    )


def _pool_notes(judgement: Judgement, evidence: Evidence) -> list[str]:
    pool = fullest_pool(evidence.bursts)
    if pool is None or judgement.cause == "thread-pool":
        return []
    if pool.sized_by_cpu_count:
        return [
            f"asyncio's default executor has {pool.size} threads on this machine (CPUs + 4), and "
            f"{plural(pool.waiting, 'call')} waited for one: install a larger executor with "
            "loop.set_default_executor(), or use anyio.to_thread"
        ]
    judged = judgement.judged
    is_slight = judged is not None and judged.fraction < _NEAR_ENOUGH * judged.limit
    if judgement.verdict == "pass" and is_slight and pool.waiting < pool.size:
        return []
    return [
        f"{busy_threads(pool)} busy and "
        f"{plural(pool.waiting, 'call')} waited for one: latency grows beyond {pool.size} "
        "concurrent requests"
    ]


def _changeable(judgement: Judgement, limits: dict[str, Limit]) -> str:
    """Return the limits that the figure is too close to, with their origins."""
    names = [name for name in ("max_lag", "max_blocked") if name in judgement.near]
    if not names:
        limit = limits["max_serial_fraction"]
        return setting_text("max_serial_fraction", f"{limit.value:.2f}", limit)
    shown = [(name, milliseconds(limits[name].value), limits[name]) for name in names]
    return " or ".join(setting_text(*one) for one in shown)


def _why_inconclusive(judgement: Judgement, evidence: Evidence, limits: dict[str, Limit]) -> str:
    if is_blind(evidence):
        return (
            f"the machine took {machine_share(evidence):.0%} of the time, and this OS cannot say "
            "why, so the wait may be noise; rerun on a quieter machine, or on Linux"
        )
    if (late := evidence.late) is not None:
        limit = setting_text("timeout", duration(limits["timeout"].value), limits["timeout"])
        return (
            f"a run did not finish within {limit}, of which the machine took "
            f"{share_taken(late):.0%}: rerun on a quieter machine, or raise the limit"
        )
    burst = max(evidence.bursts or evidence.singles, key=lambda run: run.concurrency)
    budget = burst.budget
    if judgement.may_be_random:
        return (
            f"{judgement.near}: requests wait for one another, or each waits for a random time by "
            "itself; have all copies request the same, accept the wait with allow, or change "
            f"{_changeable(judgement, limits)}"
        )
    if judgement.near:
        return (
            f"{judgement.near}: too close to decide; rerun on a quieter machine, or change "
            f"{_changeable(judgement, limits)}"
        )
    runs = plural(len(evidence.bursts), "burst") if evidence.bursts else "the single runs"
    return (
        f"{runs} gave no clear verdict: of {burst.makespan * 1000:.0f} ms, the loop waited "
        f"{budget.descheduled * 1000:.0f} ms for a CPU and other threads waited "
        f"{budget.other_delay * 1000:.0f} ms; rerun on a quieter machine"
    )
