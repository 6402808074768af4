"""The text of a failure: what was measured, the limit and its origin, where, and what to do."""

from __future__ import annotations

from pathlib import Path

from ..analysis.growth import growth_of
from ..analysis.queues import hangs_alone, pool_waited_for
from ..analysis.verdict import longest_callback
from ..causes import CAUSE_TEXTS, HANGS_HEADLINE, HANGS_MEASURED, Measure
from ..model import Cause, Culprit, Judgement, Outcome, Run
from . import guard_words
from .advice import fix_for
from .figures import (
    added_at_most,
    allowance_of,
    alone_of,
    burst_of,
    duration_setting,
    judged_burst,
    scaling_limit,
    slowdown_of,
)
from .places import relative, route_text
from .units import busy_threads, duration, milliseconds, plural, rate, setting_text, times

_WORTH_FIXING = 0.1
_WORTH_SAYING = 0.001
_NO_NOISE = 0.00005
"""Seconds that are shown as no time."""
_NO_SUM = 0.03
"""Share of a burst by which its parts may miss it: they are medians of several runs."""
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
        *_allowed_alone(outcome, judgement.cause),
        *_others(judgement),
        *_where(outcome, rootdir),
        _row("machine", _machine(outcome)),
        _row("fix", fix_for(judgement.cause, outcome.culprit, outcome.evidence)),
    ]
    if "guard" in judgement.reasons and (more := _guarded(outcome, outcome.culprit, rootdir)):
        rows += [f"  It also {guard_words.HEADLINE}:", *more]
    return "\n".join(rows)


def _guarded(outcome: Outcome, culprit: Culprit | None, rootdir: Path) -> list[str]:
    rows = guard_words.rows(outcome.findings, outcome.evidence, outcome.limits, culprit, rootdir)
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


def _measured(outcome: Outcome) -> list[str]:
    judgement, evidence = outcome.judgement, outcome.evidence
    if (late := evidence.late) is not None:
        limit = outcome.limits["timeout"]
        within = setting_text("timeout", duration(limit.value), limit)
        copies = plural(late.concurrency, "copy", "copies")
        if len(late.latencies) == late.concurrency:
            return [f"  {copies} finished only after {within}"]
        return [f"  {len(late.latencies)} of {copies} finished within {within}"]
    if judgement.serial is None:
        single = plural(len(evidence.singles), "single run")
        guilty, judged = judgement.guilty_runs, judgement.judged_runs
        runs = f"each of {single}" if guilty >= judged else f"{guilty} of {single}"
        runs = "the only run" if evidence.watched else runs
        took = milliseconds(judged_burst(evidence).makespan)
        return [f"  measured in {runs}, which took {took}; scaling was not judged"]
    assert judgement.cause is not None
    each = CAUSE_TEXTS[judgement.cause].per_request
    rows = [
        f"  {each} {milliseconds(judgement.serial)}: {_sum(outcome, judgement.serial)}",
        _row("judged", _judged(outcome)),
    ]
    if judgement.serial > 0 and "scaling" in judgement.reasons:
        text = f"at most {rate(1 / judgement.serial)} per process, at any concurrency"
        rows.append(_row("ceiling", text))
    return rows


def _sum(outcome: Outcome, serial: float) -> str:
    """Return how long the judged burst took, as a sum if it is one."""
    burst, alone = burst_of(outcome), alone_of(outcome.evidence)
    noise = burst.budget.taken
    rest = burst.makespan - alone - (burst.concurrency - 1) * serial
    took, one = milliseconds(burst.makespan), milliseconds(alone)
    if abs(rest - noise) > _NO_SUM * burst.makespan:
        lost = f" with {milliseconds(noise)} of noise" if noise >= _NO_NOISE else ""
        later = _after_responses(burst)
        after = f" and {milliseconds(later)} after the last response" if later >= -rest / 2 else ""
        return f"{burst.concurrency} at once took {took}{lost}{after}, one takes {one}"
    parts = f"{one} for one, {milliseconds(serial)} for each of {burst.concurrency - 1} more"
    if rest >= _NO_NOISE:
        parts += f", {milliseconds(rest)} of noise"
    return f"{burst.concurrency} at once took {took} ({parts})"


def _after_responses(burst: Run) -> float:
    """Return for how many seconds the loop worked, or waited for the GIL, after the responses."""
    after = burst.after
    return after.cpu + after.gc + after.blocked + after.gil


def _judged(outcome: Outcome) -> str:
    judgement, judged = outcome.judgement, outcome.judgement.judged
    fraction = judgement.serial_fraction if judged is None else judged.fraction
    text = f"serial fraction {fraction:.2f}"
    if judged is not None:
        text += f" ({judged.low:.2f} to {judged.high:.2f})"
    held = "within" if judged is not None and judged.high <= judged.limit else "limit"
    text += f", {held} {scaling_limit(outcome)}"
    if judgement.serial and judgement.excess and _leaves_out(outcome, judgement.serial):
        text += f"; not counted: CPU up to {allowance_of(outcome).text}"
        if judgement.allowed:
            text += f", {', '.join(judgement.allowed)} (allow)"
    return text


def _leaves_out(outcome: Outcome, serial: float) -> bool:
    """Return whether what is not counted is a tenth of ``serial``, or most of the allowance."""
    left_out = serial - (outcome.judgement.excess or 0.0)
    return left_out > min(0.1 * serial, 0.9 * allowance_of(outcome).seconds)


