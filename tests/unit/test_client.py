"""The ASGI transport, as a test that uses the client sees it."""

import asyncio
import contextlib
from contextvars import ContextVar

import httpx
import pytest
from fastapi import BackgroundTasks, FastAPI, Request
from fastapi.responses import StreamingResponse
from starlette.middleware.base import BaseHTTPMiddleware

from pytest_nonblocking.asgi.client import ASGITransport, make_client
from pytest_nonblocking.asgi.lifespan import AppShutdownError, AppStartupError

pytestmark = pytest.mark.asyncio


async def start(send, status=200, headers=()):
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})


async def body(send, data=b"", *, more=False):
    await send({"type": "http.response.body", "body": data, "more_body": more})


def client_of(app, **kwargs):
    transport = ASGITransport(app, **kwargs)
    return httpx.AsyncClient(transport=transport, base_url="http://testserver"), transport


async def test_the_scope_is_what_a_server_gives():
    seen = {}

    async def app(scope, receive, send):
        seen.update(scope)
        await start(send)
        await body(send)

    client, _ = make_client(app)
    await client.get("/caf%C3%A9/x?a=1&b=2", headers={"X-Token": "T"})
    assert seen["type"] == "http"
    assert (seen["method"], seen["scheme"], seen["http_version"]) == ("GET", "http", "1.1")
    assert (seen["path"], seen["raw_path"]) == ("/café/x", b"/caf%C3%A9/x")
    assert seen["query_string"] == b"a=1&b=2"
    assert (b"x-token", b"T") in seen["headers"]
    assert seen["server"] == ("testserver", None)


async def test_a_response_streams_before_the_app_has_finished():
    go_on = asyncio.Event()

    async def app(scope, receive, send):
        await start(send)
        await body(send, b"first", more=True)
        await go_on.wait()
        await body(send, b"second")

    client, _ = make_client(app)
    async with client.stream("GET", "/") as response:
        chunks = response.aiter_raw()
        assert await anext(chunks) == b"first"
        go_on.set()
        assert await anext(chunks) == b"second"


async def test_a_fast_app_waits_for_a_slow_reader():
    sent = []

    async def app(scope, receive, send):
        await start(send)
        for number in range(10):
            await body(send, b"x" * 40_000, more=True)
            sent.append(number)
        await body(send)

    client, _ = make_client(app)
    async with client.stream("GET", "/") as response:
        assert len(sent) <= 2
        assert len(await response.aread()) == 400_000


async def test_a_client_that_leaves_disconnects_the_app():
    heard = asyncio.Event()

    async def app(scope, receive, send):
        await receive()
        await start(send)
        await body(send, b"one", more=True)
        assert (await receive())["type"] == "http.disconnect"
        await body(send, b"two", more=True)  # goes nowhere, and does no harm
        heard.set()

    client, transport = make_client(app)
    async with client.stream("GET", "/") as response:
        assert await anext(response.aiter_raw()) == b"one"
    await asyncio.wait_for(heard.wait(), 5)
    await transport.settle()


async def test_leaving_an_endless_stream_ends_the_apps_generator():
    ended = asyncio.Event()
    app = FastAPI()

    @app.get("/")
    async def endless():
        async def events():
            try:
                while True:
                    yield b"data: tick\n\n"
                    await asyncio.sleep(0.001)
            finally:
                ended.set()

        return StreamingResponse(events(), media_type="text/event-stream")

    client, transport = make_client(app)
    async with client.stream("GET", "/") as response:
        assert await anext(response.aiter_lines()) == "data: tick"
    await asyncio.wait_for(ended.wait(), 5)
    await transport.settle()


async def test_a_cancelled_request_disconnects_the_app():
    entered, heard = asyncio.Event(), asyncio.Event()

    async def app(scope, receive, send):
        await receive()
        entered.set()
        assert (await receive())["type"] == "http.disconnect"
        heard.set()

    client, _ = make_client(app)
    request = asyncio.create_task(client.get("/"))
    await entered.wait()
    request.cancel()
    await asyncio.wait_for(heard.wait(), 5)


async def test_uploads_are_streamed_into_the_app():
    app = FastAPI()

    @app.post("/")
    async def upload(request: Request):
        return [len(chunk) async for chunk in request.stream() if chunk]

    async def chunks():
        yield b"a" * 10
        yield b"b" * 20

    client, _ = make_client(app)
    assert (await client.post("/", content=chunks())).json() == [10, 20]
    assert (await client.post("/", content=b"c" * 30)).json() == [30]


async def test_background_work_does_not_delay_the_response():
    done = asyncio.Event()
    app = FastAPI()

    async def work():
        await asyncio.sleep(0.05)
        done.set()

    @app.get("/")
    async def root(tasks: BackgroundTasks):
        tasks.add_task(work)
        return "ok"

    client, transport = make_client(app)
    await client.get("/")
    assert not done.is_set()
    await transport.settle()
    assert done.is_set()
    (exchange,) = transport.drain()
    assert exchange.status == 200
    assert exchange.start_ns <= exchange.response_start_ns <= exchange.last_byte_ns
    assert exchange.app_return_ns - exchange.last_byte_ns > 40_000_000
    assert transport.drain() == []


