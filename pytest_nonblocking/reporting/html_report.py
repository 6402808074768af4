"""The report as one page that opens offline: all it needs is in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2

from . import charts
from .details import DEEPEST_SHOWN
from .record import Record, Report
from .terminal import BEST_FIRST


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
        charts=charts,
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
    def budget(self) -> charts.Chart | None:
        """The budget of the loop's time against the concurrency."""
        return charts.budget(self.record.levels) if self.record.levels else None

    @property
    def latency(self) -> charts.Chart | None:
        """The latency against the concurrency, where a single copy was measured too."""
        levels = self.record.levels
        if len(levels) < 2 or levels[0].concurrency != 1:
            return None
        return charts.latency(levels)

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
