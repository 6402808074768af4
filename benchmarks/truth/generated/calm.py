"""How busy the machine is: for how long any task on it waited for a processor (Linux's PSI)."""

from __future__ import annotations

import re
import time
from pathlib import Path

_FILE = Path("/proc/pressure/cpu")
_LOOK = 2.0
_CALM = 0.1


def pressure() -> float:
    """Return for how many seconds so far some task has waited; 0 where the system does not tell."""
    found = re.search(r"some .*total=(\d+)", _FILE.read_text("ascii")) if _FILE.exists() else None
    return int(found.group(1)) / 1e6 if found else 0.0


def await_calm(patience: float) -> None:
    """Wait until nearly no task waits for a processor, for ``patience`` seconds at most."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        before = pressure()
        time.sleep(_LOOK)
        if pressure() - before < _CALM * _LOOK:
            return
