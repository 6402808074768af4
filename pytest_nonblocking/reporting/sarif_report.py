"""The report as SARIF 2.1.0, whose results code-scanning services show at the lines of the code."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import quote

import sarif_pydantic as sarif  # type: ignore[import-untyped]  # it has hints and no py.typed

from ..model import CAUSES, Cause
from .record import Record, Report

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_BASE = "%SRCROOT%"
_RULES: dict[Cause, tuple[str, str]] = {
    "blocking-call": (
        "A blocking call keeps the event loop",
        "An async handler waits in a blocking call: meanwhile no other request is served. Await an "
        "async client, make the handler a plain function, or await anyio.to_thread.run_sync(…).",
    ),
    "cpu-on-loop": (
        "CPU work keeps the event loop busy",
        "CPU work on the event loop delays every other request. Do less of it for each request, "
        "move it to a process pool, or to a thread where it releases the GIL.",
    ),
    "gil-contention": (
        "CPU work in threads waits for the GIL",
        "Threads run one at a time in Python: moving CPU work to them does not make room for other "
        "requests. Move it to a process pool.",
    ),
    "thread-pool": (
        "Requests queue for a worker thread",
        "More calls wait for a worker thread than there are threads. Await an async client, or "
        "enlarge the pool.",
    ),
    "serialised-wait": (
        "Requests queue for a lock or a pool",
        "The event loop is idle while requests wait for one another. Hold the lock for less, or "
        "enlarge the pool.",
    ),
}


def render(report: Report) -> str:
    """Return the whole file: one result for each failure, at its culprit's line."""
    driver = sarif.ToolDriver(
        name=report.tool.name,
        version=report.tool.version,
        rules=[_rule(cause) for cause in CAUSES],
    )
    run = sarif.Run(
        tool=sarif.Tool(driver=driver),
        results=list(_results(report.tests)),
        columnKind="unicodeCodePoints",
    )
    log = sarif.Sarif(schema_uri=_SCHEMA, runs=[run])
    text: str = log.model_dump_json(by_alias=True, exclude_none=True, indent=2)
    return text + "\n"


def _rule(cause: Cause) -> Any:
    title, text = _RULES[cause]
    return sarif.ReportingDescriptor(
        id=cause,
        name=cause.title().replace("-", ""),
        short_description=sarif.Message(text=title),
        full_description=sarif.Message(text=text),
        help=sarif.Message(text=text),
        default_configuration=sarif.ReportingConfiguration(level="error"),
        properties={"tags": ["performance", "asyncio"]},
    )


def _results(tests: Iterable[Record]) -> Iterable[Any]:
    for test in tests:
        if test.verdict != "fail" or test.cause is None:
            continue
        extra = {"suppressions": [{"kind": "external", "justification": "known failure"}]}
        yield sarif.Result(
            rule_id=test.cause,
            rule_index=CAUSES.index(test.cause),
            level=sarif.Level.ERROR,
            message=sarif.Message(text=test.message or f"{test.nodeid}: {test.cause}"),
            locations=[sarif.Location(physical_location=_location(test))],
            partial_fingerprints={"nonblocking/v1": _fingerprint(test)},
            properties={"test": test.nodeid},
            **(extra if test.accepted_by else {}),
        )


def _location(test: Record) -> Any:
    """Return the culprit's line, or the first line of the test's file where there is none."""
    file, line = test.nodeid.partition("::")[0], 1
    place = test.place
    if place is not None and not place.library:  # which is no file of the repository's
        file, line = place.file, place.line
    return sarif.PhysicalLocation(
        artifact_location=_artifact(file), region=sarif.Region(start_line=line)
    )


def _artifact(file: str) -> Any:
    for kind in (PurePosixPath, PureWindowsPath):
        if kind(file).is_absolute():
            return sarif.ArtifactLocation(uri=kind(file).as_uri())
    return sarif.ArtifactLocation(uri=quote(file), uri_base_id=_BASE)


def _fingerprint(test: Record) -> str:
    """Return what stays the same where lines shift."""
    place = [test.place.file, test.place.function] if test.place else []
    return hashlib.sha256("\0".join([test.nodeid, str(test.cause), *place]).encode()).hexdigest()
