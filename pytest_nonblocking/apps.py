"""Finding the application under test from ``module:attribute``."""

from __future__ import annotations

import importlib
from typing import Any


class AppNotFoundError(Exception):
    """The application cannot be imported; the message says why and what to do."""


def load(target: str, origin: str) -> Any:
    """Import ``module:attribute``; raises AppNotFoundError, from the import's own error."""
    module_name, _, path = target.partition(":")
    where = f"nonblocking: the app is {target!r} (from {origin})"
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:
        raise AppNotFoundError(
            f"{where}, but importing {module_name!r} raised {type(error).__name__}: {error}\n"
            "If the module is yours, is its folder in pytest's `pythonpath` setting?"
        ) from error
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise AppNotFoundError(f"{where}, but {module_name!r} has no {path!r}") from None
    if not callable(found):
        kind = type(found).__name__
        raise AppNotFoundError(f"{where}, but that is a {kind}, not an ASGI application")
    return found


MISSING = (
    "nonblocking: no application is given. Define a fixture `nonblocking_app` that returns it, "
    "or set `nonblocking_app = module:attribute` in the ini file (--nonblocking-app)."
)
