"""Known failures: which are accepted, which got worse, and which are fixed.

A team with many blocking endpoints can so turn the gate on today: only new failures fail.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pytest

from ..config import Settings
from ..model import CONCLUSIVE
from ..reporting import escaped, loading
from ..reporting.atomic import write_text
from ..reporting.files import CannotWriteError, check_place, resolved
from ..reporting.plain import text_of
from ..reporting.record import Record
from ..reporting.units import milliseconds

SCHEMA_VERSION = 1
WORSE_FACTOR = 2.0
"""From which growth a known failure fails again. CPU per request was seen to double beside a busy
neighbour, and a laptop and a CI runner differ as much."""
_LEAST_GROWTH_MS = 1.0

BASELINE: pytest.StashKey[Baseline] = pytest.StashKey()


@dataclass(frozen=True, slots=True)
class Known:
    """One failure: the test and its cause, which are what it is known by, and how bad it is.

    ``where``, the file and function of the culprit, is only displayed. Which of two helpers costs
    more may change from run to run, and line numbers shift; it is still the same failure.
    """

    OPEN: ClassVar[bool] = True
    test: str
    cause: str
    where: str | None
    serial_ms: float | None
    max_lag_ms: float
    calls: tuple[str, ...] = ()
    """The calls that the guard accuses, each with its file and function."""

    def is_same(self, other: Known) -> bool:
        """Return whether both are the same failure."""
        return (self.test, self.cause) == (other.test, other.cause)

    def growth(self, now: Known) -> tuple[str, float, float]:
        """Return what is compared, and how many milliseconds it was and is."""
        if self.serial_ms is not None and now.serial_ms is not None:
            return "each request adds", self.serial_ms, now.serial_ms
        return "the longest step takes", self.max_lag_ms, now.max_lag_ms


@dataclass(frozen=True, slots=True)
class _File:
    """What is in the file of a baseline."""

    OPEN: ClassVar[bool] = True
    schema_version: Literal[1]
    worse_factor: Annotated[float, {"minimum": 1}]
    failures: tuple[Known, ...]


def known_of(record: Record) -> Known:
    """Return the failure in a record."""
    place = record.place
    return Known(
        test=record.nodeid,
        cause=record.cause or "",
        where=None if place is None else f"{place.file} in {place.function}",
        serial_ms=record.serial_ms,
        max_lag_ms=record.max_lag_ms,
        calls=_accused(record) if "guard" in record.reasons else (),
    )


def _accused(record: Record) -> tuple[str, ...]:
    accused = (one for one in record.guard if one.accused)
    calls = {f"{name} in {one.function}, {one.file}" for one in accused for name in one.functions}
    return tuple(sorted(calls))


@dataclass(frozen=True, slots=True)
class Baseline:
    """The failures that a run accepts."""

    path: Path
    known: tuple[Known, ...] = ()
    worse_factor: float = WORSE_FACTOR
    updating: bool = False

    @property
    def name(self) -> str:
        """The file's name, as messages show it."""
        return escaped.line(self.path.name)

    def objection(self, record: Record) -> str | None:
        """Return why the failure in ``record`` is not accepted, None where it is."""
        if self.updating:
            return None
        now = known_of(record)
        before = [known for known in self.known if known.is_same(now)]
        if not before:
            return f"not among the {len(self.known)} known failures in {self.name}: new"
        # What the guard alone fails is the same on any machine, whatever the run took.
        by_figures = record.reasons != ("guard",)
        shown = [self._worse(known, now, by_figures) for known in before]
        return None if None in shown else shown[0]

    def _worse(self, known: Known, now: Known, by_figures: bool) -> str | None:
        if more := sorted({*now.calls} - {*known.calls}):
            return f"known, but with new blocking calls: {'; '.join(more)}"
        if not by_figures:
            return None
        what, then_ms, now_ms = known.growth(now)
        if now_ms <= then_ms * self.worse_factor or now_ms < then_ms + _LEAST_GROWTH_MS:
            return None
        return (
            f"known, but worse: {what} {milliseconds(now_ms / 1000)}, "
            f"{milliseconds(then_ms / 1000)} when it was accepted "
            f"(limit {self.worse_factor:g} times that, worse_factor in {self.name})"
        )

    def fixed(self, records: Iterable[Record]) -> list[Known]:
        """Return the known failures of tests that were measured and do not fail so any more."""
        conclusive, failing = _by_test(records)
        return [
            known
            for known in self.known
            if conclusive.get(known.test) and not any(known.is_same(one) for one in failing)
        ]

    def updated(self, records: Sequence[Record]) -> Baseline:
        """Return what the next run accepts: what failed in this one, and tests that it left out."""
        fixed = self.fixed(records)
        failing = [known_of(record) for record in records if record.accepted_by]
        kept = [
            known
            for known in self.known
            if known not in fixed and not any(known.is_same(one) for one in failing)
        ]
        worst: dict[tuple[str, str], Known] = {}
        for known in (*kept, *failing):
            key = (known.test, known.cause)
            other = worst.get(key)
            if other is None or known.growth(other)[1] > other.growth(known)[1]:
                worst[key] = known
            if other is not None:
                calls = tuple(sorted({*known.calls, *other.calls}))
                worst[key] = replace(worst[key], calls=calls)
        ordered = sorted(worst.values(), key=lambda one: (one.test, one.cause))
        return replace(self, known=tuple(ordered))

    def text(self) -> str:
        """Return the file: sorted, so that a change shows as few lines of a diff."""
        return text_of(_File(1, self.worse_factor, self.known))

    def write(self) -> None:
        """Write the file whole or not at all; raises OSError."""
        write_text(self.path, self.text())


def _by_test(records: Iterable[Record]) -> tuple[dict[str, bool], list[Known]]:
    """Return which tests came to a verdict in all their measurements, and all failures."""
    conclusive: dict[str, bool] = {}
    failing = []
    for record in records:
        test, word = record.nodeid, record.verdict
        conclusive[test] = conclusive.get(test, True) and word in CONCLUSIVE
        if word == "fail":
            failing.append(known_of(record))
    return conclusive, failing


def load(path: Path) -> Baseline:
    """Return the baseline in ``path``; raises loading.BadFileError."""
    found = loading.load(path, _File, "baseline", SCHEMA_VERSION)
    return Baseline(path, found.failures, found.worse_factor)


def from_settings(settings: Settings, config: pytest.Config) -> Baseline | None:
    """Return the baseline of this run, if there is one; raises pytest.UsageError."""
    if settings.baseline is None:
        if settings.update_baseline:
            raise pytest.UsageError(
                f"{settings.origins['update_baseline']}: there is no file to update: "
                "give it with --nonblocking-baseline"
            )
        return None
    origin = settings.origins["baseline"]
    path = resolved(settings.baseline, "baseline", settings, config)
    try:
        if not path.exists():
            if not settings.update_baseline:
                raise pytest.UsageError(
                    f"{origin}: {path} does not exist: write it with --nonblocking-update-baseline"
                )
            check_place(path)
            return Baseline(path, updating=True)
        if settings.update_baseline:
            check_place(path)
        return replace(load(path), updating=settings.update_baseline)
    except (loading.BadFileError, CannotWriteError) as error:
        raise pytest.UsageError(f"{origin}: {error}") from None
