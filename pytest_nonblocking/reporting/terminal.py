"""The summary at the end of a run, and the same from a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from ..model import Verdict
from . import escaped
from .columns import fitted, width
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
    fraction: str
    ceiling: str
    where: str


_HEAD = _Row("verdict", "test", "cause", "serial", "ceiling", "where")
_TEST, _FRACTION, _CEILING, _WHERE = (
    _Row._fields.index(name) for name in ("test", "fraction", "ceiling", "where")
)


def summarise(
    screen: Screen,
    records: Sequence[Record],
    lines: Iterable[tuple[str, str]] = (),
    *,
    verbosity: int,
    fullwidth: int | None,
) -> None:
    """Print one line, before it with ``-v`` a table of all measurements, and ``lines`` in colours.

    With ``-qq`` pytest prints no line of its own, and of ours only those are printed for which the
    run fails. ``fullwidth`` is the terminal's; a log has none: what is cut there cannot be searched
    for.
    """
    if verbosity > 0 and records:
        screen.section("nonblocking")
        _print_table(screen, records, fullwidth)
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


def _print_table(screen: Screen, records: Sequence[Record], fullwidth: int | None) -> None:
    # The worst last: it is what stands on the screen when the run is over.
    ordered = sorted(records, key=lambda record: BEST_FIRST.index(record.verdict))
    head, *lines = table(ordered, fullwidth)
    screen.write_line(head.rstrip(), bold=True)
    for record, line in zip(ordered, lines, strict=True):
        word = record.verdict
        screen.write(word, **{_COLOURS[word]: True})
        screen.write_line(line[len(word) :].rstrip())
        for note in record.notes:
            screen.write_line(f"{'':<12}  note: {escaped.line(note)}")


def _row(record: Record) -> _Row:
    fraction, ceiling = record.serial_fraction, record.ceiling_rps
    return _Row(
        record.verdict,
        escaped.line(record.nodeid),
        record.cause or "-",
        "-" if fraction is None else f"{fraction:.2f}",
        "-" if ceiling is None else f"{ceiling:.0f}/s",
        escaped.line(record.place or ""),
    )


def table(records: Sequence[Record], fullwidth: int | None) -> list[str]:
    """Return a heading and a line for each record, of ``fullwidth`` columns unless that is None.

    A narrow terminal takes from the tests' ids and from the places, in proportion to their length.
    """
    rows = [_HEAD, *map(_row, records)]
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    over = 0
    if fullwidth is not None:
        over = sum(widths) + len(_GAP) * (len(widths) - 1) - fullwidth
    if over > 0:
        share = over * widths[_WHERE] // (widths[_TEST] + widths[_WHERE])
        taken = max(0, min(share, widths[_WHERE] - _LEAST))
        widths[_WHERE] -= taken
        widths[_TEST] = max(_LEAST, widths[_TEST] - (over - taken))
    lines = []
    for row in rows:
        cells = [
            cell.rjust(columns) if index in (_FRACTION, _CEILING) else fitted(cell, columns)
            for index, (cell, columns) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(_GAP.join(cells))
    return lines
