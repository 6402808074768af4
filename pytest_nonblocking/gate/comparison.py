"""Two reports side by side: what got worse, with the noise taken into account."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..model import CONCLUSIVE
from ..reporting.record import Record, Report
from ..reporting.units import milliseconds

NOISE_FACTOR = {"fail": 2.0, "pass": 4.0}
"""Growth of a number from which it counts, widened where the second machine was the slower one. In
three runs of the examples on a busy machine of two cores the numbers of failures differed by up to
1.5 times, those of passes, which are small, by up to 3.2 times."""
NOISE_MS = 2.0
"""Difference in milliseconds from which it counts."""

Kind = Literal["worse", "better", "new", "gone", "unclear"]


@dataclass(frozen=True, slots=True)
class Change:
    """What is different about one measurement."""

    kind: Kind
    test: str
    text: str


def compare(before: Report, after: Report) -> list[Change]:
    """Return the differences between two reports, in the order of the second, then what is gone."""
    slower = after.environment.machine_factor / before.environment.machine_factor
    old, new = _by_key(before.tests), _by_key(after.tests)
    changes = []
    for key, record in new.items():
        changes += (
            _changes(old[key], record, max(1.0, slower)) if key in old else [_appeared(record)]
        )
    for key, record in old.items():
        if key not in new:
            changes.append(Change("gone", record.nodeid, f"was {_told(record)}"))
    return changes


def _by_key(records: Sequence[Record]) -> dict[tuple[str, int], Record]:
    """Return the records by test and by the how-manieth measurement of the test each one is."""
    seen: Counter[str] = Counter()
    keyed = {}
    for record in records:
        keyed[record.nodeid, seen[record.nodeid]] = record
        seen[record.nodeid] += 1
    return keyed


def _appeared(record: Record) -> Change:
    kind: Kind = "worse" if record.verdict == "fail" else "new"
    return Change(kind, record.nodeid, f"is new: {_told(record)}")


def _changes(old: Record, new: Record, slower: float) -> list[Change]:
    test, text = new.nodeid, f"{_told(old)}, now {_told(new)}"
    words = old.verdict, new.verdict
    if words[0] != words[1]:
        if words[1] == "fail":
            return [Change("worse", test, text)]
        return [Change("better" if words[1] == "pass" else "unclear", test, text)]
    if words[1] not in CONCLUSIVE:
        return []
    if old.cause != new.cause or _function(old) != _function(new):
        return [Change("worse", test, text)]
    factor = NOISE_FACTOR[words[1]] * slower
    if old.serial_ms is None or new.serial_ms is None:
        name, was, now = "longest step", old.max_lag_ms, new.max_lag_ms
    else:
        name, was, now = "serial demand", old.serial_ms, new.serial_ms
    facts = f"{name} {milliseconds(was / 1000)}, now {milliseconds(now / 1000)}"
    if now > was * factor and now > was + NOISE_MS:
        return [Change("worse", test, facts)]
    if was > now * factor and was > now + NOISE_MS:
        return [Change("better", test, facts)]
    return []


def _function(record: Record) -> tuple[str, str] | None:
    place = record.place
    # CPython tells a method's class from 3.11 on.
    return place and (place.file, place.function.rpartition(".")[2])


def _told(record: Record) -> str:
    place, cause = record.place, record.cause
    shown: str = record.verdict
    shown += f" ({cause}" if cause else ""
    shown += f" at {place}" if cause and place else ""
    return shown + (")" if cause else "")
