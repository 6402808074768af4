"""From the evidence of one measurement to its outcome and its record."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from .analysis import attribution, findings, verdict
from .analysis.places import Place
from .config import Settings
from .guard import Rules
from .load.gathering import why_unmeasured
from .model import Culprit, Evidence, Finding, Judgement, Limit, Limits, Outcome
from .reporting import escaped, guard_words
from .reporting.advice import notes_for
from .reporting.json_report import measurement
from .reporting.record import Measurement

_SHOWN_LIMITS = (
    "concurrency",
    "max_serial_fraction",
    "max_lag",
    "max_blocked",
    "cpu_allowance",
    "allow",
    "timeout",
    "guard",
    "guard_categories",
    "guard_allow",
)


def limits_of(settings: Settings) -> Limits:
    """Return the settings that are limits of the verdict."""
    values = {name: getattr(settings, name) for name in _SHOWN_LIMITS}
    names = {name: tuple(values[name]) for name in ("allow", "guard_allow")}
    return Limits(**values | names)


def place_of(scenario: Callable[..., object]) -> Place | None:
    """Return where the code of ``scenario`` is, None if it is not written in Python."""
    while isinstance(scenario, functools.partial):
        scenario = scenario.func
    code = getattr(inspect.unwrap(scenario), "__code__", None)
    if code is None:
        return None
    return code.co_filename, getattr(code, "co_qualname", code.co_name)


def _no_packages() -> frozenset[str]:
    return frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is measured, and what its outcomes are called.

    ``packages`` returns the top-level packages of the apps that it uses; it is called once for each
    outcome, and may fail.
    """

    nodeid: str
    name: str
    rootdir: Path
    rules: Rules
    packages: Callable[[], frozenset[str]] = _no_packages

    def conclude(
        self,
        evidence: Evidence,
        settings: Settings,
        place: Place | None,
        wall: float,
        notes: tuple[str, ...] = (),
    ) -> tuple[Outcome, Measurement]:
        """Return the outcome of ``evidence`` and its record.

        ``place`` is the body's, ``wall`` the seconds that it took, and ``notes`` are shown first. A
        fault of the plugin is not raised: the outcome is then "not-measured".
        """
        try:
            limits, packages = limits_of(settings), self.packages()
            found = findings.find(evidence.guarded, self.rules.exempt, place, packages)
            measured_alone = verdict.judge(evidence, limits)
            judgement = findings.convicted(measured_alone, evidence.guarded, found, limits)
            culprit = attribution.find(evidence, judgement, place, packages)
            culprit = findings.named(culprit, judgement, found, limits)
            outcome = self._outcome(evidence, settings, judgement, culprit, found)
            outcome = replace(outcome, packages=packages, wall=wall)
            return self._recorded(outcome, notes)
        except Exception as error:
            return self.unmeasured(why_unmeasured(error), settings, wall, notes)

    def unmeasured(
        self, why: str, settings: Settings, wall: float = 0.0, notes: tuple[str, ...] = ()
    ) -> tuple[Outcome, Measurement]:
        """Return the outcome and the record of what could not be measured, and ``why``."""
        evidence = Evidence(unmeasured=why)
        outcome = self._outcome(evidence, settings, Judgement("not-measured"), None)
        return self._recorded(replace(outcome, wall=wall), notes)

    def _recorded(self, outcome: Outcome, notes: tuple[str, ...]) -> tuple[Outcome, Measurement]:
        outcome = replace(outcome, notes=(*notes, *outcome.notes))
        measured = measurement(outcome, self.rootdir)
        return replace(outcome, message=measured.record.message), measured

    def _outcome(
        self,
        evidence: Evidence,
        settings: Settings,
        judgement: Judgement,
        culprit: Culprit | None,
        found: tuple[Finding, ...] = (),
    ) -> Outcome:
        limits = {
            name: Limit(getattr(settings, name), settings.origins[name]) for name in _SHOWN_LIMITS
        }
        return Outcome(
            nodeid=escaped.line(self.nodeid),
            target=escaped.line(attribution.target(evidence) or self.name),
            judgement=judgement,
            evidence=evidence,
            limits=limits,
            culprit=culprit,
            notes=(
                *notes_for(judgement, evidence, limits),
                *guard_words.notes(found, evidence, limits, culprit, self.rootdir),
            ),
            findings=found,
        )
