"""The report as Markdown: for a comment on a pull request, or the job summary of a CI service."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from . import escaped
from .figures import looks_worse, shown
from .record import Record, Report
from .shared_culprits import Failure, whole
from .terminal import BEST_FIRST, summary

MARK = "<!-- pytest-nonblocking -->"
"""The first line, by which a bot finds the comment that it is to replace."""
_SIGNS = {"pass": "✅", "fail": "❌", "inconclusive": "⚠️", "not-measured": "⚠️"}
_MOST = 60_000
"""Characters after which failures and passes are left out: GitHub's comments hold 65,536."""
_HEAD = """\
| verdict | test | cause | where | judged | bounds | limit | ceiling |
|---|---|---|---|--:|--:|--:|--:|"""


def render(report: Report) -> str:
    """Return the whole file: a table, the worst first, and the text of each culprit to unfold."""
    tests = sorted(report.tests, key=_severity, reverse=True)
    if not tests:
        return f"{MARK}\n## Event loop\n\nNothing was measured.\n"
    text = (
        f"{MARK}\n## Event loop\n\n{summary(tests)[0].removeprefix('nonblocking: ')}\n\n{_HEAD}\n"
    )
    text = _appended(text, [_row(test) for test in tests], "more tests")
    failures = whole([Failure(test, test.message) for test in tests if test.message])
    text = _appended(f"{text}\n", [_failure(one) for one in failures], "more failures")
    notes = [f"{escaped.line(test.nodeid)}: {note}" for test in tests for note in _notes(test)]
    if notes and len(text) < _MOST:
        text += f"\n### Notes\n\n{_fenced(chr(10).join(notes)[: _MOST - len(text)])}\n"
    return text


def _severity(test: Record) -> tuple[int, bool, bool, float]:
    figure = test.figure
    over = figure.value / figure.limit if figure is not None and figure.limit else 0.0
    return BEST_FIRST.index(test.verdict), not test.accepted_by, "timeout" in test.reasons, over


def _appended(text: str, parts: Sequence[str], what: str) -> str:
    """Return ``text`` with as many of ``parts`` as fit, and how many did not."""
    for number, part in enumerate(parts):
        if len(text) + len(part) > _MOST:
            return f"{text}\n{len(parts) - number} {what}: they are in the JSON report.\n"
        text += part
    return text


def _row(test: Record) -> str:
    ceiling = "" if test.ceiling_rps is None else f"{test.ceiling_rps:.0f}/s"
    cells = (
        f"{_SIGNS[test.verdict]} {test.verdict}{_known(test)}",
        _code(test.nodeid),
        _code(test.cause or ""),
        _code(test.place or ""),
        *("" if cell == "-" else cell for cell in shown(test)),
        ceiling,
    )
    return f"| {' | '.join(cells)} |\n"


def _known(test: Record) -> str:
    return " (known)" if test.accepted_by else ""


def _code(raw: object) -> str:
    """Return a code span, in which nothing is markup; a bar would end its cell of the table."""
    text = escaped.line(raw)
    if not text:
        return ""
    if "|" in text:
        return f"<code>{html.escape(text).replace('|', '&#124;').replace('`', '&#96;')}</code>"
    fence = "`" * (1 + _longest_fence(text))
    space = " " if text[0] in "` " or text[-1] in "` " else ""
    return f"{fence}{space}{text}{space}{fence}"


def _longest_fence(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)


def _fenced(text: str) -> str:
    fence = "`" * max(3, 1 + _longest_fence(text))
    return f"{fence}text\n{escaped.lines(text)}\n{fence}"


def _failure(failure: Failure) -> str:
    title = html.escape(escaped.line(failure.record.nodeid)) + _known(failure.record)
    head = f"<details><summary>{title}</summary>"
    return f"{head}\n\n{_fenced(failure.text)}\n\n</details>\n\n"


def _notes(test: Record) -> Sequence[str]:
    return (test.why, *test.notes) if test.why and looks_worse(test) else test.notes
