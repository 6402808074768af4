"""Whose code a frame is: the user's, the application's, a library's or this plugin's.

Nothing here reads a source file.
"""

from __future__ import annotations

import functools
import os
import site
import sysconfig
from collections.abc import Collection
from pathlib import Path
from typing import Literal

from ..model import Frame

Owner = Literal["own", "user", "app", "library"]
"""``user``: the project under test; ``app``: an installed package that the app is made of."""

FRAMEWORKS = frozenset(
    (
        "asgiref",
        "blacksheep",
        "channels",
        "connexion",
        "django",
        "falcon",
        "fastapi",
        "flask",
        "hypercorn",
        "litestar",
        "ninja",
        "quart",
        "sanic",
        "starlette",
        "uvicorn",
    )
)
"""Packages that call handlers; none of them is the application under test."""

_PASSING = frozenset(("__call__", "call_next", "app", "wrapped_app", "handle", "inner", "coro"))
"""Functions by which a framework hands a request on towards its handler."""
_SERVING = ("responses", "background", "asgiref.sync")
"""What of a framework is called so too, and serves its caller instead."""
_NO_HANDLER = ("middleware", "applications", "_exception_handler", "dependencies", "lifespan")
"""What of a framework calls code of the user's that is no handler, by the modules' names."""


def _library_roots() -> tuple[str, ...]:
    paths = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    paths.update(getattr(site, "getsitepackages", list)())
    paths.add(site.getusersitepackages())
    roots = {str(Path(path)) for path in paths if path}
    # A version manager may keep the library elsewhere than sysconfig says; a module of it tells.
    roots.add(str(Path(os.__file__).parent))
    roots |= {str(Path(root).resolve()) for root in roots}
    return tuple(_as_folder(root) for root in sorted(roots))


def _as_folder(path: str) -> str:
    return path.replace("\\", "/").rstrip("/") + "/"


_OWN = _as_folder(str(Path(__file__).resolve().parent.parent))
_ROOTS = _library_roots()
_INSTALLED = ("/site-packages/", "/dist-packages/")


@functools.lru_cache(maxsize=4096)
def is_user_code(file: str) -> bool:
    """Return whether ``file`` is the user's: not installed, not the standard library, not ours.

    The files of an editable distribution lie outside of the folders of what is installed.
    """
    if file.startswith("<"):
        return False
    # Modules made by Cython tell the name that their source had where they were built.
    if not Path(file).is_absolute() and not Path(file).exists():
        return False
    return in_library(file) is None and not is_own_code(file)


def is_own_code(file: str) -> bool:
    """Return whether ``file`` belongs to this plugin."""
    return file.replace("\\", "/").startswith(_OWN)


def in_library(file: str) -> str | None:
    """Return the path of an installed file within its library's folder, None for any other."""
    path = file.replace("\\", "/")
    for part in _INSTALLED:
        if part in path:
            return path.rpartition(part)[2]
    # The longest root is the nearest one.
    root = max((root for root in _ROOTS if path.startswith(root)), key=len, default=None)
    return None if root is None else path[len(root) :]


def package_of(frame: Frame) -> str:
    """Return the name of the top-level package that ``frame`` is in."""
    return frame.module.partition(".")[0]


def leaf(frame: Frame) -> str:
    """Return the name of a frame's function without its classes; CPython 3.10 tells no more."""
    return frame.function.rpartition(".")[2]


def owner_of(frame: Frame, packages: Collection[str]) -> Owner:
    """Return whose code ``frame`` is; the application is made of the ``packages``."""
    if package_of(frame) == "pytest_nonblocking":
        return "own"
    if is_user_code(frame.file):
        return "user"
    return "app" if package_of(frame) in packages else "library"


def is_framework(frame: Frame) -> bool:
    """Return whether ``frame`` is in a framework or a server that calls handlers."""
    return package_of(frame) in FRAMEWORKS


def hands_on(frame: Frame) -> bool:
    """Return whether ``frame`` is where a framework or a middleware passes a request on."""
    if leaf(frame) not in _PASSING or frame.module.endswith(_SERVING):
        return False
    return is_framework(frame) or "middleware" in frame.module


def calls_handlers(frame: Frame) -> bool:
    """Return whether what ``frame`` calls is a handler, if it is not the framework's own."""
    return is_framework(frame) and not any(part in frame.module for part in _NO_HANDLER)
