"""Annotations of GitHub Actions: commands in the log that show a failure at its line of code."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from . import escaped
from .places import in_repository
from .record import Record
from .sessions import repository
from .shared_culprits import Failure, headline, whole

_IN_TEXT = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_IN_PROPERTY = _IN_TEXT | str.maketrans({":": "%3A", ",": "%2C"})


def commands(
    records: Iterable[Record], rootdir: Path, environ: Mapping[str, str] = os.environ
) -> list[str]:
    """Return a command for each culprit of a failure, none where GitHub Actions does not run."""
    if environ.get("GITHUB_ACTIONS") != "true":
        return []
    failures = [
        Failure(record, record.message)
        for record in records
        if record.message and not record.accepted_by
    ]
    top = repository(rootdir, environ)
    return [_command(failure, rootdir, top) for failure in whole(failures)]


def _command(failure: Failure, rootdir: Path, top: Path | None) -> str:
    file, line = failure.record.line_of_repository
    properties = {"title": headline(failure.record)}
    if failure.record.place is not None or (rootdir / file).exists():  # a scan has no file
        properties = {
            "file": in_repository(file, rootdir, top),
            "line": str(line),
        } | properties
    shown = ",".join(f"{name}={text.translate(_IN_PROPERTY)}" for name, text in properties.items())
    return f"::error {shown}::{escaped.lines(failure.text).translate(_IN_TEXT)}"
