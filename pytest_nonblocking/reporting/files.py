"""The files of ``--nonblocking-report``: the ending of a name chooses the writer."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ..settings import Settings
from . import json_report

WRITERS: dict[str, Callable[[Path, Sequence[dict[str, Any]]], None]] = {
    ".json": json_report.write,
}


def _paths(settings: Settings, config: pytest.Config) -> list[Path]:
    # A flag is relative to where pytest was called, an ini value to the ini file.
    from_flag = settings.origins["report"].startswith("--")
    base = config.invocation_params.dir if from_flag else config.rootpath
    return [base / name for name in settings.report]


def check_paths(settings: Settings, config: pytest.Config) -> None:
    """Raise pytest.UsageError for a file that could not be written at the end of the run."""
    origin = settings.origins["report"]
    for path in _paths(settings, config):
        if path.suffix not in WRITERS:
            raise pytest.UsageError(
                f"{origin}: cannot write {path.name!r}: the ending must be one of "
                f"{', '.join(WRITERS)}"
            )
        if path.is_dir():
            raise pytest.UsageError(f"{origin}: cannot write {path}: it is a folder")
        if path.exists() and not os.access(path, os.W_OK):
            raise pytest.UsageError(f"{origin}: cannot write {path}: it is read-only")
        try:
            with tempfile.TemporaryFile(dir=path.parent):
                pass
        except OSError as error:
            raise pytest.UsageError(f"{origin}: cannot write {path}: {error}") from None


def write_all(settings: Settings, config: pytest.Config, records: list[dict[str, Any]]) -> None:
    """Write every report; a file that fails now is told and does not keep the others."""
    for path in _paths(settings, config):
        try:
            WRITERS[path.suffix](path, records)
        except OSError as error:
            config.issue_config_time_warning(
                pytest.PytestWarning(f"nonblocking: the report {path} was not written: {error}"), 2
            )
