"""The drawings of a measurement: latency by concurrency, and the loop's time per request."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import markupsafe
import pygal  # type: ignore[import-untyped]  # it has no hints

from ..record import Level, Past, Record
from ..units import milliseconds

# It adds a finder for its plug-ins to the interpreter's, of a kind of which CPython 3.11 warns
# at every import that is not found later.
sys.meta_path[:] = [f for f in sys.meta_path if not isinstance(f, pygal.PluginImportFixer)]

PARTS = ("cpu", "blocked", "gil", "gc", "descheduled", "idle", "own")
_OCCURS = 0.01
_WIDTH = 560


class Chart(NamedTuple):
    """A drawing, and the names of the series that occur in it, for its legend."""

    drawing: markupsafe.Markup
    series: tuple[str, ...]


def latency(record: Record) -> Chart | None:
    """Return the latencies of all runs against the concurrency, beside what is allowed."""
    levels = record.levels
    if len(levels) < 2 or levels[0].concurrency != 1:
        return None
    chart = pygal.XY(
        **_look(300),
        x_title="copies at once",
        x_labels=[level.concurrency for level in levels],
        stroke=False,
        dots_size=4,
    )
    names = []
    for name, points, how in _lines(record):
        names.append(name)
        chart.add(name, points, show_dots=False, stroke=True, **how)
    for name, field in (("median", "p50_ms"), ("slowest", "makespan_ms")):
        names.append(name)
        chart.add(name, _points(levels, name, field))
    return _drawn(chart, f"Latency against concurrency, {_summary(levels)}", names)


def _lines(record: Record) -> list[tuple[str, list[tuple[float, float]], dict[str, Any]]]:
    """Return the area between the bounds and the line of the limit, if scaling was judged.

    What is not judged, such as the CPU allowance, raises both: so a point is above the line of the
    limit where its figure is above the limit.
    """
    judged = record.judged
    if judged is None or record.serial_fraction is None:
        return []
    alone, most = record.levels[0].makespan_ms, record.levels[-1].concurrency
    unjudged = max(0.0, record.serial_fraction - judged.fraction)

    def at_most(fraction: float) -> tuple[float, float]:
        return most, alone * (1 + (most - 1) * (unjudged + fraction))

    start = (1.0, alone)
    area = [start, at_most(judged.low), at_most(judged.high), start]
    return [
        ("bounds", area, {"fill": True}),
        ("limit", [start, at_most(judged.limit)], {}),
    ]


def _points(levels: Sequence[Level], name: str, field: str) -> list[dict[str, Any]]:
    points = []
    for level in levels:
        whole = level.latency_ms.p50 if name == "median" else level.makespan_ms
        values = [getattr(run, field) for run in level.runs] or [whole]
        points += [
            {
                "value": (level.concurrency, value),
                "label": f"{level.concurrency} at once, {name}: {milliseconds(value / 1000)}",
            }
            for value in values
            if value is not None
        ]
    return points


def budget(record: Record) -> Chart | None:
    """Return how the loop's time divides, per request, as a bar for each concurrency."""
    levels = record.levels[::-1]  # the first bar is drawn at the bottom
    each = {
        name: [getattr(level.budget_ms, name) / level.concurrency for level in levels]
        for name in PARTS
    }
    longest = max((sum(parts) for parts in zip(*each.values(), strict=True)), default=0.0)
    names = [name for name in PARTS if max(each[name], default=0.0) > _OCCURS * longest]
    if not names:
        return None
    chart = pygal.HorizontalStackedBar(
        **_look(80 + 40 * len(levels)), x_title="ms of the loop's time per request"
    )
    chart.x_labels = [_at_once(level) for level in levels]
    for name in names:
        chart.add(
            name,
            [
                {
                    "value": max(0.0, value),
                    "label": f"{_at_once(level)}: {milliseconds(value / 1000)} {name} per request",
                }
                for level, value in zip(levels, each[name], strict=True)
            ],
        )
    shown = "; ".join(
        f"{_at_once(level)}: "
        + ", ".join(f"{name} {milliseconds(each[name][n] / 1000)}" for name in names)
        for n, level in enumerate(levels)
    )
    return _drawn(chart, f"The loop's time per request. {shown}", names)


def trend(record: Record, started: str) -> Chart | None:
    """Return the figures of the earlier runs and of this one, None where there are no earlier."""
    if not record.history:
        return None
    now = Past(
        started=started,
        commit=None,
        verdict=record.verdict,
        serial_ms=record.serial_ms,
        max_lag_ms=record.max_lag_ms,
    )
    runs = [*record.history, now]
    chart = pygal.Line(**_look(260), dots_size=4, show_minor_x_labels=False)
    chart.x_labels = [run.started[:10] for run in runs]
    chart.x_labels_major = [chart.x_labels[0], chart.x_labels[-1]]
    names = {"adds": "serial_ms", "longest": "max_lag_ms"}
    for name, field in names.items():
        chart.add(name, [_past_point(run, name, getattr(run, field)) for run in runs])
    shown = ", ".join(f"{run.started[:10]} {run.verdict}" for run in runs)
    return _drawn(chart, f"Trend over {len(runs)} runs: {shown}", list(names))


def _past_point(run: Past, name: str, value: float | None) -> dict[str, Any]:
    figure = {"adds": "each further request adds", "longest": "longest step"}[name]
    shown = "" if value is None else f", {figure} {milliseconds(value / 1000)}"
    commit = f" {run.commit[:12]}" if run.commit else ""
    return {"value": value, "label": f"{run.started}{commit}: {run.verdict}{shown}"}


def _at_once(level: Level) -> str:
    return "alone" if level.concurrency == 1 else f"{level.concurrency} at once"


def _look(height: int) -> dict[str, Any]:
    return {
        "js": [],
        "css": [],  # the page has one style for all charts, in light and dark
        "disable_xml_declaration": True,
        "width": _WIDTH,
        "height": height,
        "show_legend": False,  # the page has its own, which wraps
        "max_scale": 6,
        "include_x_axis": True,
        "margin": 8,
    }


def _drawn(chart: Any, shown: str, names: Sequence[str]) -> Chart:
    """Return the chart as an element of the page, with the text ``shown`` for screen readers.

    A series has the class of its name. What a pointer rests on shows its label without a script.
    """

    def fit(root: Any) -> Any:
        root.set("role", "img")
        root.set("aria-label", shown)
        for parent in root.iter():
            parent.attrib.pop("id", None)  # the same in each chart
            kinds = parent.get("class", "").split()
            if "series" in kinds:
                number = next(int(one[6:]) for one in kinds if one.startswith("serie-"))
                parent.set("class", f"series {names[number]}")
            _label(parent)
        return root

    chart.add_xml_filter(fit)
    return Chart(markupsafe.Markup(chart.render(is_unicode=True)), tuple(names))


def _label(parent: Any) -> None:
    """Leave of what only pygal's script uses the label, as a title."""
    for child in list(parent):
        kind, name = child.get("class", ""), str(child.tag).rpartition("}")[2]
        if name == "desc" and kind == "label":
            child.tag = child.tag.replace("desc", "title")
            child.attrib.pop("class")
        elif name in ("script", "style", "title", "desc") or kind in ("tooltip", "tooltip-overlay"):
            parent.remove(child)


def _summary(levels: Sequence[Level]) -> str:
    return ", ".join(
        f"{level.concurrency} at once: {milliseconds(level.makespan_ms / 1000)}" for level in levels
    )
