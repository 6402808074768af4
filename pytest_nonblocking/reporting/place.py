"""The one place of a record that a table or another tool shows."""

from __future__ import annotations

from typing import Any, NamedTuple


class Place(NamedTuple):
    """A line that a reader can open."""

    file: str
    line: int
    function: str
    library: bool = False

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def place_of(record: dict[str, Any]) -> Place | None:
    """Return the culprit's place, or the handler's where the culprit is in a library.

    Which function of a library costs most may change with its version; the handler stays.
    """
    culprit = record["culprit"]
    if culprit is None:
        return None
    if culprit.get("library") and (route := culprit.get("route")):
        where, _, function = route.rpartition(" in ")
        file, _, line = where.rpartition(":")
        return Place(file, int(line), function)
    library = bool(culprit.get("library"))
    return Place(culprit["file"], culprit["line"], culprit["function"], library)
