"""All operations of an application: its description, its routers, and what the user lists."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from ..accepts import METHODS
from .document import BrokenDocumentError, operations_in
from .operation import WEBSOCKET, Operation, names_in, path_parameters, plain_path
from .published import Published
from .routes import Mounted, inside, routed

_DEEPEST = 5


def discover(app: Any, published: Published | None = None) -> list[Operation]:
    """Return the operations of ``app`` and of the apps that it mounts, in their order.

    The description comes first, since it knows what requests need: the one that the app makes of
    itself, or that it has ``published``. Raises BrokenDocumentError.
    """
    found: dict[tuple[str, str], list[Operation]] = {}
    for one in _operations(app, "", 0, published):
        alike = found.setdefault((one.method, one.path.rstrip("/")), [])
        if not any(_is_same(one, other) for other in alike):
            alike.append(one)
    return [one for alike in found.values() for one in alike]


def _is_same(one: Operation, other: Operation) -> bool:
    """Return whether two operations are one, with or without a slash at the end."""
    endpoints = (one.endpoint, other.endpoint)
    return one.path == other.path or None in endpoints or one.endpoint == other.endpoint


def unread(app: Any, found: Iterable[Operation]) -> list[str]:
    """Return the prefixes of the apps that ``app`` mounts and of which nothing is ``found``."""
    paths = [one.path for one in found]
    prefixes = {plain_path(prefix): None for prefix in _mounts(app, "", 0) if prefix}
    return [one for one in prefixes if not any(path.startswith(one) for path in paths)]


def _mounts(app: Any, prefix: str, depth: int) -> Iterator[str]:
    for layer in inside(app) if depth <= _DEEPEST else ():
        if routes := routed(layer):
            for one in routes:
                if isinstance(one, Mounted):
                    yield prefix + one.prefix
                    yield from _mounts(one.app, prefix + one.prefix, depth + 1)
            return


def describes_itself(app: Any) -> bool:
    """Return whether a description can be made without asking the running app."""
    return any(
        callable(getattr(one, "openapi", None)) or getattr(one, "openapi_config", None) is not None
        for one in inside(app)
    )


def _operations(
    app: Any, prefix: str, depth: int, published: Published | None = None
) -> Iterator[Operation]:
    if depth > _DEEPEST:
        return
    for layer in inside(app):
        described, routes = _described(layer), routed(layer)
        if described or routes:
            mounts = [one for one in routes if isinstance(one, Mounted)]
            below = [
                (one.prefix, [each.at_host(one.host) for each in found])
                for one in mounts
                for found in [list(_operations(one.app, one.prefix, depth + 1))]
            ]
            mounted = [one for _, found in below for one in found]
            if published and not described:
                routes = [*routes, *mounted]
                described = _served(published, routes)
            own = _joined(described if published else _without(described, below, routes), routes)
            for one in (*own, *mounted):
                yield one.below(prefix)
            return
    if published:
        yield from _served(published, [])


def _served(published: Published, routes: Iterable[Operation | Mounted]) -> list[Operation]:
    """Return the published operations, below the path of their server unless no route is there."""
    known = {_shape(one) for one in routes if isinstance(one, Operation)}
    below = [one.below(published.prefix) for one in published.operations]
    served = not known or any(_shape(one) in known for one in below)
    return below if served else list(published.operations)


def _shape(operation: Operation) -> tuple[str, str]:
    """Return what two descriptions of one operation share, however they name its parameters."""
    return operation.method, re.sub(r"\{[^}]*\}", "{}", plain_path(operation.path))


def _without(
    described: Iterable[Operation],
    below: Iterable[tuple[str, Sequence[Operation]]],
    routes: Iterable[Operation | Mounted],
) -> list[Operation]:
    """Return the described operations, without those that only a mounted app has.

    An app may show the description of an app that it mounts, without the prefix of the mount.
    """
    own = {_shape(one) for one in routes if isinstance(one, Operation)}
    mounted = {
        (one.method, one.path.removeprefix(plain_path(prefix)))
        for prefix, found in below
        for one in found
        if prefix
    }
    return [o for o in described if _shape(o) in own or (o.method, o.path) not in mounted]


def _joined(
    described: Iterable[Operation], routes: Iterable[Operation | Mounted]
) -> Iterator[Operation]:
    """Yield the described operations with their handlers, then those that are not described."""
    by_route = {(r.method, r.path): r for r in routes if isinstance(r, Operation)}
    by_shape = {_shape(route): key for key, route in by_route.items()}
    for one in described:
        route = by_route.pop((one.method, plain_path(one.path)), None)
        if route is None and (alike := by_shape.get(_shape(one))):
            route = by_route.pop(alike, None)
        yield one if route is None else _with_route(one, route)
    yield from by_route.values()


def _with_route(one: Operation, route: Operation) -> Operation:
    """Return a described operation with its handler and the converters that take slashes."""
    rests = [parameter.takes_slashes for parameter in route.parameters]
    takes_slashes = dict(zip(names_in(one.path), rests, strict=False))
    parameters = tuple(
        replace(parameter, schema={**parameter.schema, "format": "path"})
        if parameter.where == "path" and takes_slashes.get(parameter.name)
        else parameter
        for parameter in one.parameters
    )
    return replace(one, parameters=parameters, endpoint=route.endpoint)


def _described(app: Any) -> list[Operation]:
    """Return the operations of the description that ``app`` makes of itself."""
    document = _document(app)
    return [] if document is None else operations_in(document)


def _document(app: Any) -> Any:
    makes: Callable[[], Any] | None = getattr(app, "openapi", None)
    if callable(makes):  # FastAPI, which keeps what it has made
        kept = getattr(app, "openapi_schema", None)
        try:
            return makes()
        except Exception as error:
            raise BrokenDocumentError(
                f"making it raised {type(error).__name__}: {error}"
            ) from error
        finally:
            if hasattr(app, "openapi_schema"):
                app.openapi_schema = kept
    if getattr(app, "openapi_config", None) is not None:  # Litestar
        described: Any = getattr(app, "openapi_schema", None)
        return described.to_schema() if hasattr(described, "to_schema") else None
    return None


def listed(lines: Iterable[str]) -> list[Operation]:
    """Return the operations that the user lists, as ``GET /users/{id}`` or as a path.

    Raises ValueError with the line that is neither.
    """
    found = []
    for line in lines:
        method, _, path = line.strip().rpartition(" ")
        method = (method.strip() or "GET").upper()
        if method not in (*METHODS, WEBSOCKET) or not path.startswith("/"):
            raise ValueError(line)
        found.append(Operation(method, plain_path(path), path_parameters(path)))
    return found
