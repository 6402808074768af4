"""The operations of real applications, whatever describes or routes them."""

import pytest

from pytest_nonblocking.model import Limit
from pytest_nonblocking.scan.discovery import discover, listed, unread
from pytest_nonblocking.scan.published import published


def names(app):
    return [one.name for one in discover(app)]


def handlers(app):
    return {one.name: getattr(one.endpoint, "__name__", None) for one in discover(app)}


async def handler(request=None, **values):
    """Stand for any handler."""


def test_fastapi_with_included_routers_mounts_and_middleware():
    fastapi = pytest.importorskip("fastapi", reason="fastapi is not installed")
    cors = pytest.importorskip("starlette.middleware.cors")
    app, sub = fastapi.FastAPI(), fastapi.FastAPI()
    outer, inner = fastapi.APIRouter(prefix="/outer"), fastapi.APIRouter(prefix="/inner")

    @inner.get("/{number}")
    async def included(number: int): ...

    @inner.get("/hidden/{rest:path}", include_in_schema=False)
    async def hidden(rest): ...

    @sub.post("/jobs")
    async def mounted(): ...

    @app.websocket("/ws")
    async def socket(socket): ...

    outer.include_router(inner)
    app.include_router(outer, prefix="/api")
    app.mount("/sub", sub)
    assert handlers(cors.CORSMiddleware(app)) == {
        "GET /api/outer/inner/{number}": "included",
        "GET /api/outer/inner/hidden/{rest}": "hidden",
        "WEBSOCKET /ws": "socket",
        "POST /sub/jobs": "mounted",
    }
    assert app.openapi_schema is None


def test_an_app_that_shows_the_description_of_the_app_that_it_mounts():
    fastapi = pytest.importorskip("fastapi", reason="fastapi is not installed")
    outer, inner = fastapi.FastAPI(), fastapi.FastAPI()
    inner.get("/flows/{id}")(handler)
    outer.mount("/api", inner)
    outer.openapi = inner.openapi
    assert names(outer) == ["GET /api/flows/{id}"]


def test_the_parameters_of_a_mount_belong_to_the_operations_below_it():
    fastapi = pytest.importorskip("fastapi", reason="fastapi is not installed")
    outer, inner = fastapi.FastAPI(), fastapi.FastAPI()
    inner.get("/things/{id}")(handler)
    outer.mount("/{tenant:int}/api", inner)
    (one,) = discover(outer)
    assert one.path == "/{tenant}/api/things/{id}"
    path = [parameter for parameter in one.parameters if parameter.where == "path"]
    assert [parameter.name for parameter in path] == ["tenant", "id"]
    assert path[0].schema == {"type": "integer"}


def test_paths_that_differ_by_a_slash_are_two_operations_if_each_has_a_handler():
    fastapi = pytest.importorskip("fastapi", reason="fastapi is not installed")
    app = fastapi.FastAPI()

    @app.get("/twin")
    async def twin(): ...

    @app.get("/twin/")
    async def other(): ...

    app.get("/one")(handler)
    app.get("/one/")(handler)
    assert names(app) == ["GET /twin", "GET /twin/", "GET /one"]


def test_an_operation_keeps_its_description_beside_a_mounted_one_of_the_same_path():
    fastapi = pytest.importorskip("fastapi", reason="fastapi is not installed")
    outer, inner = fastapi.FastAPI(), fastapi.FastAPI()

    @inner.get("/things")
    async def below(): ...

    @outer.get("/things")
    async def things(colour: str): ...

    outer.mount("/v1", inner)
    parameters = {one.name: [p.name for p in one.parameters] for one in discover(outer)}
    assert parameters == {"GET /things": ["colour"], "GET /v1/things": []}


def test_starlette_with_classes_and_mounts():
    starlette = pytest.importorskip("starlette.applications", reason="starlette is not installed")
    routing = pytest.importorskip("starlette.routing")
    endpoints = pytest.importorskip("starlette.endpoints")
    static = pytest.importorskip("starlette.staticfiles")

    class Both(endpoints.HTTPEndpoint):
        async def get(self, request): ...

        async def post(self, request): ...

    app = starlette.Starlette(
        routes=[
            routing.Route("/both/{id:int}", Both),
            routing.Mount("/below", routes=[routing.Route("/plain", handler)]),
            routing.Mount("/static", static.StaticFiles(directory=".")),
        ]
    )
    assert names(app) == ["GET /both/{id}", "POST /both/{id}", "GET /below/plain"]
    assert discover(app)[0].parameters[0].schema == {"type": "integer"}


def test_what_starlette_routes_by_host_is_asked_at_that_host():
    starlette = pytest.importorskip("starlette.applications", reason="starlette is not installed")
    routing = pytest.importorskip("starlette.routing")
    inner = starlette.Starlette(routes=[routing.Route("/inner", handler)])
    routes = [
        routing.Host("api.example.org", routing.Router([routing.Route("/hosted", handler)])),
        routing.Host("{name}.example.org", inner),
    ]
    found = discover(starlette.Starlette(routes=routes))
    hosts = {one.name: one.parameters[-1].schema["default"] for one in found}
    assert hosts == {"GET /hosted": "api.example.org", "GET /inner": "a.example.org"}
    assert {(p.name, p.where) for one in found for p in one.parameters} == {("Host", "header")}


