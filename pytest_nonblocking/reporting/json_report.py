"""The JSON report, schema version 1: plain data that also crosses between xdist's processes."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from ..model import Budget, Calibration, Culprit, Outcome, Run
from . import details
from .failure import failure_text, relative, route_text

SCHEMA_VERSION = 1
_BUDGET = ("cpu", "blocked", "gil", "gc", "descheduled", "idle", "own", "other_cpu")


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the report."""
    text = resources.files(__package__).joinpath("report.schema.json").read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def environment(calibration: Calibration) -> dict[str, Any]:
    """Return where the measurements were made."""
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "loop": calibration.loop,
        "clock": calibration.clock,
        "machine_factor": round(calibration.factor, 3),
        "tracer": calibration.tracer,
    }


def record(outcome: Outcome, rootdir: Path) -> dict[str, Any]:
    """Return the entry of one test."""
    judgement, evidence, culprit = outcome.judgement, outcome.evidence, outcome.culprit
    serial = judgement.serial
    return {
        "nodeid": outcome.nodeid,
        "target": outcome.target,
        "verdict": judgement.verdict,
        "reasons": list(judgement.reasons),
        "cause": judgement.cause,
        "culprit": None if culprit is None else _culprit(culprit, rootdir),
        "message": failure_text(outcome, rootdir) if judgement.verdict == "fail" else None,
        "accepted_by": None,  # until the baseline does
        "allowed": list(judgement.allowed),
        "notes": list(outcome.notes),
        "serial_fraction": _rounded(judgement.serial_fraction),
        "judged": None
        if judgement.judged is None
        else {
            name: _rounded(getattr(judgement.judged, name))
            for name in ("fraction", "low", "high", "limit")
        },
        "causes": [{"cause": cause, "share": round(share, 3)} for cause, share in judgement.causes],
        "serial_ms": None if serial is None else _ms(serial),
        "ceiling_rps": None if not serial else round(1 / serial, 1),
        "max_lag_ms": _ms(judgement.max_lag),
        "max_blocked_ms": _ms(judgement.max_blocked),
        "wall_s": round(outcome.wall, 4),
        "levels": [_level(concurrency, runs) for concurrency, runs in _by_level(outcome).items()],
        "limits": {
            name: {"value": limit.value, "from": limit.origin}
            for name, limit in outcome.limits.items()
        },
        "timeline": details.timeline(evidence),
        "stacks": details.stacks(evidence, judgement.cause, rootdir, outcome.packages),
        "environment": environment(evidence.calibration),
    }


def _culprit(culprit: Culprit, rootdir: Path) -> dict[str, Any]:
    return {
        "file": relative(culprit.file, rootdir),
        "line": culprit.line,
        "function": culprit.function,
        "code": culprit.code,
        "calls": list(culprit.calls),
        "samples": culprit.samples,
        "of": culprit.of,
        "library": culprit.library,
        "route": None if culprit.route is None else route_text(culprit.route, rootdir),
        "source": details.source(culprit),
    }


def document(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the whole report."""
    tests = [dict(entry) for entry in records]
    environments = [entry.pop("environment") for entry in tests]
    # A test that was not measured knows nothing of the machine.
    environments = [
        found for found, entry in zip(environments, tests, strict=True) if entry["levels"]
    ] or environments
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "pytest-nonblocking", "version": metadata.version("pytest-nonblocking")},
        "environment": environments[0] if environments else environment(Calibration()),
        "tests": tests,
    }


def render(document: dict[str, Any]) -> str:
    """Return the text of the file."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _by_level(outcome: Outcome) -> dict[int, list[Run]]:
    levels: dict[int, list[Run]] = {}
    for run in (*outcome.evidence.singles, *outcome.evidence.bursts):
        levels.setdefault(run.concurrency, []).append(run)
    return dict(sorted(levels.items()))


def _level(concurrency: int, runs: list[Run]) -> dict[str, Any]:
    middle = sorted(runs, key=lambda run: run.makespan)[(len(runs) - 1) // 2]
    latencies = sorted(latency for run in runs for latency in run.latencies)
    return {
        "concurrency": concurrency,
        "rounds": len(runs),
        "makespan_ms": _ms(statistics.median(run.makespan for run in runs)),
        "latency_ms": {
            "min": _ms(_quantile(latencies, 0.0)),
            "p50": _ms(_quantile(latencies, 0.5)),
            "p95": _ms(_quantile(latencies, 0.95)),
            "max": _ms(_quantile(latencies, 1.0)),
        },
        "budget_ms": _budget(middle.budget),
        "pressure_ms": _ms(middle.pressure.waiting),
        "residual_ms": _ms(middle.residual),
    }


def _quantile(ordered: list[float], share: float) -> float | None:
    """Return the nearest-rank quantile, None where no copy finished."""
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _budget(budget: Budget) -> dict[str, float | None]:
    return {name: _ms(getattr(budget, name)) for name in _BUDGET}


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
