"""Failures of one culprit: one text with the list of its tests, to which the others refer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from . import escaped
from .record import Record
from .units import plural

_TESTS_SHOWN = 20
_Key = tuple[str, bool, str, int]


class Failure(NamedTuple):
    """A failure that is to be shown, with its whole text."""

    record: Record
    text: str


def headline(record: Record) -> str:
    """Return a failure in one line that begins with its cause and place."""
    shown: str = record.cause or record.verdict
    if "timeout" in record.reasons:
        shown = f"does not finish: {shown}"
    if (place := record.place) is not None:
        shown += f" at {place}"
    return escaped.line(f"{shown} ({record.target})" if record.target else shown)


def whole(failures: Sequence[Failure]) -> list[Failure]:
    """Return one failure for each culprit, with the list of its tests."""
    seen: set[_Key] = set()
    kept = []
    for (record, _), text in zip(failures, texts(failures), strict=True):
        key = _key(record)
        if key is None or key not in seen:
            kept.append(Failure(record, text))
        if key is not None:
            seen.add(key)
    return kept


def texts(failures: Sequence[Failure]) -> list[str]:
    """Return what is shown of each failure: of each culprit, the first one has the whole text."""
    groups: defaultdict[_Key, list[Record]] = defaultdict(list)
    for record, _ in failures:
        if (key := _key(record)) is not None:
            groups[key].append(record)
    shown = []
    for record, text in failures:
        key = _key(record)
        group = [] if key is None else groups[key]
        tests = list(dict.fromkeys(escaped.line(one.nodeid) for one in group))
        if len(tests) < 2:
            shown.append(text)
        elif record is group[0]:
            shown.append("\n".join([text, *_list(tests)]))
        elif record.nodeid == group[0].nodeid:  # another measurement of the same test
            shown.append(text)
        else:
            shown.append(_reference(record, text, tests[0]))
    return shown


def _key(record: Record) -> _Key | None:
    """Return what failures of one culprit share; what the guard found may be several lines."""
    culprit = record.culprit
    if culprit is None or record.cause is None or "guard" in record.reasons:
        return None
    return record.cause, "timeout" in record.reasons, culprit.file, culprit.line


def _list(tests: Sequence[str]) -> list[str]:
    rows = [f"  tests    {plural(len(tests), 'test')} fail for this line:"]
    rows += [f"               {test}" for test in tests[:_TESTS_SHOWN]]
    if (left := len(tests) - _TESTS_SHOWN) > 0:
        rows.append(f"               and {plural(left, 'more test')}")
    return rows


def _reference(record: Record, text: str, first: str) -> str:
    headline, *rows = text.splitlines()
    # Another test may fail for another limit at the same line.
    own = next((row for row in rows if row.startswith("  cause ")), f"  cause    {record.cause}")
    return f"{headline}\n{own}\n  where    {escaped.line(record.place or '')}: see {first}"
