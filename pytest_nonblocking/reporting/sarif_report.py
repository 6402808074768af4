"""The report as SARIF 2.1.0, whose results code-scanning services show at the lines of the code."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import quote

import sarif_pydantic as sarif  # type: ignore[import-untyped]  # it has hints and no py.typed

from ..causes import CAUSE_TEXTS
from ..model import CAUSES, Cause
from .places import in_repository
from .record import Record, Report
from .sessions import repository

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_BASE = "%SRCROOT%"


def render(report: Report, rootdir: Path) -> str:
    """Return the whole file: one result for each failure, at its culprit's line.

    Its paths are those of the repository, which pytest's rootdir may be below.
    """
    driver = sarif.ToolDriver(
        name=report.tool.name,
        version=report.tool.version,
        information_uri=_homepage(),
        rules=[_rule(cause) for cause in CAUSES],
    )
    run = sarif.Run(
        tool=sarif.Tool(driver=driver),
        results=list(_results(report.tests, rootdir)),
        columnKind="unicodeCodePoints",
    )
    log = sarif.Sarif(schema_uri=_SCHEMA, runs=[run])
    text: str = log.model_dump_json(by_alias=True, exclude_none=True, indent=2)
    return text + "\n"


def _homepage() -> str | None:
    """Return where the installed package says that its documentation is, or else its home page."""
    shown = metadata.metadata("pytest-nonblocking").get_all("Project-URL") or ()
    urls = {name.strip().lower(): url.strip() for name, _, url in (s.partition(",") for s in shown)}
    return urls.get("documentation") or urls.get("homepage")


def _rule(cause: Cause) -> Any:
    text = CAUSE_TEXTS[cause]
    return sarif.ReportingDescriptor(
        id=cause,
        name=cause.title().replace("-", ""),
        short_description=sarif.Message(text=text.title),
        full_description=sarif.Message(text=text.explanation),
        help=sarif.Message(text=f"{text.explanation} To fix it, {text.fix}."),
        help_uri=_homepage(),
        default_configuration=sarif.ReportingConfiguration(level="error"),
        properties={"tags": ["performance", "asyncio"]},
    )


def _results(tests: Iterable[Record], rootdir: Path) -> Iterable[Any]:
    top = repository(rootdir)
    for test in tests:
        if test.verdict != "fail" or test.cause is None:
            continue
        extra = {"suppressions": [{"kind": "external", "justification": "known failure"}]}
        file, line = test.line_of_repository
        place = sarif.PhysicalLocation(
            artifact_location=_artifact(in_repository(file, rootdir, top)),
            region=sarif.Region(start_line=line),
        )
        yield sarif.Result(
            rule_id=test.cause,
            rule_index=CAUSES.index(test.cause),
            level=sarif.Level.ERROR,
            message=sarif.Message(text=test.message or f"{test.nodeid}: {test.cause}"),
            locations=[sarif.Location(physical_location=place)],
            partial_fingerprints={"nonblocking/v1": _fingerprint(test)},
            properties={"test": test.nodeid},
            **(extra if test.accepted_by else {}),
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
