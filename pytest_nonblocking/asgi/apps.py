"""Loading the application under test from ``module:attribute``, and finding its packages."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import Any


class AppNotFoundError(Exception):
    """The application cannot be imported; the message says why and what to do."""


def load(target: str, origin: str) -> Any:
    """Import ``module:attribute``, or call ``module:factory()``.

    Raises AppNotFoundError, chained to the error of the import or the factory.
    """
    module_name, _, path = target.removesuffix("()").partition(":")
    where = f"nonblocking: cannot load the app {target!r} (from {origin})"
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:
        raise AppNotFoundError(
            f"{where}: importing {module_name!r} raised {_with_place(error)}\n"
            "If this is your own module, add its folder to pytest's `pythonpath` setting."
        ) from error
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise AppNotFoundError(f"{where}: {module_name!r} has no {path!r}") from None
    if target.endswith("()"):
        try:
            found = found()
        except Exception as error:
            raise AppNotFoundError(f"{where}: the factory raised {_with_place(error)}") from error
    if not callable(found):
        kind = type(found).__name__
        raise AppNotFoundError(f"{where}: it is a {kind}, not an ASGI application")
    return found


def _with_place(error: Exception) -> str:
    """Return the text of ``error``, with the last line on the way to it outside of this module."""
    files = [
        one
        for one in traceback.extract_tb(error.__traceback__)
        if one.filename not in (__file__, importlib.__file__)
        and not one.filename.startswith("<frozen ")
    ]
    place = f" ({files[-1].filename}:{files[-1].lineno})" if files else ""
    return f"{type(error).__name__}: {error}{place}"


MISSING = (
    "nonblocking: no application is configured. Define a fixture `nonblocking_app` that returns "
    "it, or set `nonblocking_app = module:attribute` in the ini file (or --nonblocking-app)."
)


_ENOUGH = 10_000
_NO_NAME = "pytest_nonblocking_looks_for_the_packages_of_apps"
# What middleware, routes, partials and FastAPI's included routers call what they wrap.
_WITHIN = ("app", "endpoint", "func", "router", "original_router")


def packages_of(apps: Iterable[Any], frameworks: Collection[str]) -> frozenset[str]:
    """Return the top-level packages of ``apps`` and of their handlers, without ``frameworks``.

    Middleware is followed down to the app that it wraps, and a framework's app to its endpoints.
    """
    names: set[str] = set()
    left, known = list(apps), set[int]()
    while left and len(known) < _ENOUGH:
        one = left.pop()
        if one is None or id(one) in known:
            continue
        known.add(id(one))
        # Reading an attribute may run the app's own code: ignore its errors.
        with suppress(Exception):
            if not _answers_anything(one):
                names.add(_package(one))
                left += _inside(one)
    return frozenset(names - {"", "builtins", "functools", *frameworks})


def _answers_anything(one: Any) -> bool:
    """Return whether ``one`` is a mock or a proxy, in which there is no end of further objects."""
    return hasattr(one, _NO_NAME)


def _inside(app: Any) -> list[Any]:
    """Return what ``app`` passes requests to: the wrapped app, routes, handlers, Quart's views."""
    views = getattr(app, "view_functions", None)
    found = [getattr(app, name, None) for name in _WITHIN]
    found += list(getattr(app, "routes", None) or ())
    return found + (list(views.values()) if isinstance(views, dict) else [])


def _package(app: Any) -> str:
    module = getattr(app, "__module__", None) or type(app).__module__
    return str(module).partition(".")[0]
