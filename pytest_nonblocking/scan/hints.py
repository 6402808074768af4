"""What ruff's ASYNC rules say about the handlers, where ruff is installed."""

from __future__ import annotations

import importlib.util
import inspect
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from typing import Any

from .operation import Operation

_SECONDS = 20
_ARGUMENTS = (
    *("check", "--isolated", "--no-cache", "--exit-zero"),
    *("--select", "ASYNC", "--output-format", "json"),
)


def hints_for(operations: Iterable[Operation]) -> dict[str, tuple[str, ...]]:
    """Return the hints by the names of the operations; empty without ruff.

    Ruff reads the handlers' files and runs nothing of them. The project's configuration is left
    out: it may have switched these rules off.
    """
    places = {one.name: place for one in operations if (place := _lines_of(one.endpoint))}
    ruff = _ruff()
    if ruff is None or not places:
        return {}
    files = sorted({file for file, _, _ in places.values()})
    try:
        done = subprocess.run(
            [*ruff, *_ARGUMENTS, "--", *files], capture_output=True, timeout=_SECONDS, check=True
        )
        found = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return {}
    return {name: tuple(_within(found, *place)) for name, place in places.items()}


def _ruff() -> list[str] | None:
    if importlib.util.find_spec("ruff") is not None:
        return [sys.executable, "-m", "ruff"]
    command = shutil.which("ruff")
    return None if command is None else [command]


def _lines_of(endpoint: Callable[..., Any] | None) -> tuple[str, int, int] | None:
    """Return the file of a handler, and its first and last line."""
    try:
        file = inspect.getsourcefile(endpoint) if endpoint is not None else None
        if file is None or endpoint is None:
            return None
        lines, first = inspect.getsourcelines(endpoint)
    except (OSError, TypeError):
        return None
    return file, first, first + len(lines) - 1


def _within(found: Iterable[Any], file: str, first: int, last: int) -> Iterable[str]:
    for one in found:
        row = one["location"]["row"]
        if one["filename"] == file and first <= row <= last:
            yield f"ruff {one['code']} in line {row}: {one['message']}"
