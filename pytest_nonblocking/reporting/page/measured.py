"""Each measurement as the page shows it, and the failures of one culprit together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote

from ...causes import CAUSE_TEXTS
from ...model import Verdict
from ..record import Place, Record, Report, Session
from ..units import milliseconds, plural, rate
from . import charts, stacks, timeline
from .figures import Figure, decisive, figures, limit_value, origin, severity

WORST_FIRST: tuple[Verdict, ...] = ("fail", "inconclusive", "not-measured", "pass")
_WORTH_SAYING = 0.02
_ON_THE_LOOP = ("blocking-call", "cpu-on-loop")


class Measured:
    """One measurement."""

    def __init__(self, number: int, record: Record, report: Report) -> None:
        self.number = number
        self.record = record
        self._session = report.session
        self._factor = report.environment.machine_factor

    @property
    def rank(self) -> tuple[int, bool, float, int]:
        """The worst sort first by it."""
        record = self.record
        place = WORST_FIRST.index(record.verdict)
        return place, bool(record.accepted_by), -self.severity, self.number

    @property
    def severity(self) -> float:
        """How far it is over its limits."""
        return severity(self.record, self.figures)

    @cached_property
    def figures(self) -> list[Figure]:
        """What was compared with a limit."""
        return figures(self.record, self._factor)

    @property
    def decisive(self) -> Figure | None:
        """The figure that explains the verdict."""
        return decisive(self.record, self.figures)

    @property
    def place(self) -> Place | None:
        """Where the cost is: the culprit, or the first line that the guard accuses."""
        if self.record.place is not None or self.record.reasons != ("guard",):
            return self.record.place
        accused = (one for one in self.record.guard if one.accused)
        places = (Place(one.file, one.line, one.function, one.library) for one in accused)
        return next(places, None)

    def link(self, place: Place | None) -> str | None:
        """Return an address that opens a place: in the repository of a CI run, or in an editor."""
        return None if place is None else _link(place, self._session)

    @property
    def headline(self) -> str:
        """What was found, without what it was found of."""
        record = self.record
        first = (record.message or "").partition("\n")[0].removeprefix("nonblocking: ")
        if record.target and first.startswith(f"{record.target} "):
            return first.removeprefix(record.target).strip()
        return CAUSE_TEXTS[record.cause].headline if record.cause else "fails"

    @property
    def fix(self) -> str | None:
        """What to do about it."""
        record = self.record
        accused = [one.fix for one in record.guard if one.accused and one.fix]
        if record.reasons == ("guard",):
            return accused[0] if accused else None
        return record.fix or (CAUSE_TEXTS[record.cause].fix if record.cause else None)

    @property
    def facts(self) -> list[str]:
        """What a reader has to know of the measurement, in sentences."""
        record = self.record
        if "timeout" in record.reasons:
            return [self._unfinished]
        if record.reasons == ("guard",):
            return [self._accused]
        sentences = []
        if record.serial_ms is not None and record.cause:
            each = CAUSE_TEXTS[record.cause].per_request.capitalize()
            sentences.append(f"{each} {milliseconds(record.serial_ms / 1000)}.")
        if record.levels:
            first, last = record.levels[0], record.levels[-1]
            alone = first.makespan_ms if record.alone_ms is None else record.alone_ms
            took = f"One alone takes {milliseconds(alone / 1000)}"
            if last.concurrency > 1:
                took += f", {last.concurrency} at once {milliseconds(last.makespan_ms / 1000)}"
            sentences.append(f"{took}.")
        if record.ceiling_rps and "scaling" in record.reasons:
            sentences.append(f"One process serves at most {rate(record.ceiling_rps)}.")
        return sentences

    @property
    def _unfinished(self) -> str:
        copies = self.record.timeline.copies if self.record.timeline else ()
        ended = sum(copy.end_ms is not None for copy in copies)
        who = f"{ended} of {plural(len(copies), 'copy', 'copies')} ended" if copies else "It hung"
        limit = self.record.limits.get("timeout")
        if limit is None:
            return f"{who}."
        within = "within" if copies else "for"
        return f"{who} {within} {limit_value('timeout', limit)} (timeout, {origin(limit)})."

    @property
    def _accused(self) -> str:
        accused = [one for one in self.record.guard if one.accused]
        calls = ", ".join(dict.fromkeys(name for one in accused for name in one.functions))
        took = milliseconds(sum(one.took_ms for one in accused) / 1000)
        limit = self.record.limits.get("guard")
        where = f" ({origin(limit)})" if limit else ""
        return (
            f"{calls} took {took} here; guard=fail{where} permits no such call on the event loop."
        )

    @property
    def others(self) -> list[str]:
        """The other causes, where one has a share that is worth fixing."""
        shares = ((one.cause, one.share) for one in self.record.causes)
        return [f"{c} {share:.0%}" for c, share in shares if c != self.record.cause and share > 0.1]

    @property
    def unjudged(self) -> str | None:
        """What the requests add and is not judged, None where it is next to nothing."""
        record = self.record
        if record.judged is None or record.serial_fraction is None or record.serial_ms is None:
            return None
        rest = record.serial_fraction - record.judged.fraction
        if rest < _WORTH_SAYING or record.serial_fraction <= 0:
            return None
        each = milliseconds(record.serial_ms / 1000)
        unjudged = milliseconds(record.serial_ms * rest / record.serial_fraction / 1000)
        return (
            f"Each further request adds {each} (serial fraction {record.serial_fraction:.2f}), of "
            f"which {unjudged} are not judged: allowed CPU time, accepted causes, offloaded work"
        )

    @property
    def source(self) -> list[tuple[int, str, bool]]:
        """The lines around the culprit's: number, text, and whether it is the one."""
        culprit = self.record.culprit
        if culprit is None or culprit.source is None:
            return []
        numbered = enumerate(culprit.source.lines, start=culprit.source.first)
        return [(number, text, number == culprit.line) for number, text in numbered]

    @property
    def limits(self) -> list[tuple[str, str, str]]:
        """The settings: name, value with its unit, and origin."""
        shown = self.record.limits.items()
        return [(name, limit_value(name, limit), limit.from_) for name, limit in shown]

    @cached_property
    def timeline(self) -> timeline.Timeline | None:
        """One burst, a bar for each copy."""
        return timeline.drawn(self.record.timeline)

    @cached_property
    def latency(self) -> charts.Chart | None:
        """The latency against the concurrency."""
        return charts.latency(self.record)

    @cached_property
    def budget(self) -> charts.Chart | None:
        """The loop's time per request."""
        return charts.budget(self.record)

    @cached_property
    def trend(self) -> charts.Chart | None:
        """The figures of the earlier runs and of this one."""
        return charts.trend(self.record, self._session.started if self._session else "now")

    @cached_property
    def stacks(self) -> list[stacks.Frame]:
        """The merged stacks: what is called lies below what calls it."""
        return stacks.merged(self.record.stacks)

    @property
    def best_plot(self) -> str | None:
        """The one drawing that shows the cause best."""
        if self.record.reasons == ("guard",):
            return None  # it was fast here
        order = ["timeline", "latency", "budget", "stacks"]
        if "timeout" in self.record.reasons:
            order = ["timeline", "stacks"]
        elif self.record.cause not in _ON_THE_LOOP:
            order[:2] = ["latency", "timeline"]
        return next((name for name in order if getattr(self, name)), None)


