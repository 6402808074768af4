"""Operations from the routers of the frameworks, recognised by what their objects offer.

Starlette, FastAPI (with included routers), Litestar, Quart, Falcon, Django, Channels and
BlackSheep. None of them is imported: an app whose framework is not installed cannot be there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from ..accepts import METHODS
from .operation import WEBSOCKET, Operation, Parameter, path_parameters, plain_path

_DEEPEST = 20
_FRAMEWORKS_OWN = (
    *("fastapi.", "litestar.", "quart.", "flask."),
    *("starlette.staticfiles", "django.views.static"),
)


class Mounted(NamedTuple):
    """Another application within one, below ``prefix``, and for one ``host`` if that is given."""

    prefix: str
    app: Any
    host: str = ""


Found = Operation | Mounted


def routed(app: Any) -> list[Found]:
    """Return the operations of the routers of ``app``, and the apps that it mounts."""
    for finds in (_of_channels, _of_quart, _of_django, _of_falcon, _of_blacksheep, _of_starlette):
        if found := list(finds(app)):
            return found
    return []


def inside(app: Any) -> Iterator[Any]:
    """Yield ``app`` and what it wraps, from the outermost middleware on."""
    for _ in range(_DEEPEST):
        if app is None:
            return
        yield app
        # "inner" and "application" are those of Channels.
        held = (getattr(app, name, None) for name in ("app", "asgi_app", "inner", "application"))
        app = next((one for one in held if one), None)
        if not callable(app) or _is_method(app):
            return


def _is_method(app: Any) -> bool:
    return getattr(app, "__self__", None) is not None


def _operations(
    path: str, methods: Iterable[Any], endpoint: Callable[..., Any] | None
) -> Iterator[Operation]:
    endpoint = _function(endpoint)
    if str(getattr(endpoint, "__module__", "")).startswith(_FRAMEWORKS_OWN):
        return  # pages of the documentation, static files
    names = {str(name).upper() for name in methods}
    for method in (*METHODS, WEBSOCKET):
        if method in names and not (method == "HEAD" and "GET" in names):
            yield Operation(method, plain_path(path), path_parameters(path), endpoint=endpoint)


def _function(endpoint: Any) -> Any:
    """Return the function of a handler, whatever wraps it."""
    for name in ("fn", "func", "__func__", "__wrapped__"):
        endpoint = getattr(endpoint, name, endpoint)
    return endpoint


# Starlette, FastAPI, Litestar


def _of_starlette(app: Any) -> Iterator[Found]:
    routes = getattr(app, "routes", None)
    if isinstance(routes, (list, tuple)):
        yield from _of_routes(routes, "")


def _of_routes(routes: Iterable[Any], prefix: str, depth: int = 0) -> Iterator[Found]:
    for route in routes if depth < _DEEPEST else ():
        path = prefix + str(getattr(route, "path", ""))
        if hasattr(route, "original_router"):  # FastAPI from 0.165 on
            context = getattr(route, "include_context", None)
            below = prefix + str(getattr(context, "prefix", ""))
            yield from _of_routes(route.original_router.routes, below, depth + 1)
        elif "WebSocket" in type(route).__name__:
            yield from _operations(path, [WEBSOCKET], _endpoint(route, WEBSOCKET))
        elif getattr(route, "methods", None):
            for method in route.methods:
                yield from _operations(path, _alone(method, route), _endpoint(route, method))
        elif _is_mount(route):
            yield from _of_mount(route, path, depth)
        elif hasattr(route, "app") and hasattr(route, "host"):
            for one in _of_mount(route, prefix, depth):
                yield (
                    one._replace(host=route.host)
                    if isinstance(one, Mounted)
                    else one.at_host(route.host)
                )
        elif manager_of(getattr(route, "endpoint", None)) is not None:
            yield Operation("POST", plain_path(path), endpoint=route.endpoint)
        elif callable(getattr(route, "endpoint", None)):
            yield from _operations(path, _methods_of_view(route.endpoint), route.endpoint)


def manager_of(endpoint: Any) -> Any:
    """Return the session manager of an MCP server, None if ``endpoint`` is none."""
    managers = (getattr(one, "session_manager", None) for one in inside(endpoint))
    return next((one for one in managers if hasattr(one, "handle_request")), None)


def _alone(method: Any, route: Any) -> list[Any]:
    """Return ``method``, unless it is the HEAD or OPTIONS that frameworks add by themselves."""
    adds = {str(one).upper() for one in route.methods} - {"HEAD", "OPTIONS"}
    return [] if adds and str(method).upper() in ("HEAD", "OPTIONS") else [method]


def _endpoint(route: Any, method: Any) -> Any:
    handlers = getattr(route, "route_handler_map", None)  # Litestar
    if isinstance(handlers, dict) and method in handlers:
        found = handlers[method]
        return found[0] if isinstance(found, tuple) else found
    return getattr(route, "endpoint", None) or getattr(route, "route_handler", None)


def _methods_of_view(view: Any) -> list[str]:
    """Return the methods of a class of handlers, GET if there is no telling."""
    found = [method for method in METHODS if hasattr(view, method.lower())]
    options = str(getattr(getattr(view, "options", None), "__module__", ""))
    if options.startswith(("django.", "rest_framework.")):  # which every class inherits
        found.remove("OPTIONS")
    return found or ["GET"]


def _is_mount(route: Any) -> bool:
    return hasattr(route, "app") and "Mount" in type(route).__name__


def _of_mount(route: Any, path: str, depth: int) -> Iterator[Found]:
    app = route.app
    if any(base.__name__ == "StaticFiles" for one in inside(app) for base in type(one).__mro__):
        return
    if type(app).__name__ == "Router":
        yield from _of_routes(getattr(route, "routes", None) or (), path, depth + 1)
    else:
        yield Mounted(path, app)


# Channels


def _of_channels(app: Any) -> Iterator[Found]:
    """Yield the app behind each protocol of a router: that of HTTP, and those of websockets."""
    protocols = getattr(app, "application_mapping", None)
    if isinstance(protocols, dict):
        if "http" in protocols:
            yield Mounted("", protocols["http"])
        yield from _of_consumers(protocols.get("websocket"), "/", [WEBSOCKET])
    elif type(app).__name__ == "URLRouter":  # consumers of HTTP
        yield from _of_consumers(app, "/", ["GET"])


def _of_consumers(app: Any, prefix: str, methods: list[str], depth: int = 0) -> Iterator[Found]:
    router = next((one for one in inside(app) if type(one).__name__ == "URLRouter"), None)
    for one in getattr(router, "routes", ()) if depth < _DEEPEST else ():
        path = _django_path(one.pattern)
        if path is None:
            continue
        below, consumer = prefix + path, one.callback
        if any(type(each).__name__ == "URLRouter" for each in inside(consumer)):
            yield from _of_consumers(consumer, below, methods, depth + 1)
        elif path or methods == [WEBSOCKET]:
            yield from _operations(below, methods, getattr(consumer, "consumer_class", consumer))
        else:  # what is left goes to an app
            yield Mounted(below.rstrip("/"), consumer)


# Quart


def _of_quart(app: Any) -> Iterator[Found]:
    rules, views = getattr(app, "url_map", None), getattr(app, "view_functions", None)
    if rules is None or not isinstance(views, dict):
        return
    for rule in rules.iter_rules():
        if getattr(rule, "websocket", False):
            yield from _operations(rule.rule, [WEBSOCKET], views.get(rule.endpoint))
        elif rule.endpoint != "static" and not rule.endpoint.endswith(".static"):
            methods = set(rule.methods or ("GET",)) - {"OPTIONS", "HEAD"}
            yield from _operations(rule.rule, methods, views.get(rule.endpoint))


# Falcon


def _of_falcon(app: Any) -> Iterator[Found]:
    roots = getattr(getattr(app, "_router", None), "_roots", None)
    if not isinstance(roots, list):
        return
    left = list(roots)
    while left:
        node = left.pop(0)
        left += getattr(node, "children", ())
        handlers = getattr(node, "method_map", None) or {}
        for method, handler in handlers.items():
            if str(getattr(handler, "__name__", "")).startswith("on_"):
                yield from _operations(node.uri_template, [method], handler)


# Django


def _of_django(app: Any) -> Iterator[Found]:
    if "django" not in sys.modules or not _is_django(app):
        return
    from django.urls import get_resolver  # type: ignore[import-untyped,unused-ignore]

    yield from _of_patterns(get_resolver().url_patterns, "/")


def _is_django(app: Any) -> bool:
    return any(base.__module__.startswith("django.core.handlers") for base in type(app).__mro__)


def _of_patterns(
    patterns: Iterable[Any], prefix: str, regexes: Mapping[str, str] | None = None, depth: int = 0
) -> Iterator[Found]:
    for one in patterns if depth < _DEEPEST else ():
        path = _django_path(one.pattern)
        if path is None:
            continue
        path, own = prefix + path, {**(regexes or {}), **_own_regexes(one.pattern)}
        if hasattr(one, "url_patterns"):
            below = one.url_patterns
            if not any(hasattr(getattr(p, "callback", None), "admin_site") for p in below):
                yield from _of_patterns(below, path, own, depth + 1)
        else:
            for method, handler in _of_view(one.callback).items():
                for found in _operations(path, [method], handler):
                    yield replace(found, parameters=_with_patterns(found.parameters, own))


def _django_path(pattern: Any) -> str | None:
    """Return the path of a pattern, None for a regular expression that is none."""
    route = getattr(pattern, "_route", None)
    if route is not None:
        return str(route)
    from django.contrib.admindocs.views import (  # type: ignore[import-untyped,unused-ignore]
        simplify_regex,
    )

    path = str(simplify_regex(str(pattern))).removeprefix("/")
    return None if set(path) & set("\\()[]{}*+|") else path


def _own_regexes(pattern: Any) -> dict[str, str]:
    """Return the regular expressions of the project's own converters, by parameter."""
    converters = getattr(pattern, "converters", None) or {}
    return {
        name: str(one.regex)
        for name, one in converters.items()
        if not type(one).__module__.startswith("django.")
    }


