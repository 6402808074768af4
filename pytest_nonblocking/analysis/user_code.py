"""The owner of a frame's code: the user, the application, a library or this plugin.

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
"""``user``: the project under test; ``app``: an installed package that belongs to the app."""

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
"""Packages that call handlers; never the application under test."""

_PASSING = frozenset(("__call__", "call_next", "app", "wrapped_app", "handle", "inner", "coro"))
"""Functions with which a framework passes a request on towards its handler."""
_SERVING = ("responses", "background", "asgiref.sync")
"""Modules of frameworks with functions of these names that do not pass a request on."""
_TO_THREADS = ("starlette.concurrency", "asgiref.sync")
"""Modules of frameworks that run functions in threads."""
_NO_HANDLER = ("middleware", "applications", "_exception_handler", "dependencies", "lifespan")
"""Parts of the names of framework modules that call user code other than handlers."""


def _library_roots() -> tuple[str, ...]:
    paths = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    paths.update(getattr(site, "getsitepackages", list)())
    paths.add(site.getusersitepackages())
    roots = {str(Path(path)) for path in paths if path}
    # With version managers, sysconfig may point elsewhere: take the folder of a stdlib module too.
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
    """Return whether ``file`` is the user's: not installed, standard library, or this plugin's.

    Editable installs count as the user's, since their files lie outside of site-packages.
    """
    if file.startswith("<"):
        return False
    # Cython modules report the relative path of their source at build time.
    if not Path(file).is_absolute() and not Path(file).exists():
        return False
    return in_library(file) is None and not is_own_code(file)


def is_own_code(file: str) -> bool:
    """Return whether ``file`` belongs to this plugin."""
    return file.replace("\\", "/").startswith(_OWN)


def in_library(file: str) -> str | None:
    """Return the path of an installed file relative to its library root, None for any other."""
    path = file.replace("\\", "/")
    for part in _INSTALLED:
        if part in path:
            return path.rpartition(part)[2]
    # Roots may be nested: the longest one is the closest.
    root = max((root for root in _ROOTS if path.startswith(root)), key=len, default=None)
    return None if root is None else path[len(root) :]


def package_of(frame: Frame) -> str:
    """Return the name of the top-level package of ``frame``."""
    return frame.module.partition(".")[0]


def owner_of(frame: Frame, packages: Collection[str]) -> Owner:
    """Return the owner of ``frame``; ``packages`` are the application's top-level packages."""
    if package_of(frame) == "pytest_nonblocking":
        return "own"
    if is_user_code(frame.file):
        return "user"
    return "app" if package_of(frame) in packages else "library"


def is_framework(frame: Frame) -> bool:
    """Return whether ``frame`` belongs to a framework or server that calls handlers."""
    return package_of(frame) in FRAMEWORKS


def hands_on(frame: Frame) -> bool:
    """Return whether a framework or middleware passes a request on in ``frame``."""
    if frame.leaf not in _PASSING or frame.module.endswith(_SERVING):
        return False
    return is_framework(frame) or "middleware" in frame.module


def in_a_thread(frame: Frame) -> bool:
    """Return whether a framework runs a function in a thread, and waits for it, in ``frame``."""
    return is_framework(frame) and frame.module.endswith(_TO_THREADS)


def calls_handlers(frame: Frame) -> bool:
    """Return whether user code called by ``frame`` is a handler."""
    return is_framework(frame) and not any(part in frame.module for part in _NO_HANDLER)