@dataclass(frozen=True, slots=True)
class Group:
    """The failures of one cause at one place, the worst first."""

    number: int
    tests: list[Measured]

    @property
    def worst(self) -> Measured:
        """The measurement that stands for all."""
        return self.tests[0]

    @property
    def title(self) -> str:
        """What blocks: the request, or the line where it is that of several requests."""
        targets = list(dict.fromkeys(t.record.target or t.record.nodeid for t in self.tests))
        place = self.worst.place
        subject = str(place) if len(targets) > 1 and place else targets[0]
        return f"{subject} {self.worst.headline}"

    @property
    def is_known(self) -> bool:
        """Whether the baseline accepts them all."""
        return all(test.record.accepted_by for test in self.tests)


def measured(report: Report) -> list[Measured]:
    """Return all measurements, the worst first; each has the number of its place in the report."""
    tests = [Measured(number, one, report) for number, one in enumerate(report.tests, start=1)]
    return sorted(tests, key=lambda test: test.rank)


def grouped(tests: Iterable[Measured]) -> list[Group]:
    """Return the failures by culprit; one without a known place is alone."""
    groups: dict[object, list[Measured]] = {}
    for test in tests:
        if test.record.verdict != "fail":
            continue
        place = test.place
        alone = test.number if place is None else (place.file, place.line)
        groups.setdefault((test.record.cause, test.headline, alone), []).append(test)
    ordered = sorted(groups.values(), key=lambda group: group[0].rank)
    return [Group(number, group) for number, group in enumerate(ordered, start=1)]


def _link(place: Place, session: Session | None) -> str | None:
    if session is None or place.library:
        return None
    is_absolute = place.file.startswith("/") or place.file[1:3] == ":/"
    if session.source_url is not None:
        return None if is_absolute else f"{session.source_url}{quote(place.file)}#L{place.line}"
    if session.rootdir is None:
        return None
    path = place.file if is_absolute else f"{session.rootdir}/{place.file}"
    return f"vscode://file/{quote(path.lstrip('/'), safe='/:')}:{place.line}"


def counts(words: Iterable[str], order: Sequence[str] = ()) -> list[tuple[str, int]]:
    """Return how often each word occurs, in the order given, then by the alphabet."""
    found = list(words)
    known = [*order, *sorted(set(found) - set(order))]
    return [(word, found.count(word)) for word in known if word in found]