def _with_patterns(
    parameters: Iterable[Parameter], regexes: Mapping[str, str]
) -> tuple[Parameter, ...]:
    return tuple(
        replace(one, schema={"type": "string", "pattern": f"^(?:{regexes[one.name]})$"})
        if one.name in regexes
        else one
        for one in parameters
    )


def _of_view(view: Any) -> dict[str, Any]:
    """Return the handlers of a view by method: a function, a class, or a set of views."""
    kind = getattr(view, "view_class", None) or getattr(view, "cls", None)
    actions = getattr(view, "actions", None)  # Django REST framework
    if kind is not None:
        names = actions or {method.lower(): method.lower() for method in _methods_of_view(kind)}
        return {method: getattr(kind, name, view) for method, name in names.items()}
    return dict.fromkeys(_methods_of_decorators(view) or ["GET"], view)


def _methods_of_decorators(view: Any) -> list[str]:
    """Return the methods that `require_http_methods` and its like let through."""
    for _ in range(_DEEPEST):
        names = getattr(getattr(view, "__code__", None), "co_freevars", ())
        for name, cell in zip(names, getattr(view, "__closure__", None) or (), strict=False):
            if name == "request_method_list":
                return list(cell.cell_contents)
        view = getattr(view, "__wrapped__", None)
    return []


# BlackSheep


def _of_blacksheep(app: Any) -> Iterator[Found]:
    router = getattr(app, "router", None)
    added = getattr(router, "registered_routes", None)  # which start-up moves to `routes`
    known = getattr(router, "routes", None)
    pairs = list(added) if isinstance(added, (list, tuple)) else []
    if isinstance(known, dict):
        pairs += [(method, route) for method, routes in known.items() for route in routes]
    for method, route in pairs:
        path = _text(getattr(route, "mustache_pattern", None) or route.pattern)
        yield from _operations(path, [_text(method)], route.handler)


def _text(raw: Any) -> str:
    return raw.decode() if isinstance(raw, bytes) else str(raw)
