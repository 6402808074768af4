"""The files of ``--nonblocking-report``: the ending of a name chooses the writer."""

from __future__ import annotations

import contextlib
import functools
import importlib
import itertools
import os
import stat
import tempfile
from collections.abc import Sequence
from importlib import util
from pathlib import Path
from typing import NamedTuple

import pytest

from ..config import Settings
from . import escaped, history, sessions
from .atomic import write_text
from .json_report import document
from .loading import BadFileError
from .plain import one_line
from .record import Measurement, Report


class _Writer(NamedTuple):
    """A module with ``render(report) -> str``, and the extra with what it needs, if any."""

    module: str
    extra: str | None = None
    needs: tuple[str, ...] = ()
    of_repository: bool = False
    """Whether it also takes pytest's rootdir, for its paths are those of the repository."""

    def missing(self) -> str | None:
        """Return what is not installed."""
        return next((name for name in self.needs if util.find_spec(name) is None), None)


WRITERS = {
    ".json": _Writer("json_report"),
    ".html": _Writer("html_report", "html", ("jinja2", "pygal")),
    ".md": _Writer("markdown_report"),
    ".sarif": _Writer("sarif_report", "sarif", ("sarif_pydantic",), of_repository=True),
}


STDOUT = "-"
"""The name that stands for a line of JSON after everything else that pytest prints."""


class CannotWriteError(Exception):
    """A file cannot be written; the text says which and why, in one line."""

    def __init__(self, text: str) -> None:
        super().__init__(escaped.line(text))


def check(path: Path) -> None:
    """Raise CannotWriteError for a file that could not be written later."""
    writer = WRITERS.get(path.suffix)
    if writer is None:
        junit = "; for JUnit XML use pytest's own --junitxml" if path.suffix == ".xml" else ""
        raise CannotWriteError(
            f"cannot write {path.name!r}: the extension must be one of {', '.join(WRITERS)}{junit}"
        )
    if name := writer.missing():
        raise CannotWriteError(
            f"cannot write {path.name!r}: {name} is not installed: "
            f"pip install 'pytest-nonblocking[{writer.extra}]'"
        )
    check_place(path)


def check_place(path: Path) -> None:
    """Raise CannotWriteError where no file can be put in place of ``path``, or of its target."""
    try:
        with contextlib.suppress(FileNotFoundError):
            _check_kind(path, path.stat().st_mode)
        with tempfile.TemporaryFile(dir=path.resolve().parent):
            pass
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise CannotWriteError(f"cannot write {path}: {why}") from None


def _check_kind(path: Path, mode: int) -> None:
    why = None
    if stat.S_ISDIR(mode):
        why = "it is a directory"
    elif not stat.S_ISREG(mode):
        why = "it is a device, a pipe or a socket"
    elif not os.access(path, os.W_OK):
        why = "it is read-only"
    if why is not None:
        raise CannotWriteError(f"cannot write {path}: {why}")


def write(path: Path, report: Report, rootdir: Path) -> None:
    """Write a report whole or not at all; raises OSError."""
    writer = WRITERS[path.suffix]
    module = importlib.import_module(f".{writer.module}", __package__)
    write_text(path, module.render(report, *[rootdir] * writer.of_repository))


def resolved(name: str, option: str, settings: Settings, config: pytest.Config) -> Path:
    """Return a path of a setting: a flag's is relative to where pytest was called.

    An ini value is relative to the folder of the ini file.
    """
    from_flag = settings.origins[option].startswith("--")
    return (config.invocation_params.dir if from_flag else config.rootpath) / name


def _paths(settings: Settings, config: pytest.Config) -> list[Path]:
    names = [name for name in settings.report if name != STDOUT]
    return [resolved(name, "report", settings, config) for name in names]


def check_paths(settings: Settings, config: pytest.Config) -> None:
    """Raise pytest.UsageError for a file that could not be written at the end of the run.

    Nor can a file hold two of the reports, the history and the baseline.
    """
    asked = [("report", path) for path in _paths(settings, config)]
    option = "report"
    try:
        for _, path in asked:
            check(path)
        if settings.history is not None:
            option = "history"
            path = resolved(settings.history, "history", settings, config)
            check_place(path)
            history.load(path)
            asked.append(("history", path))
        if settings.baseline is not None:
            asked.append(("baseline", resolved(settings.baseline, "baseline", settings, config)))
        _check_apart(asked)
    except (CannotWriteError, BadFileError) as error:
        raise pytest.UsageError(f"{settings.origins[option]}: {error}") from None


def _check_apart(asked: Sequence[tuple[str, Path]]) -> None:
    for (kind, path), (other, other_path) in itertools.combinations(asked, 2):
        if _is_same(path, other_path):
            what = f"a second {other}" if kind == other else f"the {other}"
            raise CannotWriteError(
                f"cannot write {path}: {what} has the same path; give each a file of its own"
            )


def _is_same(path: Path, other: Path) -> bool:
    with contextlib.suppress(OSError, ValueError):  # ValueError: a name with a NUL
        # samefile knows hard links, and names that differ only in case.
        return os.path.realpath(path) == os.path.realpath(other) or path.samefile(other)
    return False


def write_all(
    settings: Settings, config: pytest.Config, measurements: Sequence[Measurement]
) -> list[str]:
    """Write every report and the history; return one message for each that was not written."""
    shown = []
    paths = _paths(settings, config)
    wanted = paths or settings.history or STDOUT in settings.report
    session = sessions.ended(settings, config) if wanted else None
    if settings.history is not None and session is not None and measurements:
        path = resolved(settings.history, "history", settings, config)
        try:
            past = history.load(path)
            history.append(path, measurements, session)
            measurements = history.with_past(measurements, past)
        except (OSError, BadFileError) as error:
            shown.append(f"cannot write the history {path}: {error}")
    if STDOUT in settings.report:
        text = one_line(document(measurements, session))
        config.add_cleanup(functools.partial(_print_last, config, text))
    for path in paths:
        try:
            write(path, document(measurements, session), config.rootpath)
        except Exception as error:  # of a library's too: the run's own result must stand
            shown.append(f"cannot write the report {path}: {type(error).__name__}: {error}")
    return shown


def _print_last(config: pytest.Config, text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # whoever read it has gone
        if config.pluginmanager.has_plugin("terminalreporter"):
            config.get_terminal_writer().line(text)
        else:
            print(text)
