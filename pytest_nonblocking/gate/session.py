"""Checks on the whole run, and the lines printed when it ends."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import pytest

from ..config import Settings
from ..model import CONCLUSIVE
from ..reporting.files import write_all
from ..reporting.record import Measurement, Record
from ..reporting.terminal import FAULT
from ..reporting.units import plural
from .baseline import BASELINE, Baseline


class Line(NamedTuple):
    """A line for the terminal, and its colour."""

    text: str
    colour: str


class Ending(NamedTuple):
    """The lines to print at the end of a run, and whether they make the run fail."""

    lines: list[Line]
    failed: bool


def conclude(
    settings: Settings, config: pytest.Config, measurements: Sequence[Measurement], marked: int
) -> Ending:
    """Write the reports and the baseline of a run, and hold it to what it requires.

    ``marked`` counts the tests that were to be measured.
    """
    records = [one.record for one in measurements]
    unwritten = write_all(settings, config, measurements)
    lines = [Line(f"nonblocking: {text}", FAULT) for text in unwritten]
    baseline = config.stash.get(BASELINE, None)
    if baseline is not None:
        lines += _of_baseline(baseline, records)
    unneeded = [*unused_allowances(records), *_guard_rules(settings, records)]
    lines += [Line(f"nonblocking: {text}", "yellow") for text in unneeded]
    if marked and all(record.verdict == "not-measured" for record in records):
        is_fine = settings.mode == "off" or settings.require is not None
        colour = "yellow" if is_fine else FAULT
        lines.append(Line(_nothing_measured(settings, marked, bool(records)), colour))
    conclusive = sum(record.verdict in CONCLUSIVE for record in records)
    if conclusive < (settings.require or 0):
        lines.append(Line(_too_few(settings, conclusive), FAULT))
    return Ending(lines, any(line.colour == FAULT for line in lines))


def _nothing_measured(settings: Settings, marked: int, tried: bool) -> str:
    if settings.mode == "off":
        why = f"mode=off from {settings.origins['mode']}"
    elif tried:
        why = "each could not be; the reasons are above (require=0 accepts this)"
    else:
        why = "each was skipped, or failed before it had a verdict (require=0 accepts this)"
    return f"nonblocking: {plural(marked, 'marked test')}, none measured: {why}"


def _too_few(settings: Settings, conclusive: int) -> str:
    return (
        f"nonblocking: {plural(conclusive, 'measurement')} produced a verdict, but "
        f"require={settings.require} from {settings.origins['require']}; check which tests were "
        "skipped, deselected, inconclusive or not measured"
    )


def _of_baseline(baseline: Baseline, records: Sequence[Record]) -> list[Line]:
    name = baseline.name
    if baseline.updating:
        updated = baseline.updated(records)
        before, after = ({(one.test, one.cause) for one in b.known} for b in (baseline, updated))
        try:
            updated.write()
        except OSError as error:
            return [Line(f"nonblocking: cannot write the baseline {name}: {error}", FAULT)]
        return [
            Line(
                f"nonblocking: wrote {plural(len(updated.known), 'known failure')} to {name}: "
                f"{len(after - before)} added, {len(before - after)} removed",
                "green",
            )
        ]
    accepted = sum(bool(record.accepted_by) for record in records)
    lines = []
    if accepted:
        lines.append(
            Line(f"nonblocking: {plural(accepted, 'known failure')} accepted by {name}", "yellow")
        )
    if fixed := baseline.fixed(records):
        lines.append(
            Line(
                f"nonblocking: {plural(len(fixed), 'known failure')} in {name} fixed: remove "
                f"{'it' if len(fixed) == 1 else 'them'} with --nonblocking-update-baseline",
                "green",
            )
        )
        lines += [
            Line(f"  {one.test}: {one.cause}" + (f", {one.where}" if one.where else ""), "green")
            for one in fixed
        ]
    return lines


def unused_allowances(records: Sequence[Record]) -> list[str]:
    """Return what is accepted and was not found by any measurement that came to a verdict.

    A marker's allowance is its test's own, one from the command line or an ini file is everyone's.
    """
    used: defaultdict[tuple[str, str, str, str], bool] = defaultdict(bool)
    for record in records:
        if record.verdict not in CONCLUSIVE:
            continue
        found = {"allow": record.allowed, "guard_allow": {one.category for one in record.guard}}
        for setting, names in found.items():
            limit = record.limits.get(setting)
            accepted = limit.value if limit is not None else None
            if limit is None or not isinstance(accepted, dict) or _guard_is_off(setting, record):
                continue
            owner = record.nodeid if limit.from_ in ("marker", "nonblocking.measure()") else ""
            for name in accepted:
                used[owner, setting, limit.from_, name] |= name in names
    return [
        f"{setting}={name} from {origin} is unused "
        + (f"in {owner}: remove it" if owner else "in every test of this run")
        for (owner, setting, origin, name), found in used.items()
        if not found
    ]


def _guard_is_off(setting: str, record: Record) -> bool:
    guard = record.limits.get("guard")
    return setting == "guard_allow" and guard is not None and guard.value == "off"


def _guard_rules(settings: Settings, records: Sequence[Record]) -> list[str]:
    """Return the user's rules that matched no call of the run, and what is wrong with others."""
    guarded = [one for one in records if not _guard_is_off("guard_allow", one)]
    if not any(one.verdict in CONCLUSIVE for one in guarded):
        return []
    from ..guard import OR, rules_of

    functions = {name for one in records for found in one.guard for name in found.functions}
    called = {name for function in functions for name in function.split(OR)}
    stale = [name for name in settings.guard_calls if name not in called]
    return [
        *(
            f"guard_calls={name} from {settings.origins['guard_calls']} matched no call in this "
            "run: correct or remove it"
            for name in stale
        ),
        *rules_of(settings.guard_calls).problems,
    ]
