"""The description that a running app serves at a URL."""

import importlib.util
import json
import time

import anyio
import pytest

from pytest_nonblocking.model import Limit
from pytest_nonblocking.scan import published as module
from pytest_nonblocking.scan.discovery import describes_itself, discover
from pytest_nonblocking.scan.operation import Operation
from pytest_nonblocking.scan.published import Published, published

DOCUMENT = {"openapi": "3.1.0", "paths": {"/items/{id}": {"get": {}}}}
YAML = b"openapi: 3.1.0\npaths:\n  /items/{id}:\n    get:\n      responses: {200: {}}\n"


class App:
    """Serves ``content`` at ``place``, once it has started; counts its starts and its ends."""

    def __init__(self, place="/openapi.json", content=DOCUMENT, **rest):
        self.place = place
        self.content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.log = []
        self.asked = []
        self.does = rest.get("does")
        self.fails = rest.get("fails", False)

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            if self.fails:
                raise ValueError("no database")
            self.log.append("start")
            await send({"type": "lifespan.startup.complete"})
            await receive()
            self.log.append("end")
            await send({"type": "lifespan.shutdown.complete"})
            return
        self.asked.append(scope["path"])
        if self.does is not None:
            await self.does()
        good = self.log == ["start"] and scope["path"] == self.place
        await send({"type": "http.response.start", "status": 200 if good else 404, "headers": []})
        await send({"type": "http.response.body", "body": self.content if good else b"<html>"})


def ask(app, *routes):
    return published(app, routes, Limit(5.0, "default"))


def names(found):
    return [one.name for one in found.operations]


@pytest.mark.parametrize("place", module._PLACES)
def test_the_app_is_started_asked_and_shut_down(place):
    if place.endswith("yaml"):
        pytest.importorskip("yaml", reason="no parser of YAML is installed")
    app = App(place, YAML if place.endswith("yaml") else DOCUMENT)
    assert names(ask(app)) == ["GET /items/{id}"]
    assert app.log == ["start", "end"]


