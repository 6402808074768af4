"""Measures the constants of ``generated.machine`` with the primitives' own source."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pytest_nonblocking.machine import machine_factor

from . import apps, machine
from .machine import Rate
from .primitives import PRIMITIVES

_WORK = {
    "LOOP": "cpu",
    "ROWS": "cpu-rows",
    "JSON": "cpu-json",
    "DUMPS": "cpu-dumps",
    "XML": "cpu-xml",
    "MODELS": "cpu-models",
    "HASH": "def-hash",
}
_PROPORTIONAL = ("LOOP", "MODELS", "HASH")
_LENGTHS = (1.0, 5.0, 15.0, 45.0)
_ROUNDS = 3
_TIMES = 4
_FILE = apps.FOLDER.parent / f"rates-{sys.version_info[0]}.{sys.version_info[1]}.json"

Points = list[list[float]]


def variables(file: Path = _FILE) -> dict[str, str]:
    """Return the environment that hands the rates on to other processes.

    The quickest that was ever measured here counts, since neighbours can only make it slower.
    """
    known: dict[str, Points] = json.loads(file.read_text("utf-8")) if file.exists() else {}
    for name, kind in _WORK.items():
        known[name] = _quicker(_points(name, kind), known.get(name, []))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(known), "utf-8")
    return {machine.VARIABLE: json.dumps(known)}


def _quicker(one: Points, other: Points) -> Points:
    if len(one) != len(other):
        return one
    return [[ms, max(a, b)] for (ms, a), (_, b) in zip(one, other, strict=True)]


def _points(constant: str, kind: str) -> Points:
    lengths = _LENGTHS[1:2] if constant in _PROPORTIONAL else _LENGTHS
    factor = machine_factor()
    return [[ms, factor * _amount(constant, kind, ms)] for ms in lengths]


def _amount(constant: str, kind: str, ms: float) -> float:
    """Return the amount of work that takes ``ms`` in one piece."""
    primitive = PRIMITIVES[kind]
    fields = {"ms": ms, "n": 0, "mark": "", "name": "", "seconds": 0, "width": 1, "slices": 1}
    lines = [line.format(**fields) for line in primitive.imports]
    lines.append(primitive.definitions.format(**fields))
    lines.append("def work():")
    lines += [f"    {line}" for line in primitive.body.format(**fields).strip().splitlines()]
    names: dict[str, Any] = {name: getattr(machine, name) for name in primitive.constants}
    exec("\n".join(lines), names)
    amount = 100.0 * ms
    for _ in range(_ROUNDS):
        names[constant] = Rate(((ms, amount),))
        amount *= ms / machine.best_of(names["work"], _TIMES)
    return amount
