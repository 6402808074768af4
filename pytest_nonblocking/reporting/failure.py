"""The text of a failure: what was measured, the limit and its origin, where, and what to do."""

from __future__ import annotations

from pathlib import Path

from ..analysis.queues import hangs_alone, pool_waited_for
from ..analysis.user_code import in_library
from ..model import Cause, Culprit, Evidence, Frame, Judgement, Limit, Outcome, Run
from .advice import fix_for
from .units import milliseconds, plural, rate

_HEADLINES: dict[Cause, str] = {
    "blocking-call": "blocks the event loop",
    "cpu-on-loop": "keeps the event loop busy with CPU work",
    "gil-contention": "does CPU work in threads, which share one GIL",
    "thread-pool": "runs out of worker threads",
    "serialised-wait": "makes its requests wait for one another",
}


_WORTH_MENDING = 0.1
_NO_LINE = "most samples agree on no line of yours"


def limit_text(value: str, limit: Limit) -> str:
    """Return a limit with its origin: "limit 5 ms, default" or "limit 0.10 from pytest.ini"."""
    return f"limit {value}" + (
        ", default" if limit.origin == "default" else f" from {limit.origin}"
    )


def failure_text(outcome: Outcome, rootdir: Path) -> str:
    """Return the whole text of a failed verdict."""
    judgement = outcome.judgement
    assert judgement.cause is not None
    rows = [
        f"nonblocking: {outcome.target} {_headline(outcome, judgement.cause)}",
        *_measured(outcome),
        _row("cause", f"{judgement.cause}: {_explained(outcome)}"),
        *_others(judgement),
        *_where(outcome, rootdir),
        _row("machine", _machine(outcome.evidence)),
        _row("fix", fix_for(judgement.cause, outcome.culprit, outcome.evidence)),
    ]
    return "\n".join(rows)


def _headline(outcome: Outcome, cause: Cause) -> str:
    if hangs_alone(outcome.evidence):
        return "does not finish, even alone"
    return "does not finish" if "timeout" in outcome.judgement.reasons else _HEADLINES[cause]


def _others(judgement: Judgement) -> list[str]:
    """Return the row of the other causes, where one has a share that is worth mending."""
    told = [
        f"{cause} {share:.0%}".replace("%", " %")
        for cause, share in judgement.causes
        if cause != judgement.cause and share >= _WORTH_MENDING
    ]
    return [_row("others", ", ".join(told))] if told else []


def _row(label: str, text: str) -> str:
    return f"  {label:<8} {text}"


