"""The facts of a record as JUnit properties."""

from __future__ import annotations

from .plain import to_plain
from .record import Record

_FACTS = (
    "verdict",
    "cause",
    "serial_fraction",
    "serial_ms",
    "ceiling_rps",
    "max_lag_ms",
    "max_blocked_ms",
)


def properties(record: Record) -> list[tuple[str, str]]:
    """Return what is known, by names that begin with ``nonblocking_``."""
    facts = {name: getattr(record, name) for name in _FACTS}
    if record.judged is not None:
        facts |= {f"judged_{name}": value for name, value in to_plain(record.judged).items()}
    facts["reasons"] = ", ".join(record.reasons) or None
    facts["notes"] = "; ".join(record.notes) or None
    if place := record.place:
        facts["where"] = f"{place} in {place.function}"
    return [(f"nonblocking_{name}", str(v)) for name, v in facts.items() if v is not None]