def test_mounts_that_cannot_be_read_are_known():
    starlette = pytest.importorskip("starlette.applications", reason="starlette is not installed")
    routing = pytest.importorskip("starlette.routing")
    static = pytest.importorskip("starlette.staticfiles")

    async def raw(scope, receive, send): ...

    inner = starlette.Starlette(
        routes=[routing.Route("/known", handler), routing.Mount("/deep", raw)]
    )
    routes = [
        routing.Mount("/raw", raw),
        routing.Mount("/static", type("Static", (static.StaticFiles,), {})(directory=".")),
        routing.Mount("/inner", inner),
    ]
    app = starlette.Starlette(routes=routes)
    assert unread(app, discover(app)) == ["/raw", "/inner/deep"]
    assert unread(app, [*discover(app), *listed(["GET /raw/x"])]) == ["/inner/deep"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_litestar():
    litestar = pytest.importorskip("litestar", reason="litestar is not installed")

    @litestar.get("/items/{number:int}")
    async def item(number: int) -> int:
        return number

    @litestar.post("/items")
    async def create(data: dict[str, int]) -> dict[str, int]:
        return data

    # Its logging would put a thread between all later tests of the process and their logs.
    app = litestar.Litestar([item, create], logging_config=None)
    assert handlers(app) == {"GET /items/{number}": "item", "POST /items": "create"}


def test_quart():
    quart = pytest.importorskip("quart", reason="quart is not installed")
    app = quart.Quart("shop")
    app.route("/items/<int:number>", methods=["GET", "POST"])(handler)
    assert sorted(names(app)) == ["GET /items/{number}", "POST /items/{number}"]


def test_falcon():
    falcon = pytest.importorskip("falcon.asgi", reason="falcon is not installed")

    class Items:
        async def on_get(self, request, response, number): ...

    app = falcon.App()
    app.add_route("/items/{number:int}", Items())
    assert handlers(app) == {"GET /items/{number}": "on_get"}


def test_blacksheep():
    blacksheep = pytest.importorskip("blacksheep", reason="blacksheep is not installed")
    routing = pytest.importorskip("blacksheep.server.routing")
    app = blacksheep.Application(router=routing.Router())
    app.router.get("/items/{number}")(handler)
    app.router.get("/parts/:number")(handler)
    assert names(app) == ["GET /items/{number}", "GET /parts/{number}"]


def test_blacksheep_is_asked_for_its_description_and_shut_down():
    blacksheep = pytest.importorskip("blacksheep", reason="blacksheep is not installed")
    routing = pytest.importorskip("blacksheep.server.routing")
    openapi = pytest.importorskip("blacksheep.server.openapi.v3")
    info = pytest.importorskip("openapidocs.v3").Info(title="shop", version="1")
    app = blacksheep.Application(router=routing.Router())
    openapi.OpenAPIHandler(info=info).bind_app(app)

    async def item(number: int, page: int): ...

    app.router.get("/items/{number}")(item)
    found = published(app, discover(app), Limit(5.0, "default"))
    one = next(one for one in discover(app, found) if one.path == "/items/{number}")
    assert [(p.name, p.where) for p in one.parameters] == [("number", "path"), ("page", "query")]
    assert not app.started  # so that it starts again on the measured loop


@pytest.mark.parametrize("app", [handler, object(), None])
def test_an_app_that_shows_nothing_has_no_operations(app):
    assert discover(app) == []


class URLRouter:
    """What a router of Channels offers."""

    def __init__(self, routes):
        self.routes = routes

    async def __call__(self, scope, receive, send): ...


class Around:
    """What a middleware of Channels offers."""

    def __init__(self, inner):
        self.inner = inner

    async def __call__(self, scope, receive, send): ...


class Consumer:
    """A class of Channels, whose apps hold it."""

    def __init__(self):
        self.consumer_class = Consumer

    async def __call__(self, scope, receive, send): ...


def test_the_protocols_of_channels():
    path = pytest.importorskip("django.urls", reason="django is not installed").path
    pytest.importorskip("starlette", reason="starlette is not installed")
    from starlette.applications import Starlette
    from starlette.routing import Route

    async def health(request): ...

    behind = Starlette(routes=[Route("/health", health)])
    sockets = URLRouter(
        [path("chat/<int:room>/", Consumer()), path("a/", URLRouter([path("b/", Consumer())]))]
    )
    app = Around(None)
    app.application_mapping = {
        "http": URLRouter([path("events/", Consumer()), path("", behind)]),
        "websocket": Around(sockets),
    }
    found = {one.name: one.endpoint for one in discover(app)}
    assert found == {
        "GET /events/": Consumer,
        "GET /health": health,
        "WEBSOCKET /chat/{room}/": Consumer,
        "WEBSOCKET /a/b/": Consumer,
    }


def test_a_description_does_not_say_that_a_parameter_takes_slashes_and_the_route_does():
    pytest.importorskip("fastapi", reason="fastapi is not installed")
    from fastapi import FastAPI

    app = FastAPI()

    @app.get("/files/{rest:path}/{name}")
    async def file(rest: str, name: str): ...

    (one,) = discover(app)
    assert [parameter.takes_slashes for parameter in one.parameters] == [True, False]
