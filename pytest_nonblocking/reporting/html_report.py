"""The report as one page that opens offline: all it needs is in it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import markupsafe
import pygal  # type: ignore[import-untyped]  # it has no hints

from .details import DEEPEST_SHOWN
from .record import Level, Record, Report
from .terminal import BEST_FIRST

# It adds a finder for its plug-ins to the interpreter's, of a kind of which CPython 3.11 warns
# at every import that is not found later.
sys.meta_path[:] = [f for f in sys.meta_path if not isinstance(f, pygal.PluginImportFixer)]

_PARTS = {
    "cpu": "on the CPU",
    "blocked": "blocked",
    "gil": "waiting for the GIL",
    "gc": "garbage collector",
    "descheduled": "kept waiting by the machine",
    "idle": "idle",
}
_LATENCIES = ("slowest copy", "median copy", "if none waits (ideal)", "if all wait in line")
_WIDTH, _HEIGHT = 440, 260


def render(report: Report) -> str:
    """Return the whole page of a report."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    tests = [_Test(number, test) for number, test in enumerate(report.tests, start=1)]
    tests.sort(key=lambda test: -BEST_FIRST.index(test.record.verdict))
    return environment.get_template("report.html.j2").render(
        report=report,
        tests=tests,
        parts=_PARTS,
        latencies=_LATENCIES,
        verdicts=_counts(test.record.verdict for test in tests),
        causes=_counts(test.record.cause for test in tests if test.record.cause),
    )


def _counts(words: Iterable[str]) -> list[tuple[str, int]]:
    return sorted(Counter(words).items())


@dataclass(frozen=True, slots=True)
class _Test:
    """One measurement as the page shows it."""

    number: int
    record: Record

    @property
    def source(self) -> list[tuple[int, str, bool]]:
        """The lines around the culprit's: number, text, and whether it is the one."""
        culprit = self.record.culprit
        if culprit is None or culprit.source is None:
            return []
        numbered = enumerate(culprit.source.lines, start=culprit.source.first)
        return [(number, text, number == culprit.line) for number, text in numbered]

    @property
    def budget(self) -> markupsafe.Markup | None:
        """The budget of the loop's time against the concurrency, as a drawing."""
        levels = self.record.levels
        if not levels:
            return None
        chart = pygal.StackedBar(
            **_look("Milliseconds of the loop's time"), x_title="copies at once"
        )
        chart.x_labels = [str(level.concurrency) for level in levels]
        for name, title in _PARTS.items():
            chart.add(title, [getattr(level.budget_ms, name) for level in levels])
        return _drawn(chart, f"Where the loop's time goes, {_told(levels)}")

    @property
    def latency(self) -> markupsafe.Markup | None:
        """The latency against the concurrency, beside the ideal and the worst."""
        levels = self.record.levels
        if len(levels) < 2 or levels[0].concurrency != 1:
            return None
        alone, most = levels[0].makespan_ms, levels[-1].concurrency
        chart = pygal.XY(**_look("Milliseconds from the release"), x_title="copies at once")
        chart.x_labels = [level.concurrency for level in levels]
        for title, name in zip(_LATENCIES, ("max", "p50"), strict=False):
            points = [(level.concurrency, getattr(level.latency_ms, name)) for level in levels]
            chart.add(title, [point for point in points if point[1] is not None])
        chart.add(_LATENCIES[2], [(1, alone), (most, alone)], show_dots=False)
        chart.add(_LATENCIES[3], [(1, alone), (most, most * alone)], show_dots=False)
        return _drawn(chart, f"Latency against concurrency, {_told(levels)}")

    @property
    def timeline(self) -> _Timeline | None:
        """One burst, a bar for each copy."""
        shown = self.record.timeline
        if shown is None or not shown.makespan_ms:
            return None
        scale = 1000 / shown.makespan_ms
        bars = []
        for copy in shown.copies:
            end = shown.makespan_ms if copy.end_ms is None else copy.end_ms
            steps = []
            for start, length, blocked in copy.steps_ms:
                loop = max(0.0, length - blocked)
                steps.append((start * scale, loop * scale, (start + loop) * scale, blocked * scale))
            bars.append(_Bar(end * scale, steps))
        return _Timeline(shown.concurrency, shown.makespan_ms, bars)

    @property
    def flames(self) -> list[_Flame]:
        """The merged stacks: what is called lies below what calls it."""
        root = _Flame("", 0)
        for stack in self.record.stacks:
            root.add(stack.frames[:DEEPEST_SHOWN], stack.count)
        return root.below


@dataclass(frozen=True, slots=True)
class _Bar:
    """One copy: when it ended, and its steps as (x, width) on the loop and (x, width) blocked."""

    end: float
    steps: list[tuple[float, float, float, float]]


@dataclass(frozen=True, slots=True)
class _Timeline:
    concurrency: int
    makespan_ms: float
    bars: list[_Bar]


@dataclass(slots=True)
class _Flame:
    """A frame, how often it was seen, and what it called."""

    name: str
    count: int
    below: list[_Flame] = field(default_factory=list)

    def add(self, frames: Sequence[str], count: int) -> None:
        """Merge a stack into the tree."""
        if not frames:
            return
        child = next((one for one in self.below if one.name == frames[0]), None)
        if child is None:
            child = _Flame(frames[0], 0)
            self.below.append(child)
        child.count += count
        child.add(frames[1:], count)
        self.below.sort(key=lambda one: -one.count)


def _look(y_title: str) -> dict[str, Any]:
    return {
        "js": [],
        "css": [],  # the page has one style for all charts, in light and dark
        "disable_xml_declaration": True,
        "width": _WIDTH,
        "height": _HEIGHT,
        "y_title": y_title,
        "show_legend": False,  # the page has its own, which wraps
        "max_scale": 6,
        "include_x_axis": True,
        "margin": 8,
    }


def _drawn(chart: Any, shown: str) -> markupsafe.Markup:
    """Return the chart as an element of the page, with the text ``shown`` for screen readers."""

    def fit(root: Any) -> Any:
        root.set("role", "img")
        root.set("aria-label", shown)
        for parent in root.iter():
            parent.attrib.pop("id", None)  # the same in each chart
            for child in list(parent):
                name = str(child.tag).rpartition("}")[2]
                if name in ("script", "style", "title", "desc") or child.get("class") in (
                    "tooltip",
                    "tooltip-overlay",
                ):
                    parent.remove(child)
        return root

    chart.add_xml_filter(fit)
    return markupsafe.Markup(chart.render(is_unicode=True))


def _told(levels: Sequence[Level]) -> str:
    took = ((level.concurrency, level.makespan_ms) for level in levels)
    return ", ".join(f"{copies} at once: {makespan:.1f} ms" for copies, makespan in took)
