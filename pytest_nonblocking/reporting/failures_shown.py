"""The failures as pytest's terminal shows them: each culprit once, wrapped, the cause first.

Only what is printed changes: reports keep the whole text, for JUnit and for other plugins.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from .annotations import commands
from .columns import wrapped
from .record import Record
from .shared_culprits import Failure, headline, texts

_LABELLED = re.compile(r"  \w[\w ]{7} (?=\S)")
_TEXT_AT = 11
"""The column at which the text of a labelled row begins."""


def lines_of(text: str, columns: int | None) -> list[str]:
    """Return the lines of a failure, wrapped at ``columns`` with hanging indents."""
    lines = []
    for line in text.splitlines():
        margin = len(line) - len(line.lstrip(" "))
        indent = _TEXT_AT if _LABELLED.match(line) else margin + 2
        lines += wrapped(line, columns, indent)
    return lines


class Failures:
    """A plugin that is registered when a run is over, before its failures are printed."""

    def __init__(self, records: Sequence[Record], rootdir: Path) -> None:
        self._records = records
        self._rootdir = rootdir

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter
    ) -> Generator[None, None, None]:
        """Replace what is shown of each of our failures while pytest prints them."""
        before: list[tuple[Any, Any]] = []
        try:
            # What cannot be replaced is shown whole.
            with contextlib.suppress(Exception):
                for report, shown in self._shown(terminalreporter):
                    before.append((report, report.longrepr))
                    report.longrepr = shown
            return (yield)
        finally:
            for report, longrepr in before:
                report.longrepr = longrepr
            with contextlib.suppress(Exception):
                for command in commands(self._records, self._rootdir):
                    terminalreporter.write_line(command)

    def _shown(self, reporter: pytest.TerminalReporter) -> Iterable[tuple[Any, _Shown]]:
        writer = reporter.config.get_terminal_writer()
        columns = writer.fullwidth if reporter.isatty else None
        found = [*self._of_us(reporter.stats.get("failed", ()))]
        shown = texts([failure for _, failure in found])
        for (report, failure), text in zip(found, shown, strict=True):
            yield report, _Shown(report.longrepr, text, headline(failure.record), columns)

    def _of_us(self, reports: Iterable[Any]) -> Iterable[tuple[Any, Failure]]:
        """Yield the failures that the plugin raised, with their records."""
        for report in reports:
            crash = getattr(report.longrepr, "reprcrash", None)
            said = str(getattr(crash, "message", "")).partition("nonblocking: ")
            text = f"{said[1]}{said[2]}"
            for record in self._records:
                mine = record.nodeid == report.nodeid and record.message
                if mine and text.startswith(mine):
                    yield report, Failure(record, text)
                    break


class _Shown:
    """What pytest prints of a failure: the text, and its line in the short summary."""

    def __init__(self, longrepr: Any, text: str, headline: str, columns: int | None) -> None:
        self.reprcrash = dataclasses.replace(longrepr.reprcrash, message=headline)
        self._sections = getattr(longrepr, "sections", ())
        self._text = text
        self._columns = columns

    def __str__(self) -> str:
        return self._text

    def toterminal(self, tw: Any) -> None:
        """Write the text, with the headline and the labels in colour."""
        first, *rows = lines_of(self._text, self._columns)
        tw.line(first, bold=True, red=True)
        for row in rows:
            if _LABELLED.match(row):
                tw.write(row[:_TEXT_AT], bold=True)
                tw.line(row[_TEXT_AT:])
            else:
                tw.line(row)
        for name, content, separator in self._sections:
            tw.sep(separator, name)
            tw.line(content)
