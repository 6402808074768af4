"""Reading the files that earlier runs wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class BadFileError(Exception):
    """A file is not what it should be; the text names it and says why."""


def load(path: Path, kind: str, version: int) -> dict[str, Any]:
    """Return the JSON object in ``path``, of the schema version given.

    Raises BadFileError for a file that cannot be read, is no JSON, is not of this ``kind``
    ("report" or "baseline"), or was written by a newer version.
    """
    what = f"{path} is not a pytest-nonblocking {kind}"
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise BadFileError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise BadFileError(f"{what}: it is not UTF-8 ({error.reason})") from None
    try:
        loaded = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadFileError(f"{what}: it is not JSON ({error})") from None
    if not isinstance(loaded, dict) or "schema_version" not in loaded:
        raise BadFileError(f"{what}: it has no schema_version")
    found = loaded["schema_version"]
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        raise BadFileError(f"{what}: its schema_version is {found!r}")
    if found > version:
        raise BadFileError(
            f"{path} has schema_version {found}, this pytest-nonblocking reads up to {version}: "
            "upgrade pytest-nonblocking"
        )
    return loaded


def checked(path: Path, kind: str, entry: Any, shape: dict[str, tuple[type, ...]]) -> None:
    """Raise BadFileError unless ``entry`` is an object with values of the types in ``shape``."""
    what = f"{path} is not a pytest-nonblocking {kind}"
    if not isinstance(entry, dict):
        raise BadFileError(f"{what}: {str(entry)[:60]!r} is not an object")
    for name, types in shape.items():
        if name not in entry:
            raise BadFileError(f"{what}: an entry has no {name!r}")
        if not isinstance(entry[name], types):
            raise BadFileError(f"{what}: {name!r} is {str(entry[name])[:60]!r}")
