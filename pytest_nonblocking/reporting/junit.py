"""The facts of a record as JUnit properties."""

from __future__ import annotations

from typing import Any

from .place import place_of

_FACTS = (
    "verdict",
    "cause",
    "serial_fraction",
    "serial_ms",
    "ceiling_rps",
    "max_lag_ms",
    "max_blocked_ms",
)


def properties(record: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what is known, by names that begin with ``nonblocking_``."""
    facts = {name: record[name] for name in _FACTS}
    if record["judged"] is not None:
        facts |= {f"judged_{name}": value for name, value in record["judged"].items()}
    facts["reasons"] = ", ".join(record["reasons"]) or None
    facts["notes"] = "; ".join(record["notes"]) or None
    if place := place_of(record):
        facts["where"] = f"{place} in {place.function}"
    return [(f"nonblocking_{name}", str(v)) for name, v in facts.items() if v is not None]
