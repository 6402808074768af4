"""The figures that a verdict rests on, beside their limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ...model import Reason
from ..record import Limit, Record
from ..units import duration, milliseconds

_DURATIONS = ("max_lag", "max_blocked", "cpu_allowance", "timeout")


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured figure with its bounds, its limit, and the setting that moves the limit."""

    reason: Reason
    name: str
    term: str
    value: float
    low: float
    high: float
    limit: float
    setting: str
    limit_text: str
    in_ms: bool

    @property
    def ratio(self) -> float:
        """The figure as a multiple of its limit."""
        if self.limit > 0:
            return self.value / self.limit
        return math.inf if self.value > 0 else 0.0

    @property
    def text(self) -> str:
        """The figure with its bounds, if it has any."""
        if self.in_ms:
            if self.value == 0:
                return "none near the limit"  # short ones are not recorded
            return milliseconds(self.value / 1000)
        shown = f"{self.value:.2f}"
        bounds = f"{self.low:.2f}–{self.high:.2f}"
        return shown if self.low == self.high else f"{shown} ({bounds})"

    def at(self, value: float) -> float:
        """Return where ``value`` is on a bar, in percent.

        The limit is always in the middle, 0 at the left and infinity at the right: so the limits
        of all rows stand in one line, whatever their units.
        """
        if self.limit <= 0:
            return 100.0 if value > 0 else 0.0
        share = max(0.0, value) / (max(0.0, value) + self.limit)
        return round(100 * share, 1)


def figures(record: Record, factor: float) -> list[Figure]:
    """Return what was compared with a limit; a machine slower by ``factor`` has longer limits."""
    if record.verdict == "not-measured" and not record.levels:
        return []
    if record.cause == "blocking-call":
        factor = 1.0  # a wait takes as long on any machine
    shown = (
        _scaling(record),
        _step(record, "lag", record.max_lag_ms, factor),
        _step(record, "blocked", record.max_blocked_ms, 1.0),
    )
    return [figure for figure in shown if figure is not None]


def _scaling(record: Record) -> Figure | None:
    judged = record.judged
    if judged is None:
        return None
    return Figure(
        reason="scaling",
        name="serial fraction",
        term="judged",
        value=judged.fraction,
        low=judged.low,
        high=judged.high,
        limit=judged.limit,
        setting="max_serial_fraction",
        limit_text=_fraction_limit(judged.limit, record.limits),
        in_ms=False,
    )


_STEPS = {"lag": ("longest step", "step"), "blocked": ("longest blocked", "blocked-step")}


def _step(
    record: Record, reason: Literal["lag", "blocked"], ms: float, slower: float
) -> Figure | None:
    setting = f"max_{reason}"
    limit = record.limits.get(setting)
    if limit is None or not isinstance(limit.value, (int, float)):
        return None
    name, term = _STEPS[reason]
    return Figure(
        reason=reason,
        name=name,
        term=term,
        value=ms,
        low=ms,
        high=ms,
        limit=limit.value * slower * 1000,
        setting=setting,
        limit_text=_slowed(limit, slower),
        in_ms=True,
    )


def decisive(record: Record, shown: list[Figure]) -> Figure | None:
    """Return the figure that explains the verdict best, None where no figure does."""
    over = [one for one in shown if one.reason in record.reasons]
    if over:
        return max(over, key=lambda one: one.ratio)
    return shown[0] if shown and record.verdict != "fail" else None


def severity(record: Record, shown: list[Figure]) -> float:
    """Return how far a measurement is over its limits: more is worse."""
    if "timeout" in record.reasons:
        return math.inf
    return max((one.ratio for one in shown), default=0.0)


def _fraction_limit(judged: float, limits: Mapping[str, Limit]) -> str:
    limit = limits.get("max_serial_fraction")
    if limit is None or not isinstance(limit.value, (int, float)):
        return f"{judged:.2f}"
    if judged > limit.value * 1.005:
        setting = f"{limit.value:.2f} ({origin(limit)})"
        return f"{judged:.2f} (1 ms per request: less never fails), {setting}"
    return f"{judged:.2f} ({origin(limit)})"


def _slowed(limit: Limit, slower: float) -> str:
    assert isinstance(limit.value, (int, float))
    text = f"{duration(limit.value)} ({origin(limit)})"
    return text if slower < 1.005 else f"{text} × {slower:.1f} slower machine"


def origin(limit: Limit) -> str:
    """Return where a limit was set."""
    return "default" if limit.from_ == "default" else f"from {limit.from_}"


def limit_value(name: str, limit: Limit) -> str:
    """Return the value of a setting with its unit."""
    value = limit.value
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if name in _DURATIONS and is_number:
        assert isinstance(value, (int, float))
        return duration(value)
    if name == "max_serial_fraction":
        return f"{value} of a single run's latency for each further request"
    if name == "concurrency":
        return f"{value} copies"
    if isinstance(value, dict):
        texts = [f"{key}: {why}" if why else str(key) for key, why in value.items()]
        return ", ".join(texts) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return str(value)