def test_yaml_is_asked_for_only_where_it_can_be_read(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    app = App("/openapi.yaml", YAML)
    assert names(ask(app)) == []
    assert "/openapi.yaml" not in app.asked


PAGES = {
    "/": ("text/html", "<a href='/items'>items</a><a href='/gone'><a href='/logout'>"),
    "/items": ("text/html", "<a href='/items/1'><a href='/items/2?tab=a'><link href='/x.css'>"),
    "/items/1": ("application/json", '{"next": "/items/2", "tags": "/tags"}'),
    "/items/2": ("text/html", "two"),
    "/tags": ("text/html", "<a href='http://elsewhere.example/more'><a href='/items#top'>"),
    "/x.css": ("text/css", "a {}"),
    "/logout": ("text/html", "bye"),
}


class Pages(App):
    """Serves pages with links, JSON, a style sheet, and a logout that nobody asks for."""

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan" or scope["path"] not in PAGES:
            await super().__call__(scope, receive, send)
            return
        self.asked.append(scope["path"])
        kind, content = PAGES[scope["path"]]
        headers = [(b"content-type", kind.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content.encode()})


def test_the_pages_of_an_app_that_shows_nothing_are_found_by_their_links():
    app = Pages(place="/nothing")
    found = ask(app)
    assert names(found) == ["GET /", "GET /items", "GET /items/1", "GET /tags"]
    assert found.by_links
    assert not {"/logout", "/items/2", "/more"} & {*app.asked}
    assert app.log == ["start", "end"]


def test_an_app_with_routes_is_not_searched_for_pages():
    app = Pages(place="/nothing")
    assert ask(app, Operation("GET", "/openapi.json")) == Published()
    assert app.asked == ["/openapi.json"]


def test_an_app_whose_routes_show_no_description_is_not_started():
    app = App()
    assert ask(app, Operation("GET", "/items"), Operation("POST", "/openapi.json")).operations == ()
    assert app.log == []


def test_a_route_that_is_named_like_a_description_is_asked_wherever_it_is():
    app = App("/v2/meta/openapi.json")
    found = ask(app, Operation("GET", "/items"), Operation("GET", "/v2/meta/openapi.json"))
    assert names(found) == ["GET /items/{id}"]
    assert app.asked == ["/v2/meta/openapi.json"]


@pytest.mark.parametrize(
    "content", [b"<html>", b"[]", {"paths": {}}, {"swagger": "2.0", "paths": {}}], ids=str
)
def test_a_page_and_other_json_are_no_description(content):
    found = ask(App(content=content))
    assert (found.operations, found.problem) in (((), ""), ([], ""))


def test_what_is_wrong_with_a_description_is_kept():
    broken = {"openapi": "3.1.0", "paths": {"/x": {"$ref": "other.json"}}}
    found = ask(App(content=broken))
    assert found.operations == ()
    assert found.problem.startswith("its description at /openapi.json cannot be read: it refers to")


def test_an_app_that_does_not_start_says_why():
    assert "ValueError: no database" in ask(App(fails=True)).problem


def test_an_app_that_raises_serves_none():
    async def fails():
        raise ValueError

    app = App(does=fails)
    assert ask(app) == Published()
    assert app.log == ["start", "end"]


def test_an_app_that_does_not_answer_is_left(monkeypatch):
    monkeypatch.setattr(module, "_SECONDS", 0.02)
    app = App(does=anyio.sleep_forever)
    assert ask(app) == Published()
    assert "/swagger.json" in app.asked
    assert app.log == ["start", "end"]


def test_all_requests_together_are_bounded(monkeypatch):
    monkeypatch.setattr(module, "_IN_ALL", 0.02)
    app = App(does=anyio.sleep_forever)
    assert ask(app) == Published()
    assert app.asked == ["/openapi.json"]
    assert app.log == ["start", "end"]


def test_an_app_that_holds_the_loop_is_left_with_its_thread(monkeypatch):
    async def holds():
        time.sleep(0.5)

    monkeypatch.setattr(module, "_IN_ALL", 0.02)
    monkeypatch.setattr(module, "seconds_within", lambda timeout: 0.01)
    assert ask(App(does=holds)).problem == "it holds the event loop for 0.06 s"


@pytest.mark.parametrize(
    "server",
    [
        {"servers": [{"url": "/api/"}]},
        {"servers": [{"url": "https://shop.example/api"}]},
        {"basePath": "/api"},
    ],
    ids=str,
)
def test_paths_are_below_that_of_the_server_unless_no_route_is_there(server):
    found = ask(App(content=DOCUMENT | server))
    assert [one.name for one in discover(App(), found)] == ["GET /api/items/{id}"]
    routing = pytest.importorskip("starlette.routing", reason="starlette is not installed")
    for path in ("/items/{number}", "/api/items/{number}"):
        app = routing.Router([routing.Route(path, names)])
        assert [one.path for one in discover(app, found)] == [path.replace("number", "id")]


def test_published_operations_keep_the_handlers_of_their_routes():
    routing = pytest.importorskip("starlette.routing", reason="starlette is not installed")
    document = {"openapi": "3.1.0", "paths": {"/a/items/{id}": {"get": {}}, "/b/x": {"get": {}}}}
    below = routing.Router([routing.Route("/x", names)])

    async def mounted(scope, receive, send):
        await below(scope, receive, send)

    mounted.routes = below.routes
    app = routing.Router(
        [
            routing.Route("/a/items/{number}", ask),
            routing.Route("/a/more", ask),
            routing.Mount("/b", mounted),
        ]
    )
    found = {o.name: o.endpoint for o in discover(app, ask(App(content=document)))}
    assert found == {"GET /a/items/{id}": ask, "GET /b/x": names, "GET /a/more": ask}


def test_apps_that_describe_themselves_are_known():
    assert not describes_itself(App())
    fastapi = pytest.importorskip("fastapi", reason="fastapi is not installed")
    cors = pytest.importorskip("starlette.middleware.cors")
    assert describes_itself(cors.CORSMiddleware(fastapi.FastAPI()))
