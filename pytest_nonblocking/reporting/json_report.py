"""From an outcome to its record, and the report as JSON."""

from __future__ import annotations

import os
import platform
import sys
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import fields
from importlib import metadata
from pathlib import Path
from typing import Any

from .. import model
from ..model import Calibration, Outcome, Run
from . import details, guard_words
from .advice import fix_for
from .failure import failure_text
from .figures import alone_of, burst_of, figure_of, why_passed
from .places import relative, route_text
from .plain import from_plain, schema_of, text_of, to_plain
from .record import (
    Budget,
    Culprit,
    Environment,
    Finding,
    Judged,
    Latency,
    Level,
    Limit,
    Measurement,
    Record,
    Report,
    Request,
    Round,
    Session,
    Share,
    Tool,
)

# Read before a test can patch what they are read with.
_PYTHON = platform.python_version()
_IMPLEMENTATION = platform.python_implementation()
_PLATFORM = platform.platform()
_CPU_COUNT = os.cpu_count()


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the report, which is also in ``report.schema.json``."""
    return schema_of(Report, "pytest-nonblocking report")


def environment(calibration: Calibration) -> Environment:
    """Return where the measurements were made."""
    return Environment(
        python=_PYTHON,
        implementation=_IMPLEMENTATION,
        platform=_PLATFORM,
        cpu_count=_CPU_COUNT,
        loop=calibration.loop,
        clock=calibration.clock,
        machine_factor=round(calibration.factor, 3),
        tracer=calibration.tracer,
    )


def measurement(outcome: Outcome, rootdir: Path) -> Measurement:
    """Return the record of one test and where it was measured; raises DoesNotFitError.

    A record that no reader would take is refused here, where it costs one test its verdict, and
    not at the end of the run.
    """
    measured = Measurement(
        record=_record(outcome, rootdir), environment=environment(outcome.evidence.calibration)
    )
    return from_plain(Measurement, to_plain(measured))


def _record(outcome: Outcome, rootdir: Path) -> Record:
    judgement, evidence, culprit = outcome.judgement, outcome.evidence, outcome.culprit
    serial, judged = judgement.serial, judgement.judged
    return Record(
        nodeid=outcome.nodeid,
        target=outcome.target,
        verdict=judgement.verdict,
        reasons=judgement.reasons,
        cause=judgement.cause,
        culprit=None if culprit is None else _culprit(culprit, rootdir),
        message=failure_text(outcome, rootdir) if judgement.verdict == "fail" else None,
        fix=_fix(outcome),
        allowed=judgement.allowed,
        guard=tuple(_finding(one, outcome, rootdir) for one in outcome.findings),
        notes=outcome.notes,
        serial_fraction=_rounded(judgement.serial_fraction),
        judged=None if judged is None else _judged(judged),
        figure=figure_of(outcome),
        why=why_passed(outcome),
        causes=tuple(Share(cause=one, share=round(share, 3)) for one, share in judgement.causes),
        alone_ms=_ms(alone_of(evidence)) if evidence.singles else None,
        serial_ms=_maybe_ms(serial),
        ceiling_rps=None if not serial else round(1 / serial, 1),
        max_lag_ms=_ms(judgement.max_lag),
        max_blocked_ms=_ms(judgement.max_blocked),
        wall_s=round(outcome.wall, 4),
        levels=tuple(_level(level, runs) for level, runs in _by_level(outcome).items()),
        limits={
            name: Limit(value=limit.value, from_=limit.origin)
            for name, limit in outcome.limits.items()
        },
        timeline=details.timeline(burst_of(outcome)) if evidence.bursts else None,
        stacks=details.stacks(evidence, judgement.cause, rootdir, outcome.packages),
        requests=tuple(map(_request, evidence.sent)),
    )


def _request(sent: model.Sent) -> Request:
    text = sent.body.decode("utf-8", "replace")
    # A record holds no control characters, of which a multipart body is full.
    is_text = all(one.isprintable() or one in "\n\t" for one in text) and "\ufffd" not in text
    return Request(
        method=sent.method,
        path=sent.path,
        headers=dict(sent.headers),
        body=text if is_text else b64encode(sent.body).decode("ascii"),
        encoding="text" if is_text else "base64",
        left_out=sent.left_out,
    )


def _fix(outcome: Outcome) -> str | None:
    judgement = outcome.judgement
    if judgement.verdict != "fail" or judgement.cause is None or judgement.reasons == ("guard",):
        return None  # the guard's findings have fixes of their own
    return fix_for(judgement.cause, outcome.culprit, outcome.evidence)


def _culprit(culprit: model.Culprit, rootdir: Path) -> Culprit:
    return Culprit(
        file=relative(culprit.file, rootdir),
        line=culprit.line,
        function=culprit.function,
        code=culprit.code,
        calls=culprit.calls,
        samples=culprit.samples,
        of=culprit.of,
        library=culprit.library,
        route=None if culprit.route is None else route_text(culprit.route, rootdir),
        source=details.source(culprit),
    )


def _finding(finding: model.Finding, outcome: Outcome, rootdir: Path) -> Finding:
    return Finding(
        category=finding.category,
        functions=finding.functions,
        file=relative(finding.file, rootdir),
        line=finding.line,
        function=finding.function,
        code=finding.code,
        calls=finding.calls,
        times=finding.times,
        took_ms=_ms(finding.seconds),
        library=finding.library,
        route=None if finding.route is None else route_text(finding.route, rootdir),
        accused=finding.is_accused(guard_words.held(outcome.limits)),
        fix=guard_words.fix_of(finding, outcome.evidence.calibration.loop),
    )


def _judged(judged: model.Judged) -> Judged:
    return Judged(
        fraction=round(judged.fraction, 4),
        low=round(judged.low, 4),
        high=round(judged.high, 4),
        limit=round(judged.limit, 4),
    )


def document(measurements: Sequence[Measurement], session: Session | None = None) -> Report:
    """Return the whole report."""
    # A test that was not measured knows nothing of the machine.
    made = [one for one in measurements if one.record.levels] or measurements
    return Report(
        schema_version=1,
        tool=Tool(name="pytest-nonblocking", version=metadata.version("pytest-nonblocking")),
        environment=made[0].environment if made else environment(Calibration()),
        tests=tuple(one.record for one in measurements),
        session=session,
    )


def render(report: Report) -> str:
    """Return the text of the file."""
    return text_of(report)


def _by_level(outcome: Outcome) -> dict[int, list[Run]]:
    levels: dict[int, list[Run]] = {}
    for run in (*outcome.evidence.singles, *outcome.evidence.bursts):
        levels.setdefault(run.concurrency, []).append(run)
    return dict(sorted(levels.items()))


def _level(concurrency: int, runs: list[Run]) -> Level:
    middle = sorted(runs, key=lambda run: run.makespan)[(len(runs) - 1) // 2]
    latencies = sorted(latency for run in runs for latency in run.latencies)
    return Level(
        concurrency=concurrency,
        rounds=len(runs),
        makespan_ms=_ms(middle.makespan),
        latency_ms=Latency(
            min=_maybe_ms(_quantile(latencies, 0.0)),
            p50=_maybe_ms(_quantile(latencies, 0.5)),
            p95=_maybe_ms(_quantile(latencies, 0.95)),
            max=_maybe_ms(_quantile(latencies, 1.0)),
        ),
        budget_ms=Budget(
            **{one.name: _ms(getattr(middle.budget, one.name)) for one in fields(Budget)}
        ),
        pressure_ms=_ms(middle.pressure.waiting),
        residual_ms=_ms(middle.residual),
        runs=tuple(
            Round(
                makespan_ms=_ms(run.makespan),
                p50_ms=_maybe_ms(_quantile(sorted(run.latencies), 0.5)),
            )
            for run in runs
        ),
    )


def _quantile(ordered: list[float], share: float) -> float | None:
    """Return the nearest-rank quantile, None where no copy finished."""
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _maybe_ms(seconds: float | None) -> float | None:
    return None if seconds is None else _ms(seconds)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


if __name__ == "__main__":
    sys.stdout.write(text_of(schema()))
