"""The file of ``--nonblocking-history``: each run adds a line of JSON to it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

from ..model import Verdict
from .keys import Key, keyed
from .loading import BadFileError, NewerError, parsed
from .plain import DoesNotFitError, compact_text
from .record import Measurement, NotNegative, Past, Session

SCHEMA_VERSION = 1
_SHOWN = 50
"""The most earlier runs of a test in a report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Test:
    OPEN: ClassVar[bool] = True
    nodeid: str
    verdict: Verdict
    serial_ms: float | None
    max_lag_ms: NotNegative


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """What one run adds."""

    OPEN: ClassVar[bool] = True
    schema_version: Literal[1]
    started: str
    commit: str | None
    machine_factor: float
    tests: tuple[_Test, ...]


def load(path: Path) -> dict[Key, tuple[Past, ...]]:
    """Return the earlier runs of each test, the oldest first; raises BadFileError.

    A file that does not exist has no runs.
    """
    past: defaultdict[Key, list[Past]] = defaultdict(list)
    for line in _lines(path):
        for key, test in keyed(line.tests):
            past[key].append(
                Past(
                    started=line.started,
                    commit=line.commit,
                    verdict=test.verdict,
                    serial_ms=test.serial_ms,
                    max_lag_ms=test.max_lag_ms,
                )
            )
    return {key: tuple(runs[-_SHOWN:]) for key, runs in past.items()}


def _lines(path: Path) -> list[_Line]:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a name with a NUL
        raise BadFileError(f"cannot read {path}: {error}") from None
    lines = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            lines.append(parsed(line, _Line, SCHEMA_VERSION))
        except NewerError as error:
            raise BadFileError(f"{path}, line {number}, has {error}") from None
        except DoesNotFitError as error:
            raise BadFileError(
                f"{path}, line {number}, is no line of a pytest-nonblocking history ({error}): "
                "remove the line, or give another file"
            ) from None
    return lines


def append(path: Path, measurements: Sequence[Measurement], session: Session) -> None:
    """Add the line of a run; raises OSError."""
    line = _Line(
        schema_version=1,
        started=session.started,
        commit=session.commit,
        machine_factor=measurements[0].environment.machine_factor,
        tests=tuple(
            _Test(
                nodeid=one.record.nodeid,
                verdict=one.record.verdict,
                serial_ms=one.record.serial_ms,
                max_lag_ms=one.record.max_lag_ms,
            )
            for one in measurements
        ),
    )
    text = compact_text([line])[1:-1]  # without the brackets of the list
    is_torn = path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.write(("\n" if is_torn else "") + f"{text}\n")


def with_past(
    measurements: Iterable[Measurement], past: Mapping[Key, tuple[Past, ...]]
) -> list[Measurement]:
    """Return the measurements with the earlier runs of their tests."""
    found = list(measurements)
    keys = (key for key, _ in keyed(one.record for one in found))
    return [
        replace(one, record=replace(one.record, history=past.get(key, ())))
        for key, one in zip(keys, found, strict=True)
    ]
