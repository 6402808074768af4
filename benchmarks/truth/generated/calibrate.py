"""Measures the constants of ``generated.machine`` with the primitives' own source.

The quickest piece of plain Python that ever seen here defines a millisecond. All other
work is measured against plain Python at the same moment: a virtual machine's speed changes.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytest_nonblocking.load.machine import slowdown

from . import apps, machine
from .machine import Rate
from .primitives import PRIMITIVES

_LENGTHS = {
    "ROWS": ("cpu-rows", (1.0, 5.0, 15.0, 45.0)),
    "JSON": ("cpu-json", (1.0, 5.0, 15.0, 45.0)),
    "DUMPS": ("cpu-dumps", (1.0, 5.0, 15.0, 45.0)),
    "XML": ("cpu-xml", (15.0,)),
    "MODELS": ("cpu-models", (5.0,)),
    "HASH": ("def-hash", (5.0,)),
}
"""The primitive with the work, and the lengths of the pieces; more than one where it matters."""
_ROUNDS = 3
_TIMES = 5
_KEPT = 9
_FILE = apps.FOLDER.parent / f"rates-{sys.version_info[0]}.{sys.version_info[1]}.json"


def variables(file: Path = _FILE) -> dict[str, str]:
    """Measure, add it to what is known, and return the environment that hands the rates on."""
    known: dict[str, Any] = {"loop": 0.0, "factor": slowdown(), "others": []}
    if file.exists():
        known = json.loads(file.read_text("utf-8"))
    known["factor"] = min(known["factor"], slowdown())
    known["loop"] = max(known["loop"], _loops())
    now = {name: _ratios(name, known["loop"]) for name in _LENGTHS}
    known["others"] = [*known["others"], now][-_KEPT:]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(known), "utf-8")
    loops = known["factor"] * known["loop"]
    rates = {"LOOP": [[1.0, loops]]}
    for name, (_, lengths) in _LENGTHS.items():
        seen = zip(*(ratios[name] for ratios in known["others"]), strict=True)
        rates[name] = [
            [ms, loops * statistics.median(ratios)]
            for ms, ratios in zip(lengths, seen, strict=True)
        ]
    return {machine.VARIABLE: json.dumps(rates)}


def _loops() -> float:
    """Return how many rounds of plain Python take a millisecond."""
    work, names = _compiled("cpu", 1.0)
    names["LOOP"] = Rate(((1.0, 10_000.0),))
    return 10_000 / min(machine.took(work) for _ in range(40))


def _ratios(constant: str, loops: float) -> list[float]:
    """Return the amounts of work that take as long as one round of plain Python, by length."""
    kind, lengths = _LENGTHS[constant]
    return [_amount(constant, kind, ms, loops) / loops for ms in lengths]


def _amount(constant: str, kind: str, ms: float, loops: float) -> float:
    """Return the amount of work that takes ``ms`` in one piece."""
    work, names = _compiled(kind, ms)
    speed, measure = _compiled("cpu", 1.0)
    measure["LOOP"] = Rate(((1.0, loops),))
    amount = 100.0 * ms
    for _ in range(_ROUNDS):
        names[constant] = Rate(((ms, amount),))
        times = [machine.took(work) / machine.took(speed) for _ in range(_TIMES)]
        amount *= ms / statistics.median(times)
    return amount


def _compiled(kind: str, ms: float) -> tuple[Callable[[], object], dict[str, Any]]:
    """Return a function that does a primitive's work in one piece, and its global names."""
    primitive = PRIMITIVES[kind]
    fields = {"ms": ms, "n": 0, "mark": "", "name": "", "seconds": 0, "width": 1, "slices": 1}
    lines = [line.format(**fields) for line in primitive.imports]
    lines.append(primitive.definitions.format(**fields))
    lines.append("def work():")
    lines += [f"    {line}" for line in primitive.body.format(**fields).strip().splitlines()]
    names: dict[str, Any] = {name: getattr(machine, name) for name in primitive.constants}
    exec("\n".join(lines), names)
    return names["work"], names
