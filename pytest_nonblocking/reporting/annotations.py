"""Annotations of GitHub Actions: commands in the log that show a failure at its line of code."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from . import escaped
from .record import Record
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
    workspace = environ.get("GITHUB_WORKSPACE")
    return [_command(failure, rootdir, workspace) for failure in whole(failures)]


def _command(failure: Failure, rootdir: Path, workspace: str | None) -> str:
    file, line = failure.record.line_of_repository
    properties = {"title": headline(failure.record)}
    if failure.record.place is not None or (rootdir / file).exists():  # a scan has no file
        properties = {
            "file": _in_repository(file, rootdir, workspace),
            "line": str(line),
        } | properties
    shown = ",".join(f"{name}={text.translate(_IN_PROPERTY)}" for name, text in properties.items())
    return f"::error {shown}::{escaped.lines(failure.text).translate(_IN_TEXT)}"


def _in_repository(file: str, rootdir: Path, workspace: str | None) -> str:
    """Return a path from the repository's top folder, which pytest's rootdir may be below."""
    path = rootdir / file
    if workspace and path.is_relative_to(workspace):
        return path.relative_to(workspace).as_posix()
    return file