@pytest.mark.parametrize("middleware", [False, True])
async def test_an_unhandled_exception_reaches_the_test_as_with_httpx(middleware):
    app = FastAPI()

    @app.get("/")
    async def root():
        raise ValueError("broken")

    if middleware:
        app.add_middleware(BaseHTTPMiddleware, dispatch=lambda request, call: call(request))
    for transport in (ASGITransport(app), httpx.ASGITransport(app)):
        client = httpx.AsyncClient(transport=transport, base_url="http://testserver")
        with pytest.raises(ValueError, match="broken"):
            await client.get("/")


async def test_exceptions_can_be_responses_instead():
    async def app(scope, receive, send):
        raise ValueError("broken")

    client, transport = client_of(app, raise_app_exceptions=False)
    assert (await client.get("/")).status_code == 500
    await transport.settle()


async def test_an_exception_in_mid_stream_raises_while_reading():
    async def app(scope, receive, send):
        await start(send)
        await body(send, b"part", more=True)
        await asyncio.sleep(0)
        raise ValueError("in the middle")

    client, transport = make_client(app)
    async with client.stream("GET", "/") as response:
        with pytest.raises(ValueError, match="in the middle"):
            await response.aread()
    await transport.settle()


async def test_an_exception_after_the_response_raises_when_settling():
    async def app(scope, receive, send):
        await start(send)
        await body(send)
        await asyncio.sleep(0.01)
        raise ValueError("afterwards")

    client, transport = make_client(app)
    assert (await client.get("/")).status_code == 200
    with pytest.raises(ValueError, match="afterwards"):
        await transport.settle()


async def test_an_app_without_a_response_is_told_so():
    async def app(scope, receive, send):
        return

    client, _ = make_client(app)
    with pytest.raises(RuntimeError, match="returned from GET /nothing before"):
        await client.get("/nothing")


async def test_each_request_has_a_task_and_a_context_of_its_own():
    variable = ContextVar("variable", default="outside")
    tasks = set()

    async def app(scope, receive, send):
        variable.set("inside")
        before = asyncio.current_task()
        await asyncio.sleep(0)
        assert asyncio.current_task() is before
        tasks.add(before)
        await start(send)
        await body(send)

    client, _ = make_client(app)
    await asyncio.gather(client.get("/"), client.get("/"))
    assert len(tasks) == 2
    assert asyncio.current_task() not in tasks
    assert variable.get() == "outside"


async def test_head_and_elapsed_work():
    app = FastAPI()

    @app.head("/")
    async def root():
        return "body"

    client, _ = make_client(app)
    response = await client.head("/")
    assert response.content == b""
    assert response.elapsed.total_seconds() >= 0


async def test_cookies_and_redirects_are_the_clients_own():
    async def app(scope, receive, send):
        if scope["path"] == "/login":
            headers = [(b"set-cookie", b"id=7"), (b"location", b"/home")]
            await start(send, 303, headers)
            await body(send)
        else:
            cookie = dict(scope["headers"]).get(b"cookie", b"none")
            await start(send)
            await body(send, cookie)

    client, _ = make_client(app)
    response = await client.get("/login", follow_redirects=True)
    assert response.text == "id=7"


def lifespan_app(*, startup=None, shutdown=None):
    @contextlib.asynccontextmanager
    async def lifespan(app):
        if startup:
            raise startup
        yield {"name": "shared"}
        if shutdown:
            raise shutdown

    app = FastAPI(lifespan=lifespan)

    @app.get("/")
    async def root(request: Request):
        return request.state.name

    return app


async def test_lifespan_state_reaches_the_requests():
    client, transport = make_client(lifespan_app())
    await transport.startup()
    await transport.startup()
    assert (await client.get("/")).json() == "shared"
    await transport.shutdown()
    await transport.shutdown()


async def test_a_failing_start_up_is_told_with_the_apps_reason():
    _, transport = make_client(lifespan_app(startup=OSError("no database")))
    with pytest.raises(AppStartupError, match="no database"):
        await transport.startup()
    await transport.shutdown()


async def test_a_failing_shutdown_is_told_with_the_apps_reason():
    _, transport = make_client(lifespan_app(shutdown=OSError("no goodbye")))
    await transport.startup()
    with pytest.raises(AppShutdownError, match="no goodbye"):
        await transport.shutdown()


async def test_a_start_up_that_raises_without_a_message_is_told_too():
    async def app(scope, receive, send):
        await receive()
        raise OSError("bare")

    _, transport = make_client(app)
    with pytest.raises(AppStartupError, match="OSError: bare"):
        await transport.startup()
    await transport.shutdown()


async def test_apps_without_lifespan_work():
    async def app(scope, receive, send):
        assert scope["type"] == "http"
        assert "state" not in scope
        await start(send)
        await body(send)

    client, transport = make_client(app)
    await transport.startup()
    assert (await client.get("/")).status_code == 200
    await transport.shutdown()


async def test_shutdown_leaves_no_task_behind():
    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await asyncio.Event().wait()

    client, transport = make_client(app)
    request = asyncio.create_task(client.get("/"))
    await asyncio.sleep(0)
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    await transport.shutdown()
    assert asyncio.all_tasks() == {asyncio.current_task()}
