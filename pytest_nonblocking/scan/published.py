"""The description that a running app serves at a URL, as most frameworks but FastAPI's do."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import anyio

from ..asgi.lifespan import AppShutdownError, AppStartupError, seconds_within
from ..model import Limit
from .aside import NoAnswerError, aside
from .asking import HOST
from .document import BrokenDocumentError, operations_in
from .operation import Operation, names_in
from .pages import linked_pages

_JSON = ("openapi.json", "swagger.json")
_YAML = ("openapi.yaml", "openapi.yml")
_PLACES = (
    *("/openapi.json", "/openapi.yaml", "/swagger.json"),
    *("/api/openapi.json", "/schema/openapi.json", "/docs/openapi.json"),
)
"""Where frameworks serve their descriptions by default."""
_SECONDS = 2.0
_IN_ALL = 5.0
"""Within which a request, and all of them, are answered; the pages are found in as many."""


class Published(NamedTuple):
    """The operations of a description, the path of its server, and what is wrong with it."""

    operations: Sequence[Operation] = ()
    prefix: str = ""
    problem: str = ""
    by_links: bool = False
    """Whether there is no description, and the operations are the pages that links lead to."""


def published(app: Any, routes: Iterable[Operation], timeout: Limit) -> Published:
    """Return what ``app`` serves as its description, or its pages if it has no ``routes`` either.

    Starts the app, asks and shuts it down. It is not started if its ``routes`` show that there is
    nothing to ask for.
    """
    known = list(routes)
    places = list(_places(known))
    if not places:
        return Published()
    seconds = 2 * seconds_within(timeout) + 2 * _IN_ALL
    try:
        return aside(seconds, _ask, app, places, timeout, not known)
    except NoAnswerError as error:
        return Published(problem=str(error))


def _places(routes: Sequence[Operation]) -> Iterator[str]:
    reads_yaml = importlib.util.find_spec("yaml") is not None
    names = _JSON + _YAML if reads_yaml else _JSON
    if routes:
        for one in routes:
            if one.method == "GET" and not names_in(one.path) and _name(one.path) in names:
                yield one.path
    else:
        yield from (one for one in _PLACES if _name(one) in names)


def _name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


async def _ask(app: Any, places: Sequence[str], timeout: Limit, follows_links: bool) -> Published:
    from ..asgi.client import make_client

    client, transport = make_client(app, base_url=f"http://{HOST}", timeout=timeout)
    try:
        await transport.startup()
    except AppStartupError as error:
        return Published(problem=str(error))
    try:
        with anyio.move_on_after(_IN_ALL) as limit:
            for place in places:
                document = await _document_at(client, place)
                if isinstance(document, Mapping) and document.keys() & {"openapi", "swagger"}:
                    return _read(document, place)
        if follows_links and not limit.cancelled_caught:
            pages = await linked_pages(client, _IN_ALL)
            return Published(pages, by_links=bool(pages))
    finally:
        with suppress(AppShutdownError):
            await transport.shutdown()
    return Published()


async def _document_at(client: Any, place: str) -> Any:
    try:
        with anyio.fail_after(_SECONDS):
            response = await client.get(place)
        if response.status_code != 200:
            return None
        if _name(place) in _JSON:
            return response.json()
        import yaml  # type: ignore[import-untyped,unused-ignore]

        return yaml.safe_load(response.content)
    except Exception:  # the app raises, is late, or answers with a page
        return None


def _read(document: Mapping[str, Any], place: str) -> Published:
    try:
        return Published(operations_in(document), _prefix(document))
    except BrokenDocumentError as error:
        return Published(problem=f"its description at {place} cannot be read: {error}")


def _prefix(document: Mapping[str, Any]) -> str:
    """Return the path to which those of the description are relative."""
    base = document.get("basePath")
    servers = document.get("servers")
    if isinstance(servers, list) and servers and isinstance(servers[0], Mapping):
        base = urlsplit(str(servers[0].get("url") or "")).path
    return "" if not isinstance(base, str) or "{" in base else base.rstrip("/")