def judged_burst(evidence: Evidence) -> Run:
    """Return the largest burst's middle round by makespan, or the last lone run."""
    level = max((run.concurrency for run in evidence.bursts), default=0)
    runs = sorted(
        (run for run in evidence.bursts if run.concurrency == level), key=lambda r: r.makespan
    )
    return runs[(len(runs) - 1) // 2] if runs else evidence.singles[-1]


def _measured(outcome: Outcome) -> list[str]:
    judgement, evidence = outcome.judgement, outcome.evidence
    burst = judged_burst(evidence)
    late = next((r for r in (*evidence.singles, *evidence.bursts) if r.timed_out), None)
    if late is not None:
        done = len(late.latencies)
        limit = outcome.limits["timeout"]
        took = limit_text(milliseconds(limit.value), limit)
        return [f"  {done} of {plural(late.concurrency, 'copy', 'copies')} finished ({took})"]
    if judgement.serial is None:
        runs = (
            "in the test's one run" if evidence.watched else f"in each of {len(evidence.singles)}"
        )
        runs += "" if evidence.watched else " runs alone"
        return [f"  {runs}, of {milliseconds(burst.makespan)}: scaling was not judged"]
    alone = sorted(run.makespan for run in evidence.singles)[len(evidence.singles) // 2]
    keeps = judgement.cause in ("blocking-call", "cpu-on-loop")
    each = "each request keeps the loop for" if keeps else "each further request adds"
    serial = milliseconds(judgement.serial)
    limit = outcome.limits["max_serial_fraction"]
    share = f"serial fraction {judgement.serial_fraction:.2f}, "
    if judgement.excess is not None and judgement.excess < 0.9 * judgement.serial:
        beyond = judgement.judged.fraction if judgement.judged else 0.0
        share += f"{beyond:.2f} beyond the CPU allowance, "
    rows = [
        f"  {each} {serial}: {burst.concurrency} at once took {milliseconds(burst.makespan)}, "
        f"one takes {milliseconds(alone)} ({share}{limit_text(f'{limit.value:.2f}', limit)})"
    ]
    if judgement.serial > 0 and "scaling" in judgement.reasons:
        rows.append(f"  ceiling {rate(1 / judgement.serial)} per process, at any concurrency")
    return rows


def _explained(outcome: Outcome) -> str:
    judgement, limits = outcome.judgement, outcome.limits
    burst = judged_burst(outcome.evidence)
    if hangs_alone(outcome.evidence):
        return "it hangs alone: no other request was running, and the loop is idle"
    if judgement.cause == "blocking-call":
        if "blocked" in judgement.reasons:
            limit = limits["max_blocked"]
            told = limit_text(milliseconds(limit.value), limit)
            return f"{milliseconds(judgement.max_blocked)} waiting off the CPU in one step ({told})"
        return f"{_share(burst, burst.budget.blocked)} per request waiting off the CPU in its steps"
    if judgement.cause == "cpu-on-loop":
        factor = outcome.evidence.calibration.factor
        if "lag" in judgement.reasons:
            limit = limits["max_lag"]
            told = limit_text(milliseconds(limit.value * factor), limit)
            return f"{milliseconds(judgement.max_lag)} of CPU in one step ({told})"
        limit = limits["cpu_allowance"]
        told = limit_text(milliseconds(limit.value * factor), limit).replace("limit", "allowance")
        return f"{_share(burst, burst.budget.cpu)} of CPU on the loop per request ({told})"
    if judgement.cause == "gil-contention":
        return (
            f"{_share(burst, burst.budget.other_cpu)} of Python per request in worker threads, "
            "of which one runs at a time"
        )
    if judgement.cause == "thread-pool":
        pool = pool_waited_for(outcome.evidence.bursts or outcome.evidence.singles)
        if pool is None:  # a time-out before anyone looked
            return "all worker threads were busy"
        return (
            f"all {pool.size} threads of the {pool.name} were busy "
            f"and {plural(pool.waiting, 'call')} waited for one"
        )
    return "the loop is idle while requests queue for a lock, a pool or a single worker"


def _share(burst: Run, seconds: float) -> str:
    return milliseconds(seconds / burst.concurrency)


def _where(outcome: Outcome, rootdir: Path) -> list[str]:
    culprit = outcome.culprit
    if culprit is None:
        return [_row("where", "no line of yours was seen in most samples: " + _library(outcome))]
    place = f"{relative(culprit.file, rootdir)}:{culprit.line} in {culprit.function}"
    if culprit.library:
        path = [*([f"handler {route_text(culprit.route, rootdir)}"] if culprit.route else [])]
        rows = [
            _row("where", f"in a library: {place}"),
            f"               {' → '.join([*path, *culprit.calls])}",
        ]
    elif culprit.is_route:
        return [_row("where", f"{place}: {_NO_LINE}"), f"               {culprit.code}"]
    else:
        below = "      → " + " → ".join(culprit.calls) if culprit.calls else ""
        rows = [_row("where", place), f"               {culprit.code}{below}"]
    if culprit.of:
        rows.append(f"           {_counted(culprit, outcome.judgement)}")
    return rows


def route_text(route: Frame, rootdir: Path) -> str:
    """Return the definition of a handler: "file:line in function"."""
    return f"{relative(route.file, rootdir)}:{route.line} in {route.function}"


def _counted(culprit: Culprit, judgement: Judgement) -> str:
    if culprit.counted == "copies":
        return f"{culprit.samples} of {plural(culprit.of, 'copy', 'copies')} wait there"
    if culprit.counted == "threads":
        return f"{culprit.samples} of {plural(culprit.of, 'look')} at worker threads"
    return (
        f"{culprit.samples} of {plural(culprit.of, 'sample')}, "
        f"{judgement.guilty_runs} of {plural(judgement.judged_runs, 'run')}"
    )


def _library(outcome: Outcome) -> str:
    stacks = [s.stack for run in outcome.evidence.bursts for s in run.samples if s.stack]
    if not stacks:
        return "it is in the libraries that the request goes through"
    names = [f"{stack[-1].module}.{stack[-1].function}" for stack in stacks]
    return "the most common place is " + max(set(names), key=names.count)


def _machine(evidence: Evidence) -> str:
    runs = evidence.bursts or evidence.singles
    delay = max(run.budget.descheduled for run in runs)
    collector = max(run.budget.gc for run in runs)
    calibration = evidence.calibration
    factor = f"factor {calibration.factor:.1f}"
    if calibration.tracer is not None:
        factor += f" without {calibration.tracer}"
    return (
        f"run-queue delay {milliseconds(delay)}, garbage collector {milliseconds(collector)}, "
        f"{factor}: not noise, both are taken out"
    )


def relative(file: str, rootdir: Path) -> str:
    """Return ``file`` relative to ``rootdir`` where it lies below it, with forward slashes.

    What is installed is told from its library's folder on, wherever that is.
    """
    if (installed := in_library(file)) is not None:
        return installed
    try:
        return Path(file).relative_to(rootdir).as_posix()
    except ValueError:
        return Path(file).as_posix()
