"""What the outcomes of a test do to it: they fail it, warn, or are accepted."""

from __future__ import annotations

import functools
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from .categories import InconclusiveWarning, NotMeasuredWarning, PytestNonblockingWarning
from .config import Settings
from .gate.baseline import BASELINE
from .model import Outcome
from .reporting import escaped
from .reporting.json_report import measurement
from .reporting.record import Measurement


class Outcomes:
    """The outcomes of one test, each with its record for the reports."""

    def __init__(self, item: pytest.Function, settings: Settings) -> None:
        self._item = item
        self._settings = settings
        self._outcomes: list[Outcome] = []
        self.measurements: list[Measurement] = []

    def __bool__(self) -> bool:
        return bool(self._outcomes)

    def add(self, outcome: Outcome, measured: Measurement) -> None:
        """Keep an outcome and its record."""
        self._outcomes.append(outcome)
        self.measurements.append(measured)

    def forget_evidence(self) -> None:
        """Free the outcomes with their stacks and samples, and keep the records."""
        self._outcomes.clear()

    def forget(self) -> None:
        """Free the records, too."""
        self._outcomes.clear()
        self.measurements = []  # not cleared: a report may hold the list

    def enforce(self, outcome: Outcome) -> None:
        """Fail the test for a fail, and warn if there is no verdict."""
        __tracebackhide__ = True
        result = outcome.judgement.verdict
        enforced = self._settings.mode == "enforce"
        if result == "fail":
            number = self._number_of(outcome)
            measured = (
                measurement(outcome, Path(self._item.config.rootpath))  # another test's
                if number is None
                else self.measurements[number]
            )
            text = measured.record.message or ""
            if (baseline := self._item.config.stash.get(BASELINE, None)) is not None:
                objection = baseline.objection(measured.record)
                if objection is None:
                    if number is not None:
                        self.measurements[number] = _accepted(measured, baseline.name)
                    return
                text += f"\n  baseline {objection}"
            if enforced:
                del outcome, measured  # the failure's traceback holds this frame
                pytest.fail(text, pytrace=False)
        if result in ("inconclusive", "not-measured"):
            why = escaped.line("; ".join(outcome.notes))
            text = f"nonblocking: {outcome.target} is {result}: {why}"
            if result == "inconclusive" and enforced and self._settings.inconclusive == "fail":
                origin = self._settings.origins["inconclusive"]
                pytest.fail(f"{text} (inconclusive=fail from {origin})", pytrace=False)
            self._warn(
                text, NotMeasuredWarning if result == "not-measured" else InconclusiveWarning
            )

    def _warn(self, text: str, category: type[PytestNonblockingWarning]) -> None:
        __tracebackhide__ = True
        warn = functools.partial(warnings.warn_explicit, category(text), None, *self._location())
        try:
            warn()
        except InconclusiveWarning:
            categories: list[Any] = [one[2] for one in warnings.filters]
            if any(issubclass(one, PytestNonblockingWarning) for one in categories):
                raise
            # A busy machine must not fail a test because all warnings are errors.
            with warnings.catch_warnings():
                warnings.simplefilter("always", category)
                warn()

    def _number_of(self, outcome: Outcome) -> int | None:
        return next((n for n, one in enumerate(self._outcomes) if one is outcome), None)

    def _location(self) -> tuple[str, int]:
        """Return the file of the test, or of what it is a test of, and the line in it."""
        path, line, _ = self._item.reportinfo()
        return str(path), (line or 0) + 1


def _accepted(measured: Measurement, baseline: str) -> Measurement:
    """Return the measurement of a known failure, however often it is enforced."""
    if measured.record.accepted_by:
        return measured
    notes = (*measured.record.notes, f"known failure, accepted by {baseline}")
    return replace(measured, record=replace(measured.record, accepted_by="baseline", notes=notes))
