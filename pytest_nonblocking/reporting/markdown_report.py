"""The report as Markdown, for the job summary of a CI service."""

from __future__ import annotations

import html
from collections.abc import Sequence

from .record import Record, Report
from .terminal import summary

_SIGNS = {"pass": "✅", "fail": "❌", "inconclusive": "⚠️", "not-measured": "⚠️"}
_CELLS = str.maketrans({"|": "&#124;", "`": "&#96;", "\n": " ", "\r": " "})
_MARKS = str.maketrans({mark: f"&#{ord(mark)};" for mark in "\\*_[]#~:@$"})


def render(report: Report) -> str:
    """Return the whole file: a table of the verdicts, then the text of each failure to unfold."""
    tests = report.tests
    if not tests:
        return "## Event loop\n\nNothing was measured.\n"
    parts = [
        f"## Event loop\n\n{summary(tests)[0].removeprefix('nonblocking: ')}\n",
        _table(tests),
        *(_failure(test) for test in tests if test.message),
        _notes(tests),
    ]
    return "\n".join(part for part in parts if part)


def _text(raw: object) -> str:
    """Return text that is shown as it is, in a cell too: nothing in it is markup."""
    return html.escape(str(raw)).translate(_CELLS | _MARKS)


def _table(tests: Sequence[Record]) -> str:
    rows = [
        "| verdict | test | cause | where | serial fraction | ceiling |",
        "|---|---|---|---|--:|--:|",
    ]
    for test in tests:
        fraction = "" if test.serial_fraction is None else f"{test.serial_fraction:.2f}"
        ceiling = "" if test.ceiling_rps is None else f"{test.ceiling_rps:.0f}/s"
        word = test.verdict + (" (known)" if test.accepted_by else "")
        cells = (
            f"{_SIGNS[test.verdict]} {word}",
            _text(test.nodeid),
            _text(test.cause or ""),
            _text(test.place or ""),
            fraction,
            ceiling,
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _failure(test: Record) -> str:
    title = html.escape(test.nodeid) + (" (known)" if test.accepted_by else "")
    # An empty line would end the block of HTML, and what follows would be read as Markdown.
    message = "\n".join(line or "&nbsp;" for line in html.escape(test.message or "").splitlines())
    title = title.translate(_CELLS)
    return f"<details><summary>{title}</summary>\n<pre>\n{message}\n</pre>\n</details>\n"


def _notes(tests: Sequence[Record]) -> str:
    rows = [f"- {_text(t.nodeid)}: {_text(note)}" for t in tests for note in t.notes]
    return "### Notes\n\n" + "\n".join(rows) + "\n" if rows else ""
