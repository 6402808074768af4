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
    lines += [Line(f"nonblocking: {text}", "yellow") for text in unused_allowances(records)]
    if not records and marked:
        lines.append(Line(_nothing_measured(settings, marked), "yellow"))
    conclusive = sum(record.verdict in CONCLUSIVE for record in records)
    if conclusive < settings.require:
        lines.append(Line(_too_few(settings, conclusive), FAULT))
    return Ending(lines, any(line.colour == FAULT for line in lines))


def _nothing_measured(settings: Settings, marked: int) -> str:
    why = "each was skipped, or failed before its measurement"
    if settings.mode == "off":
        why = f"mode=off from {settings.origins['mode']}"
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
        before, after = set(baseline.known), set(updated.known)
        try:
            updated.write()
        except OSError as error:
            return [Line(f"nonblocking: cannot write the baseline {name}: {error}", FAULT)]
        return [
            Line(
                f"nonblocking: wrote {plural(len(after), 'known failure')} to {name}: "
                f"{len(after - before)} new or changed, {len(before - after)} removed or changed",
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
    """Return which accepted causes were not found by any measurement that came to a verdict.

    A marker's allowance is its test's own, one from the command line or an ini file is everyone's.
    """
    used: defaultdict[tuple[str, str, str], bool] = defaultdict(bool)
    for record in records:
        limit = record.limits.get("allow")
        if limit is None or record.verdict not in CONCLUSIVE:
            continue
        owner = record.nodeid if limit.from_ in ("marker", "nonblocking.measure()") else ""
        for cause in limit.value if isinstance(limit.value, dict) else ():
            used[owner, limit.from_, cause] |= cause in record.allowed
    return [
        f"allow={cause} from {origin} is unused "
        + (f"in {owner}: remove it" if owner else "in every test of this run")
        for (owner, origin, cause), found in used.items()
        if not found
    ]
