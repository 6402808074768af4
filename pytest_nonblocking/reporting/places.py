"""Paths of files as reports show them."""

from __future__ import annotations

from pathlib import Path

from ..analysis.user_code import in_library
from ..model import Frame
from . import escaped


def route_text(route: Frame, rootdir: Path) -> str:
    """Return the definition of a handler: "file:line in function"."""
    return f"{relative(route.file, rootdir)}:{route.line} in {route.function}"


def relative(file: str, rootdir: Path) -> str:
    """Return ``file`` relative to ``rootdir`` where it lies below it, with forward slashes.

    For an installed file, return its path from the library's folder on. It is a single line.
    """
    if (installed := in_library(file)) is not None:
        return escaped.line(installed)
    path = Path(file)
    return escaped.line(
        (path.relative_to(rootdir) if path.is_relative_to(rootdir) else path).as_posix()
    )


def in_repository(file: str, rootdir: Path, top: Path | None) -> str:
    """Return a path of a report from the repository's top folder, which rootdir may be below.

    A path that does not lie below ``top`` stays as it is.
    """
    path = rootdir / file
    return path.relative_to(top).as_posix() if top and path.is_relative_to(top) else file