def _explained(outcome: Outcome, cause: Cause) -> str:
    """Return what was measured of ``cause``, with the limit that it exceeds and its setting."""
    if hangs_alone(outcome.evidence):
        return HANGS_MEASURED
    text, judgement = CAUSE_TEXTS[cause], outcome.judgement
    known = ""
    if cause == "blocking-call" and outcome.culprit and outcome.culprit.blocks_in:
        known = f"{outcome.culprit.blocks_in}, "
    step = text.in_callback
    if step is not None and step.setting is not None and _exceeds(step.setting, judgement):
        seconds = getattr(judgement, step.setting)
        limit = duration_setting(step.setting, outcome)
        return f"{known}{_described(step, seconds, outcome)}, limit {limit}"
    described = known + _described(text.in_burst, _each(text.in_burst, outcome), outcome)
    most = added_at_most(outcome)
    if "scaling" not in judgement.reasons or most is None:
        return described
    if text.in_burst.setting is not None:
        described += f", of which {allowance_of(outcome).text} is not counted"
    return f"{described}; limit {milliseconds(most)} per request, max_serial_fraction"


def _exceeds(setting: str, judgement: Judgement) -> bool:
    return setting.removeprefix("max_") in judgement.reasons


def _each(measure: Measure, outcome: Outcome) -> float:
    """Return what ``measure`` describes: seconds per request of the judged burst."""
    burst, evidence = burst_of(outcome), outcome.evidence
    if evidence.singles and burst.concurrency > 1 and measure.part in ("cpu", "blocked"):
        growth = growth_of(burst, evidence.singles, evidence.calibration)
        return growth.cpu if measure.part == "cpu" else growth.blocked
    seconds: float = getattr(burst.budget, measure.part)
    if measure.part == "other_cpu":
        seconds += burst.after.other_cpu  # background work
    return seconds / burst.concurrency


def _described(measure: Measure, seconds: float, outcome: Outcome) -> str:
    facts = {"amount": milliseconds(seconds)}
    if "{blocked}" in measure.text:
        longest = longest_callback(outcome.evidence)
        blocked = longest.blocked if longest is not None and longest.witnessed else 0.0
        if blocked >= _WORTH_FIXING * seconds:
            facts["amount"] = milliseconds(seconds - blocked)
            facts["blocked"] = f" and {milliseconds(blocked)} blocked: {milliseconds(seconds)}"
        else:
            facts["blocked"] = ""
    if "{idle}" in measure.text:
        burst = burst_of(outcome)
        idle, whole = milliseconds(burst.budget.idle), milliseconds(burst.makespan)
        facts["idle"] = f"{idle} of {whole}"
    if "{loop}" in measure.text:
        facts["loop"] = _free_loop(outcome.judgement)
    if "{threads}" in measure.text:
        # A timeout may come before the pools have been looked at.
        evidence = outcome.evidence
        pool = pool_waited_for(evidence.bursts or evidence.singles, evidence.singles)
        facts["threads"] = busy_threads(pool) if pool else "all worker threads were"
        facts["calls"] = plural(pool.waiting, "call") if pool else "calls"
    return measure.text.format(**facts)


def _free_loop(judgement: Judgement) -> str:
    if "lag" in judgement.reasons or "blocked" in judgement.reasons:
        return ""
    longest = judgement.max_lag
    shown = f"longest callback {milliseconds(longest)}" if longest else "no long callback"
    return f"; the event loop itself is free ({shown})"


def _allowed_alone(outcome: Outcome, cause: Cause) -> list[str]:
    """Return a row where each callback is within its own limit, and only their sum is not."""
    step, judgement = CAUSE_TEXTS[cause].in_callback, outcome.judgement
    if step is None or step.setting is None or judgement.reasons != ("scaling",):
        return []
    longest, limit = getattr(judgement, step.setting), outcome.limits[step.setting]
    is_news = limit.origin != "default" or longest >= limit.value / 2
    if not 0 < longest <= limit.value or not is_news:
        return []
    setting = duration_setting(step.setting, outcome)
    return [
        _row(
            "limits",
            f"a callback of {milliseconds(longest)} is within {setting}, but callbacks run one "
            "after another: their sum is held to max_serial_fraction",
        )
    ]


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
        copies = f"{culprit.samples} of {plural(culprit.of, 'copy', 'copies')}"
        if "timeout" in judgement.reasons and culprit.of > 1:
            return f"up to {copies} waited there at once"
        return f"{copies} {'waits' if culprit.samples == 1 else 'wait'} there"
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


def _machine(outcome: Outcome) -> str:
    """Return what was excluded from the figures of the judged burst."""
    budget, calibration = burst_of(outcome).budget, outcome.evidence.calibration
    slowdown = times(slowdown_of(outcome))
    speed = "CPU at reference speed"
    if slowdown != "1":
        speed = f"CPU {slowdown}× slower than the reference"
    if calibration.tracer is not None:
        speed += f" with {calibration.tracer} suspended"
    excluded = f"{milliseconds(budget.descheduled)} run-queue delay"
    if budget.own >= _WORTH_SAYING:
        excluded += f", {milliseconds(budget.own)} of the plugin's own"
    return f"excluded: {excluded}; {speed}"
