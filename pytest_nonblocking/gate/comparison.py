"""Two reports side by side: what got worse, with the noise taken into account."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..model import CONCLUSIVE
from ..reporting.keys import keyed
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


@dataclass(frozen=True, slots=True)
class Pair:
    """A measurement in both reports, or in one, and what is different about it."""

    before: Record | None
    after: Record | None
    change: Change | None


def compare(before: Report, after: Report) -> list[Change]:
    """Return the differences between two reports, in the order of the second, then what is gone."""
    return [pair.change for pair in pairs(before, after) if pair.change is not None]


def pairs(before: Report, after: Report) -> list[Pair]:
    """Return all measurements of two reports, in the order of the second, then what is gone."""
    slower = max(1.0, after.environment.machine_factor / before.environment.machine_factor)
    old, new = dict(keyed(before.tests)), dict(keyed(after.tests))
    shown = []
    for key, record in new.items():
        known = old.get(key)
        change = _appeared(record) if known is None else _change(known, record, slower)
        shown.append(Pair(known, record, change))
    gone = (record for key, record in old.items() if key not in new)
    shown += (Pair(one, None, Change("gone", one.nodeid, f"was {_described(one)}")) for one in gone)
    return shown


def _appeared(record: Record) -> Change:
    kind: Kind = "worse" if record.verdict == "fail" else "new"
    return Change(kind, record.nodeid, f"is new: {_described(record)}")


def _change(old: Record, new: Record, slower: float) -> Change | None:
    test, text = new.nodeid, f"{_described(old)}, now {_described(new)}"
    words = old.verdict, new.verdict
    if words[0] != words[1]:
        if words[1] == "fail":
            return Change("worse", test, text)
        return Change("better" if words[1] == "pass" else "unclear", test, text)
    if words[1] not in CONCLUSIVE:
        return None
    if old.cause != new.cause or _function(old) != _function(new):
        return Change("worse", test, text)
    factor = NOISE_FACTOR[words[1]] * slower
    if old.serial_ms is None or new.serial_ms is None:
        name, was, now = "longest step", old.max_lag_ms, new.max_lag_ms
    else:
        name, was, now = "serial demand", old.serial_ms, new.serial_ms
    facts = f"{name} {milliseconds(was / 1000)}, now {milliseconds(now / 1000)}"
    if now > was * factor and now > was + NOISE_MS:
        return Change("worse", test, facts)
    if was > now * factor and was > now + NOISE_MS:
        return Change("better", test, facts)
    return None


def _function(record: Record) -> tuple[str, str] | None:
    place = record.place
    # CPython names a method's class from 3.11 on.
    return place and (place.file, place.function.rpartition(".")[2])


def _described(record: Record) -> str:
    place, cause = record.place, record.cause
    shown: str = record.verdict
    shown += f" ({cause}" if cause else ""
    shown += f" at {place}" if cause and place else ""
    return shown + (")" if cause else "")
