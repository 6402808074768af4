"""The summary at the end of a run."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

_COLOURS = {"pass": "green", "fail": "red", "inconclusive": "yellow", "not-measured": "yellow"}


def summarise(reporter: pytest.TerminalReporter, records: list[dict[str, Any]]) -> None:
    """Print one line always, and a table of all measurements with ``-v``."""
    if reporter.verbosity < 0:
        return
    words = Counter(record["verdict"] for record in records)
    if reporter.verbosity > 0:
        reporter.section("nonblocking")
        _table(reporter, records)
    told = ", ".join(f"{words[word]} {word}" for word in _COLOURS if words[word])
    worst = next((word for word in reversed(_COLOURS) if words[word]), "pass")
    colour = "red" if words["fail"] else _COLOURS[worst]
    reporter.write_line(f"nonblocking: {len(records)} measured: {told}", **{colour: True})


def _table(reporter: pytest.TerminalReporter, records: list[dict[str, Any]]) -> None:
    width = max(len(record["nodeid"]) for record in records)
    for record in records:
        word = record["verdict"]
        reporter.write(f"{word:<12}", **{_COLOURS[word]: True})
        reporter.write_line(f" {record['nodeid']:<{width}}  {_facts(record)}".rstrip())
        for note in record["notes"]:
            reporter.write_line(f"{'':<12} note: {note}")


def _facts(record: dict[str, Any]) -> str:
    facts = []
    if record["cause"]:
        facts.append(record["cause"])
    if record["serial_fraction"] is not None:
        facts.append(f"serial fraction {record['serial_fraction']:.2f}")
    if record["ceiling_rps"] is not None:
        facts.append(f"ceiling {record['ceiling_rps']:.0f}/s")
    return ", ".join(facts)
