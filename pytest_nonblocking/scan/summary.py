"""What a scan found, measured and could not reach, and the fixture that gives it the rest."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence

import pytest

from ..config import Settings
from ..reporting.units import plural
from .operation import WEBSOCKET, Operation
from .prepared import Needs

_MOST = 30
_SHARED = 3
"""Operations that need a value of one name, from which on it is asked for once."""


class Summary:
    """Counts the operations of a scan, and collects what they need."""

    def __init__(self, settings: Settings) -> None:
        self._app = settings.app
        self._methods = settings.scan_methods
        self._origin = settings.origins["scan_methods"]
        self._found: Sequence[Operation] = ()
        self._chosen: Sequence[Operation] = ()
        self._problems: Sequence[str] = ()
        self._needs: dict[str, Needs] = {}
        self._ran: set[str] = set()
        self._measured: set[str] = set()
        self._failed: set[str] = set()

    def found(
        self,
        operations: Sequence[Operation],
        chosen: Sequence[Operation],
        problems: Sequence[str],
    ) -> None:
        """Keep the operations, those that are tests, and why others may not have been found."""
        self._found, self._chosen, self._problems = operations, chosen, problems

    def line(self) -> str:
        """Return the line that counts what was found and what is scanned."""
        rest = Counter(one.method for one in self._found if one not in self._chosen)
        sockets = rest.pop(WEBSOCKET, 0)
        other = {m: number for m, number in rest.items() if m not in self._methods}
        text = (
            f"nonblocking scan: {plural(len(self._found), 'operation')} in {self._app}, "
            f"{len(self._chosen)} scanned"
        )
        if other:
            shown = ", ".join(f"{number} {method}" for method, number in sorted(other.items()))
            text += f"; not in scan_methods ({', '.join(self._methods)}, {self._origin}): {shown}"
        if left := sum(rest.values()) - sum(other.values()):
            text += f"; {left} not selected"
        if sockets:
            text += f"; not measured: {plural(sockets, 'websocket')}, write a test that uses it"
        return "; ".join([text, *self._problems])

    def add(self, report: pytest.TestReport) -> None:
        """Keep whether the operation of ``report`` was measured, and what it needs."""
        if not report.nodeid.startswith("scan::"):
            return
        name = report.nodeid.partition("::")[2]
        if report.when == "call" or report.failed:
            self._ran.add(name)
        if report.failed:
            self._failed.add(name)
        for key, value in report.user_properties:
            if key == "nonblocking_verdict" and value != "not-measured":
                self._measured.add(name)
            if key == "nonblocking_needs":
                self._needs[name] = Needs(**json.loads(str(value)))

    def lines(self) -> list[str]:
        """Return the lines that say what was measured, and what to give for the rest."""
        if not self._ran:
            return []
        needing = len(self._needs)
        measured = f"{plural(len(self._ran), 'operation')}: {len(self._measured)} measured"
        left = self._ran - self._measured - self._needs.keys()
        if errors := left & self._failed:
            measured += f", {plural(len(errors), 'error')}"
        if others := left - self._failed:
            measured += f", {len(others)} not measured"
        if not needing:
            return [f"nonblocking scan: {measured}"]
        return [
            f"nonblocking scan: {measured}, {needing} need input:",
            *(f"  {name}: {one.why}" for name, one in list(self._needs.items())[:_MOST]),
            *([f"  … and {needing - _MOST} more"] if needing > _MOST else []),
            "Give it in conftest.py:",
            "",
            *stub(self._needs),
        ]


def stub(needs: Mapping[str, Needs]) -> list[str]:
    """Return the fixture to paste, with a line for each operation that needs values.

    A value that many operations need is asked for once, for all of them.
    """
    lines = ["import pytest", "from pytest_nonblocking import Scan", "", "", "@pytest.fixture"]
    lines += ["def nonblocking_scan():", "    return Scan("]
    for argument in ("headers", "cookies"):
        given: dict[str, str] = {}
        for one in needs.values():
            given = {**getattr(one, argument), **given}
        if given:
            lines.append(f"        {argument}={json.dumps(given)},")
    wanted = Counter(name for one in needs.values() for name in one.names)
    shared = [name for name, times in wanted.most_common() if times >= _SHARED]
    inputs = [("*", shared)]
    inputs += [(name, [n for n in one.names if n not in shared]) for name, one in needs.items()]
    values = [_input(pattern, names) for pattern, names in inputs if names]
    if values:
        lines += ["        inputs={", *values[:_MOST], "        },"]
    return [*lines, "    )"]


def _input(pattern: str, names: Sequence[str]) -> str:
    values = ", ".join(f"{json.dumps(name)}: ..." for name in names)
    return f"            {json.dumps(pattern)}: {{{values}}},"
