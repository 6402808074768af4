"""What a label is, and how a handler gets one.

Lines that may be named as culprit carry a comment ``# culprit: NAME, NAME``. A case without such
a line has no culprit in the user's own code.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from fastapi import FastAPI
from starlette.types import ASGIApp

_MARK = re.compile(r"#\s*culprit:\s*([\w, -]+)")


class Case(NamedTuple):
    """A handler and the truth about it; ``cause`` is None for a pass.

    ``calls`` is the guard's category of what it calls, where the cause is a blocking call.
    """

    name: str
    cause: str | None
    row: str
    app: ASGIApp
    path: str
    file: str
    lines: tuple[int, ...]
    upload: bytes | None
    concurrency: int | None
    calls: str


class Labels:
    """The cases of one module, all of whose handlers belong to one row of the design's table."""

    def __init__(self, module: str) -> None:
        self._file = Path(str(sys.modules[module].__file__))
        self._marks = _marks(self._file)
        self.cases: list[Case] = []

    def add(
        self,
        app: ASGIApp,
        path: str,
        *,
        row: str,
        cause: str | None = None,
        upload: bytes | None = None,
        concurrency: int | None = None,
        calls: str = "sleep",
    ) -> None:
        """Label what ``app`` answers at ``path``."""
        name = path.strip("/").replace("/", "-")
        lines = self._marks.get(name, ())
        self.cases.append(
            Case(name, cause, row, app, path, self._file.name, lines, upload, concurrency, calls)
        )

    def get(self, app: FastAPI, path: str, **label: Any) -> Callable[[Any], Any]:
        """Return a decorator that routes GET ``path`` to a handler and labels it."""
        self.add(app, path, **label)
        return app.get(path)


def _marks(file: Path) -> dict[str, tuple[int, ...]]:
    marks: dict[str, tuple[int, ...]] = {}
    for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
        for name in names_in(line):
            marks[name] = (*marks.get(name, ()), number)
    return marks


def names_in(line: str) -> list[str]:
    """Return the names of the cases whose culprit ``line`` is, by its comment."""
    found = _MARK.search(line)
    return [name.strip() for name in found.group(1).split(",")] if found else []
