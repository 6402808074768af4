"""The text of a failure: what was measured, the limit and its origin, where, and what to do."""

from __future__ import annotations

from pathlib import Path

from ..analysis.queues import hangs_alone, pool_waited_for
from ..causes import CAUSE_TEXTS, HANGS_HEADLINE, HANGS_MEASURED, Measure
from ..model import Cause, Culprit, Evidence, Judgement, Outcome, Run
from . import guard_words
from .advice import fix_for
from .places import relative, route_text
from .units import duration, limit_text, milliseconds, plural, rate

_WORTH_FIXING = 0.1
_NO_LINE = "no single line of your code accounts for most samples"


def failure_text(outcome: Outcome, rootdir: Path) -> str:
    """Return the whole text of a failed verdict."""
    judgement = outcome.judgement
    assert judgement.cause is not None
    if judgement.reasons == ("guard",):
        headline = f"nonblocking: {outcome.target} {guard_words.HEADLINE}"
        return "\n".join([headline, *_guarded(outcome, None, rootdir)])
    rows = [
        f"nonblocking: {outcome.target} {_headline(outcome, judgement.cause)}",
        *_measured(outcome),
        _row("cause", f"{judgement.cause}: {_explained(outcome, judgement.cause)}"),
        *_others(judgement),
        *_where(outcome, rootdir),
        _row("machine", _machine(outcome.evidence)),
        _row("fix", fix_for(judgement.cause, outcome.culprit, outcome.evidence)),
    ]
    if "guard" in judgement.reasons and (more := _guarded(outcome, outcome.culprit, rootdir)):
        rows += [f"  It also {guard_words.HEADLINE}:", *more]
    return "\n".join(rows)


def _guarded(outcome: Outcome, culprit: Culprit | None, rootdir: Path) -> list[str]:
    rows = guard_words.rows(outcome.findings, outcome.limits, culprit, rootdir)
    return [_row(label, text) for label, text in rows]


def _headline(outcome: Outcome, cause: Cause) -> str:
    if hangs_alone(outcome.evidence):
        return HANGS_HEADLINE
    if "timeout" in outcome.judgement.reasons:
        return "does not finish"
    return CAUSE_TEXTS[cause].headline


def _others(judgement: Judgement) -> list[str]:
    """Return the row of the other causes, where one has a share that is worth fixing."""
    shown = [
        f"{cause} {share:.0%}"
        for cause, share in judgement.causes
        if cause != judgement.cause and share >= _WORTH_FIXING
    ]
    return [_row("others", ", ".join(shown))] if shown else []


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
        within = limit_text(duration(limit.value), limit).replace("limit", "timeout", 1)
        copies = plural(late.concurrency, "copy", "copies")
        return [f"  {done} of {copies} finished ({within})"]
    if judgement.serial is None:
        single = plural(len(evidence.singles), "single run")
        runs = "the only run" if evidence.watched else f"each of {single}"
        took = milliseconds(burst.makespan)
        return [f"  measured in {runs}, which took {took}; scaling was not judged"]
    alone = sorted(run.makespan for run in evidence.singles)[len(evidence.singles) // 2]
    assert judgement.cause is not None
    each = CAUSE_TEXTS[judgement.cause].per_request
    serial = milliseconds(judgement.serial)
    limit = outcome.limits["max_serial_fraction"]
    share = f"serial fraction {judgement.serial_fraction:.2f}, "
    if judgement.excess is not None and judgement.excess < 0.9 * judgement.serial:
        beyond = judgement.judged.fraction if judgement.judged else 0.0
        share += f"{beyond:.2f} after allowances, "
    rows = [
        f"  {each} {serial}: {burst.concurrency} at once took {milliseconds(burst.makespan)}, "
        f"one takes {milliseconds(alone)} ({share}{limit_text(f'{limit.value:.2f}', limit)})"
    ]
    if judgement.serial > 0 and "scaling" in judgement.reasons:
        rows.append(f"  ceiling {rate(1 / judgement.serial)} per process, at any concurrency")
    return rows


def _explained(outcome: Outcome, cause: Cause) -> str:
    """Return what was measured of ``cause``, with the limit that it exceeds."""
    if hangs_alone(outcome.evidence):
        return HANGS_MEASURED
    text, judgement = CAUSE_TEXTS[cause], outcome.judgement
    if cause == "blocking-call" and outcome.culprit and outcome.culprit.blocks_in:
        known = f"{outcome.culprit.blocks_in}, "
    else:
        known = ""
    worst = {
        f"max_{reason}": getattr(judgement, f"max_{reason}", 0.0) for reason in judgement.reasons
    }
    if text.in_callback is not None and text.in_callback.setting in worst:
        seconds = worst[text.in_callback.setting]
        return known + _described(text.in_callback, seconds, outcome)
    burst = judged_burst(outcome.evidence)
    each = getattr(burst.budget, text.in_burst.part) / burst.concurrency
    return known + _described(text.in_burst, each, outcome)


def _described(measure: Measure, seconds: float, outcome: Outcome) -> str:
    facts = {"amount": milliseconds(seconds)}
    if measure.setting is not None:
        facts["limit"] = _duration_limit(measure, outcome)
    if "{threads}" in measure.text:
        # A timeout may come before the pools have been looked at.
        pool = pool_waited_for(outcome.evidence.bursts or outcome.evidence.singles)
        facts["threads"] = f"{pool.size} threads of the {pool.name}" if pool else "worker threads"
        facts["calls"] = plural(pool.waiting, "call") if pool else "calls"
    return measure.text.format(**facts)


def _duration_limit(measure: Measure, outcome: Outcome) -> str:
    assert measure.setting is not None
    limit = outcome.limits[measure.setting]
    kind = "allowance" if measure.setting == "cpu_allowance" else "limit"
    slowdown = outcome.evidence.calibration.factor if measure.scaled else 1.0
    held = milliseconds(limit.value * slowdown)
    shown = limit_text(held, limit).replace("limit", kind, 1)
    plain = milliseconds(limit.value)
    return shown if held == plain else f"{shown}; {plain} at reference CPU speed"


def _where(outcome: Outcome, rootdir: Path) -> list[str]:
    culprit = outcome.culprit
    if culprit is None:
        return [_row("where", "no line of your code appears in most samples; " + _library(outcome))]
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


def _counted(culprit: Culprit, judgement: Judgement) -> str:
    if culprit.counted == "copies":
        wait = "waits" if culprit.samples == 1 else "wait"
        return f"{culprit.samples} of {plural(culprit.of, 'copy', 'copies')} {wait} there"
    if culprit.counted == "threads":
        return f"{culprit.samples} of {plural(culprit.of, 'sample')} of worker threads"
    return (
        f"{culprit.samples} of {plural(culprit.of, 'sample')}, "
        f"{judgement.guilty_runs} of {plural(judgement.judged_runs, 'run')}"
    )


def _library(outcome: Outcome) -> str:
    stacks = [s.stack for run in outcome.evidence.bursts for s in run.samples if s.stack]
    if not stacks:
        return "the time is spent in libraries"
    names = [f"{stack[-1].module}.{stack[-1].function}" for stack in stacks]
    return "most common: " + max(set(names), key=names.count)


def _machine(evidence: Evidence) -> str:
    runs = evidence.bursts or evidence.singles
    delay = max(run.budget.descheduled for run in runs)
    calibration = evidence.calibration
    speed = f"CPU speed {round(1 / calibration.factor, 2)}× reference"
    if calibration.tracer is not None:
        speed += f" with {calibration.tracer} suspended"
    return f"excluded: {milliseconds(delay)} run-queue delay; {speed}"
