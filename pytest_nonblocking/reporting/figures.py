"""The figure on which a verdict rests, with its bounds, its limit and the setting behind it."""

from __future__ import annotations

from statistics import median
from typing import NamedTuple

from .. import model
from ..analysis.growth import growth_of, pace_of
from ..analysis.queues import pool_waited_for
from ..analysis.tolerances import LEAST_EXCESS
from ..model import Evidence, Outcome, Run
from .record import Deciding, Figure, Judged, Record
from .units import milliseconds, setting_text

_SCALED = ("max_lag", "cpu_allowance")
"""Settings that are durations of computing, which a slower machine extends."""
_WORTH_SAYING = 0.001


def judged_burst(evidence: Evidence) -> Run:
    """Return the burst whose figures are shown: the one that was judged.

    Without a judged burst it is the middle one by makespan, without bursts the last single run.
    """
    level = max((run.concurrency for run in evidence.bursts), default=0)
    runs = sorted(evidence.bursts_of(level), key=lambda run: run.makespan)
    return runs[(len(runs) - 1) // 2] if runs else evidence.singles[-1]


def burst_of(outcome: Outcome) -> Run:
    """Return the burst from which the serial demand of ``outcome`` comes."""
    evidence, serial = outcome.evidence, outcome.judgement.serial
    usual = judged_burst(evidence)
    if serial is None or not evidence.singles:
        return usual
    same = (
        run
        for run in evidence.bursts_of(usual.concurrency)
        if growth_of(run, evidence.singles).serial == serial
    )
    return next(same, usual)


def alone_of(evidence: Evidence) -> float:
    """Return how long one request takes in seconds, without what the machine and we took."""
    return median(run.undisturbed for run in evidence.singles)


def slowdown_of(outcome: Outcome) -> float:
    """Return the slowdown of the machine around the judged burst, at least 1."""
    return pace_of(burst_of(outcome), outcome.evidence.calibration)


def duration_setting(name: str, outcome: Outcome) -> str:
    """Return the setting ``name``, a duration, as it was applied."""
    limit = outcome.limits[name]
    slowdown = slowdown_of(outcome) if name in _SCALED else 1.0
    return setting_text(name, milliseconds(limit.value), limit, slowdown)


class Allowance(NamedTuple):
    """CPU seconds of one copy that are not counted, and the setting as text."""

    seconds: float
    text: str


def allowance_of(outcome: Outcome) -> Allowance:
    """Return the CPU allowance of one copy, which may make several requests."""
    burst = burst_of(outcome)
    each = max(1.0, burst.requests / burst.concurrency)
    seconds = outcome.limits["cpu_allowance"].value * each * slowdown_of(outcome)
    text = duration_setting("cpu_allowance", outcome)
    return Allowance(seconds, f"{text} × {each:g} requests" if each > 1 else text)


def scaling_limit(outcome: Outcome) -> str:
    """Return the limit of the serial fraction with its setting, or the least that is judged."""
    limit, judged = outcome.limits["max_serial_fraction"], outcome.judgement.judged
    setting = setting_text("max_serial_fraction", f"{limit.value:.2f}", limit)
    if judged is None or judged.limit <= 1.01 * limit.value:
        return setting
    least = f"{milliseconds(LEAST_EXCESS)} per request: less never fails"
    return f"{judged.limit:.2f} ({least}), {setting}"


def added_at_most(outcome: Outcome) -> float | None:
    """Return the limit of what an additional request may add, in seconds, None if not judged."""
    judged, excess = outcome.judgement.judged, outcome.judgement.excess
    if judged is None or excess is None or judged.fraction <= 0:
        return None
    return max(LEAST_EXCESS, excess / judged.fraction * judged.limit)


def figure_of(outcome: Outcome) -> Figure | None:
    """Return the figure on which the verdict rests, None where it rests on none."""
    judgement, reasons = outcome.judgement, outcome.judgement.reasons
    if "timeout" in reasons:
        late = max(run.makespan for run in outcome.evidence.runs if run.timed_out)
        return _figure("timeout", late * 1000, outcome.limits["timeout"].value * 1000)
    if reasons and "scaling" not in reasons:
        if "blocked" in reasons:
            return _callback("max_blocked", outcome)
        return _callback("max_lag", outcome) if "lag" in reasons else None
    if "max_blocked" in judgement.near:
        return _callback("max_blocked", outcome)
    if "max_lag" in judgement.near or (judgement.judged is None and outcome.evidence.singles):
        return _callback("max_lag", outcome)
    if (judged := judgement.judged) is None:
        return None
    return _fraction(judged)


def _fraction(judged: model.Judged | Judged) -> Figure:
    return Figure(
        setting="max_serial_fraction",
        unit="fraction",
        value=round(judged.fraction, 4),
        low=round(judged.low, 4),
        high=round(judged.high, 4),
        limit=round(judged.limit, 4),
    )


def _callback(setting: Deciding, outcome: Outcome) -> Figure:
    slowdown = slowdown_of(outcome) if setting in _SCALED else 1.0
    longest = getattr(outcome.judgement, setting)
    return _figure(setting, longest * 1000, outcome.limits[setting].value * slowdown * 1000)


def _figure(setting: Deciding, value: float, limit: float) -> Figure:
    return Figure(setting=setting, unit="ms", value=round(value, 3), limit=round(limit, 3))


# In a table


def shown(record: Record) -> tuple[str, str, str]:
    """Return the figure of ``record``, its bounds and its limit as a table shows them."""
    figure = record.figure
    by_guard = record.verdict == "fail" and tuple(record.reasons) == ("guard",)
    if figure is None and record.judged is not None and not by_guard:  # of an earlier version
        figure = _fraction(record.judged)
    if figure is None:
        return "-", "-", "-"
    if figure.unit == "ms":
        return milliseconds(figure.value / 1000), "-", milliseconds(figure.limit / 1000)
    bounds = "-" if figure.low is None else f"{figure.low:.2f}–{figure.high:.2f}"
    return f"{figure.value:.2f}", bounds, f"{figure.limit:.2f}"


def looks_worse(record: Record) -> bool:
    """Return whether a pass has a serial demand over its limit, which needs an explanation."""
    if record.verdict != "pass" or record.serial_fraction is None or record.judged is None:
        return False
    return record.serial_fraction > record.judged.limit


# Why a pass is one


def why_passed(outcome: Outcome) -> str | None:
    """Return what keeps a pass within its limits, None for any other verdict."""
    judgement = outcome.judgement
    if judgement.verdict != "pass":
        return None
    if judgement.judged is None or judgement.excess is None:
        longest = milliseconds(judgement.max_lag)
        held = f"the longest callback held the loop for {longest}"
        if not judgement.max_lag:
            held = "no callback held the loop for long"
        return f"{held}, limit {duration_setting('max_lag', outcome)}"
    adds = milliseconds(judgement.excess)
    parts = [
        *_accepted(outcome),
        *_allowed_cpu(outcome),
        *_offloaded(judgement),
        *_few_cores(outcome.evidence),
        f"serial fraction {judgement.judged.fraction:.2f} ({adds} per additional request), limit "
        f"{scaling_limit(outcome)}",
    ]
    return "; ".join(parts)


def _accepted(outcome: Outcome) -> list[str]:
    allowed = ", ".join(outcome.judgement.allowed)
    return [f"allow (from {outcome.limits['allow'].origin}) accepts {allowed}"] if allowed else []


def _allowed_cpu(outcome: Outcome) -> list[str]:
    burst, evidence = burst_of(outcome), outcome.evidence
    cpu = growth_of(burst, evidence.singles, evidence.calibration).cpu
    if cpu < _WORTH_SAYING:
        return []
    seconds, setting = allowance_of(outcome)
    who = "copy" if burst.requests > burst.concurrency else "request"
    shown = f"{milliseconds(cpu)} of CPU per {who}"
    if cpu <= seconds:
        return [f"{shown}, within {setting}"]
    return [f"{shown}, of which {setting} is not counted"]


def _offloaded(judgement: model.Judgement) -> list[str]:
    if judgement.offloaded < _WORTH_SAYING:
        return []
    cpu = milliseconds(judgement.offloaded)
    return [f"{cpu} of CPU per request in threads or processes that run in parallel"]


def _few_cores(evidence: Evidence) -> list[str]:
    pool = pool_waited_for(evidence.bursts, evidence.singles)
    if pool is None or not pool.sized_by_cpu_count:
        return []
    return [
        f"the queue for the {pool.size} threads of the {pool.name} is due to this machine's CPUs"
    ]
