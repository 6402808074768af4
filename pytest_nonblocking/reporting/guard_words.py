"""What the guard found, in words: the notes, and the rows of a failure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..analysis.user_code import is_user_code
from ..guard import instead_of
from ..model import Category, Culprit, Evidence, Finding, Limit, Limits
from .offloading import joined, offload
from .places import relative, route_text
from .units import milliseconds, plural, setting_text

HEADLINE = "makes calls that block the event loop, however fast they were here"
_NO_CPU = (
    "the guard slows down the one run of a watched test, so the CPU time of its callbacks was not "
    "judged: run with guard=off to judge it"
)
_FUNCTIONS = 3
_PLACES = 8
_FOR: Mapping[Category, str] = {
    "network": "as the other side takes",
    "database": "as the database takes",
    "sleep": "as it sleeps",
    "file": "as the disk takes",
    "process": "as the process takes",
    "lock": "as another thread takes",
    "dns": "as the name server takes",
}


def held(limits: Mapping[str, Limit]) -> Limits:
    """Return what decides which findings are accused."""
    chosen, allowed = limits["guard_categories"].value, limits["guard_allow"].value
    return Limits(guard_categories=tuple(chosen), guard_allow=tuple(allowed))


def calls_text(findings: Sequence[Finding]) -> str:
    """Return what the calls of one line are, and for how long they block."""
    first = findings[0]
    names = [name for one in findings for name in one.functions]
    shown = ", ".join(names[:_FUNCTIONS])
    if (more := len(names) - _FUNCTIONS) > 0:
        shown += f" and {plural(more, 'other function')}"
    took = milliseconds(sum(one.seconds for one in findings))
    times = plural(sum(one.times for one in findings), "time")
    blocks = "it blocks" if len(names) == 1 else "they block"
    return (
        f"calls {shown} on the event loop: {times}, {took} here; {blocks} for as long "
        f"{_FOR[first.category]}"
    )


def fix_of(finding: Finding, loop: str) -> str | None:
    """Return what to await on ``loop`` in place of the calls, None where that is not known."""
    return finding.instead or instead_of(finding.calls, finding.code, finding.category, loop)


def notes(
    findings: Sequence[Finding],
    evidence: Evidence,
    limits: Mapping[str, Limit],
    culprit: Culprit | None,
    rootdir: Path,
) -> list[str]:
    """Return a note for each line that makes such calls, slow ones first.

    What a failure says is left out: its ``culprit``, and all that ``guard="fail"`` fails.
    """
    lines = []
    guarded, allow = evidence.guarded, limits["guard_allow"]
    if guarded is not None and guarded.unmeasured:
        lines.append(f"guard: not-measured: {guarded.unmeasured}")
    if guarded is not None and evidence.watched:
        lines.append(_NO_CPU)
    for category in dict.fromkeys(one.category for one in findings):
        if category in allow.value:
            accepted = sum(one.category == category for one in findings)
            reason = allow.value[category]
            lines.append(
                f"{category} calls at {plural(accepted, 'line')} accepted by guard_allow "
                f"(from {allow.origin})" + (f": {reason}" if reason else "")
            )
    fails = limits["guard"].value == "fail"
    shown = (
        one
        for one in findings
        if one.category not in allow.value and not (fails and one.is_accused(held(limits)))
    )
    places = _by_place(shown, culprit)
    lines += [_note(place, evidence, rootdir) for place in places[:_PLACES]]
    if left := places[_PLACES:]:
        lines.append(
            f"calls that block the event loop at {plural(len(left), 'more line')}: they are in the "
            "JSON and HTML reports"
        )
    return lines


def _note(findings: Sequence[Finding], evidence: Evidence, rootdir: Path) -> str:
    first = findings[0]
    path = f" → {' → '.join(first.calls)}" if len(first.calls) > 1 else ""
    fix = f": {known}" if (known := fix_of(first, evidence.calibration.loop)) else ""
    return f"{calls_text(findings)} ({_place(first, rootdir)}{path}){fix}"


def _by_place(findings: Iterable[Finding], culprit: Culprit | None = None) -> list[list[Finding]]:
    """Return the findings of each line except the culprit's."""
    places: dict[tuple[str, int], list[Finding]] = {}
    for one in findings:
        if culprit is None or (one.file, one.line) != (culprit.file, culprit.line):
            places.setdefault((one.file, one.line), []).append(one)
    return list(places.values())


def _place(finding: Finding, rootdir: Path) -> str:
    return f"{relative(finding.file, rootdir)}:{finding.line} in {finding.function}"


def rows(
    findings: Iterable[Finding],
    evidence: Evidence,
    limits: Mapping[str, Limit],
    culprit: Culprit | None,
    rootdir: Path,
) -> list[tuple[str, str]]:
    """Return the rows of a failure, with their labels, for all that the guard fails.

    The line of the measured ``culprit``, if there is one, is left out. Empty if nothing is left.
    """
    strict = held(limits)
    places = _by_place((one for one in findings if one.is_accused(strict)), culprit)
    if not places:
        return []
    shown = [row for place in places[:_PLACES] for row in _rows_of(place, evidence, rootdir)]
    if (left := len(places) - _PLACES) > 0:
        shown.append(("guard", f"{plural(left, 'more line')}: see the JSON or HTML report"))
    none = ", ".join(one for one in strict.guard_categories if one not in strict.guard_allow)
    limit = setting_text("guard", "fail", limits["guard"])
    shown.append(("limit", f"{limit}: no call of these categories on the event loop: {none}"))
    return shown


def _rows_of(
    findings: Sequence[Finding], evidence: Evidence, rootdir: Path
) -> list[tuple[str, str]]:
    first = findings[0]
    where, path = _place(first, rootdir), " → ".join(first.calls)
    if first.library:
        route = f"handler {route_text(first.route, rootdir)} → " if first.route else ""
        where, path = f"in a library: {where}", f"{route}{path}"
    else:
        path = f"{first.code}      → {path}"
    is_own = first.route is None or is_user_code(first.route.file)
    away = offload(evidence, first.function if is_own and not first.library else None)
    fix = joined(fix_of(first, evidence.calibration.loop), away)
    return [("guard", calls_text(findings)), ("where", where), ("", f"    {path}"), ("fix", fix)]
