"""The summary at the end of a run, and the same from a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from ..model import Verdict
from . import escaped
from .columns import fitted, width, wrapped
from .figures import looks_worse, shown
from .record import Record

_COLOURS: dict[Verdict, str] = {
    "pass": "green",
    "fail": "red",
    "inconclusive": "yellow",
    "not-measured": "yellow",
}
FAULT = "red"
"""The colour of a line for which the run fails: something that was asked for is missing."""
BEST_FIRST = ("pass", "not-measured", "inconclusive", "fail")
_GAP = "  "
_BELOW = " " * 14
"""The indent of what stands below a row."""
_LEAST = 16
"""The columns that are left of a test's id, or of a place, however narrow the terminal is."""


class Screen(Protocol):
    """What is needed of a terminal; pytest's own reporter has it."""

    def write(self, content: str, *, flush: bool = False, **markup: bool) -> None:
        """Write a part of a line."""

    def write_line(self, line: str | bytes, **markup: bool) -> None:
        """Write a line."""

    def section(self, title: str, sep: str = "=", **kw: bool) -> None:
        """Write a title over the whole width."""


class _Row(NamedTuple):
    verdict: str
    test: str
    cause: str
    judged: str
    bounds: str
    limit: str
    ceiling: str
    where: str


_HEAD = _Row("verdict", "test", "cause", "judged", "bounds", "limit", "ceiling", "where")
_TEST = _Row._fields.index("test")
_NUMBERS = frozenset(("judged", "bounds", "limit", "ceiling"))


def summarise(
    screen: Screen,
    records: Sequence[Record],
    lines: Iterable[tuple[str, str]] = (),
    *,
    verbosity: int,
    fullwidth: int | None,
) -> None:
    """Print one line, before it with ``-v`` a table of all measurements, and ``lines`` in colours.

    With ``-vv`` the table also says why each pass is one, with ``-v`` only where its whole serial
    demand is over the limit. With ``-qq`` pytest prints no line of its own, and of ours only those
    are printed for which the run fails. ``fullwidth`` is the terminal's; a log has none: what is
    cut there cannot be searched for.
    """
    if verbosity > 0 and records:
        screen.section("nonblocking")
        _print_table(screen, records, fullwidth, says_why=verbosity > 1)
    if records and verbosity >= -1:
        text, colour = summary(records)
        screen.write_line(text, **{colour: True})
    for text, colour in lines:
        if verbosity < -1 and colour != FAULT:
            continue
        screen.write_line(escaped.line(text), **{colour: True})


def summary(records: Sequence[Record]) -> tuple[str, str]:
    """Return the line that sums up all measurements, and its colour."""
    words = Counter(record.verdict for record in records)
    accepted = sum(bool(record.accepted_by) for record in records)
    shown = {word: f"{words[word]} {word}" for word in _COLOURS if words[word]}
    if accepted:
        shown["fail"] += f" ({accepted} accepted by the baseline)"
    worst: Verdict = next((word for word in reversed(_COLOURS) if words[word]), "pass")
    if words["fail"]:
        worst = "fail" if words["fail"] > accepted else "inconclusive"
    return f"nonblocking: {len(records)} measured: {', '.join(shown.values())}", _COLOURS[worst]


def _print_table(
    screen: Screen, records: Sequence[Record], fullwidth: int | None, *, says_why: bool
) -> None:
    # The worst last: it is what stands on the screen when the run is over.
    ordered = sorted(records, key=lambda record: BEST_FIRST.index(record.verdict))
    head, *lines = table(ordered, fullwidth)
    screen.write_line(head.rstrip(), bold=True)
    for record, line in zip(ordered, lines, strict=True):
        word = record.verdict
        screen.write(word, **{_COLOURS[word]: True})
        screen.write_line(line[len(word) :].rstrip())
        below = [f"note: {note}" for note in record.notes]
        if record.why and (says_why or looks_worse(record)):
            below.insert(0, f"why: {record.why}")
        for text in below:
            for part in wrapped(f"{_BELOW}{escaped.line(text)}", fullwidth, len(_BELOW) + 2):
                screen.write_line(part)


def _row(record: Record) -> _Row:
    ceiling = record.ceiling_rps
    return _Row(
        record.verdict,
        escaped.line(record.nodeid),
        record.cause or "-",
        *shown(record),
        "-" if ceiling is None else f"{ceiling:.0f}/s",
        escaped.line(record.place or ""),
    )


def table(records: Sequence[Record], fullwidth: int | None) -> list[str]:
    """Return a heading and a line for each record, of ``fullwidth`` columns unless that is None.

    A narrow terminal has no bounds. It then takes from the tests' ids and from the places, in
    proportion to their length, and where these are too short, shows no ceiling either.
    """
    rows: list[list[str]] = [list(_HEAD), *(list(_row(record)) for record in records)]
    names = list(_Row._fields)
    if _over(_widths(rows), fullwidth) > 0:
        _drop("bounds", names, rows)
    widths = _shrunk(_widths(rows), fullwidth)
    if _over(widths, fullwidth) > 0:
        _drop("ceiling", names, rows)
        widths = _shrunk(_widths(rows), fullwidth)
    lines = []
    for row in rows:
        cells = [
            " " * (columns - width(cell)) + cell if name in _NUMBERS else fitted(cell, columns)
            for name, cell, columns in zip(names, row, widths, strict=True)
        ]
        lines.append(_GAP.join(cells))
    return lines


def _drop(name: str, names: list[str], rows: list[list[str]]) -> None:
    column = names.index(name)
    for row in (names, *rows):
        del row[column]


def _shrunk(widths: list[int], fullwidth: int | None) -> list[int]:
    """Return ``widths`` with less for the tests' ids and for the places, the last column."""
    over, (test, where) = _over(widths, fullwidth), (widths[_TEST], widths[-1])
    if over <= 0:
        return widths
    taken = max(0, min(over * where // (test + where), where - _LEAST))
    left = max(_LEAST, test - (over - taken))
    return [*widths[:_TEST], left, *widths[_TEST + 1 : -1], where - taken]


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(width, column)) for column in zip(*rows, strict=True)]


def _over(widths: Sequence[int], fullwidth: int | None) -> int:
    """Return by how many columns a table is too wide."""
    if fullwidth is None:
        return 0
    return sum(widths) + len(_GAP) * (len(widths) - 1) - fullwidth
