"""Reading the files that earlier runs wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from . import escaped
from .plain import DoesNotFitError, from_plain

T = TypeVar("T")


class BadFileError(Exception):
    """A file is not what it should be; the text names it and says why, in one line."""

    def __init__(self, text: str) -> None:
        super().__init__(escaped.line(text))


class NewerError(DoesNotFitError):
    """The text was written by a newer version."""


def load(path: Path, kind: type[T], name: str, version: int) -> T:
    """Return what is in ``path``, a file of the schema version given.

    Raises BadFileError for a file that cannot be read, is no JSON, does not fit ``kind``, or was
    written by a newer version. ``name`` is what a file of this kind is called.
    """
    what = f"{path} is not a pytest-nonblocking {name}"
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise BadFileError(f"{what}: it is not UTF-8 ({error.reason})") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL
        why = getattr(error, "strerror", None) or error
        raise BadFileError(f"cannot read {path}: {why}") from None
    try:
        return parsed(text, kind, version)
    except NewerError as error:
        raise BadFileError(f"{path} has {error}") from None
    except DoesNotFitError as error:
        raise BadFileError(f"{what}: {error}") from None


def parsed(text: str, kind: type[T], version: int) -> T:
    """Return what ``text`` holds, JSON of the schema version given.

    Raises DoesNotFitError for anything else, as NewerError if a newer version wrote it.
    """
    try:
        loaded = json.loads(text)
        json.dumps(loaded, ensure_ascii=False).encode()  # refuses halves of surrogate pairs
    except (ValueError, RecursionError) as error:
        raise DoesNotFitError(f"it is not JSON ({error})") from None
    if not isinstance(loaded, dict) or "schema_version" not in loaded:
        raise DoesNotFitError("it has no schema_version")
    found = loaded["schema_version"]
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        raise DoesNotFitError(f"its schema_version is {found!r}")
    if found > version:
        raise NewerError(
            f"schema_version {found}, this pytest-nonblocking reads up to {version}: "
            "upgrade pytest-nonblocking"
        )
    return from_plain(kind, loaded)
