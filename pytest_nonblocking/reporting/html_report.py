"""The report as one page that opens offline: all it needs is in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jinja2
import markupsafe

from .page.charts import PARTS
from .page.glossary import TERMS
from .page.measured import WORST_FIRST, Measured, counts, grouped, measured
from .record import Record, Report
from .units import milliseconds, plural, rate

_LEGENDS = {
    "slowest": "slowest copy of each run",
    "median": "median copy of each run",
    "bounds": "between the bounds",
    "limit": "limit",
    "waiting": "waiting",
    "mine": "your code",
    "library": "libraries",
    "adds": "each further request adds",
    "longest": "longest step",
}
"""What legends say where it is not the title of a term."""


def render(report: Report) -> str:
    """Return the whole page of a report."""
    tests = measured(report)
    groups = grouped(tests)
    others = [test for test in tests if test.record.verdict != "fail"]
    anchors = {test.number: f"test-{test.number}" for test in others}
    anchors |= {test.number: f"culprit-{one.number}" for one in groups for test in one.tests}
    page = environment().get_template("report.html.j2")
    return page.render(
        report=report,
        title=_title(tests),
        tests=tests,
        groups=groups,
        others=others,
        anchors=anchors,
        parts=PARTS,
        verdicts=counts((test.record.verdict for test in tests), WORST_FIRST),
        causes=counts(test.record.cause for test in tests if test.record.cause),
        used_terms=TERMS if tests else (),
    )


class Difference(NamedTuple):
    """A measurement of two reports, or of one, and what is different about it."""

    kind: str
    text: str
    before: Record | None
    after: Record | None


class _Row(NamedTuple):
    kind: str
    text: str
    test: str
    before: Measured | None
    after: Measured | None


_WORST_DIFFERENCE_FIRST = ("worse", "unclear", "new", "better", "gone", "same")


def render_comparison(
    title: str, before: Report, after: Report, differences: Sequence[Difference]
) -> str:
    """Return a page of two reports side by side."""
    rows = []
    for number, one in enumerate(differences):
        old = None if one.before is None else Measured(number, one.before, before)
        new = None if one.after is None else Measured(number, one.after, after)
        name = next(known.record.nodeid for known in (new, old) if known)
        rows.append(_Row(one.kind, one.text, name, old, new))
    rows.sort(key=lambda row: _WORST_DIFFERENCE_FIRST.index(row.kind))
    page = environment().get_template("comparison.html.j2")
    return page.render(
        title=title,
        before=before,
        after=after,
        rows=rows,
        kinds=counts((row.kind for row in rows), _WORST_DIFFERENCE_FIRST),
        used_terms=TERMS,
    )


def environment() -> jinja2.Environment:
    """Return the environment of the page's templates, which escapes whatever it inserts."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "ms": _ms,
        "rate": rate,
        "took": _took,
        "plural": plural,
        "code": _code,
        "breakable": _breakable,
    }
    made.globals |= {"terms": TERMS, "legends": _LEGENDS}
    return made


def _title(tests: list[Measured]) -> str:
    words = [test.record.verdict for test in tests]
    every = plural(len(words), "measurement")
    if not words:
        return "Nothing was measured"
    if failing := words.count("fail"):
        return f"{failing} of {every} {'fails' if failing == 1 else 'fail'}"
    if undecided := len(words) - words.count("pass"):
        return f"{undecided} of {every} without a verdict"
    return f"All {every} pass" if len(words) > 1 else "The measurement passes"


def _ms(value: float | None) -> str:
    return "" if value is None else milliseconds(value / 1000)


def _took(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def _code(text: str) -> markupsafe.Markup:
    """Return the text with what is in backticks as code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return markupsafe.escape(text)
    return markupsafe.Markup("").join(
        markupsafe.Markup("<code>{}</code>").format(part) if n % 2 else part
        for n, part in enumerate(parts)
    )


def _breakable(text: object) -> markupsafe.Markup:
    """Return a name that may be broken after what separates its parts."""
    return markupsafe.Markup("<wbr>").join(re.split(r"(?<=[/_:\[.])(?![/_:\[.])", str(text)))
