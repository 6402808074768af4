"""The ASGI transport and the lifespan where clients leave, apps misbehave, and nothing may hang."""

import asyncio
import contextvars
import gc
import gzip
import re
import traceback
from types import SimpleNamespace

import freezegun
import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import StreamingResponse
from starlette.routing import Route

from pytest_nonblocking import tasks
from pytest_nonblocking.asgi import exchange as call
from pytest_nonblocking.asgi import lifespan
from pytest_nonblocking.asgi.client import ASGITransport, make_client
from pytest_nonblocking.asgi.lifespan import AppShutdownError, AppStartupError, late_text
from pytest_nonblocking.model import Limit

pytestmark = pytest.mark.asyncio

SHORT = Limit(0.01, "marker")
PHASES = [("startup", AppStartupError), ("shutdown", AppShutdownError)]
PATIENCE = 5  # seconds until a test that hangs fails; no test waits for it to pass


def soon(awaitable):
    return asyncio.wait_for(awaitable, PATIENCE)


def start(status=200, headers=()):
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(data=b"", more=False):
    return {"type": "http.response.body", "body": data, "more_body": more}


async def ok(scope, receive, send):
    await send(start())
    await send(body(b"ok"))


class Endless:
    """An application that streams until the client leaves, and records what it receives."""

    def __init__(self):
        self.shown = []
        self.left = asyncio.Event()

    async def __call__(self, scope, receive, send):
        await receive()
        await send(start())
        await send(body(b"tick", more=True))
        self.shown.append((await receive())["type"])
        await send(body(b"nobody reads this", more=True))
        self.left.set()


@pytest.fixture
def grace(monkeypatch):
    """Make the graces short, for tests in which one has to pass."""
    monkeypatch.setattr(tasks, "GRACE", 0.05)


# Scope


# Responses


async def test_response_returns_at_its_start_without_any_body():
    go_on = asyncio.Event()

    async def app(scope, receive, send):
        await send(start(201))
        await go_on.wait()
        await send(body(b"late"))

    client, _ = make_client(app)
    async with client.stream("GET", "/") as response:
        assert response.status_code == 201
        go_on.set()
        assert await soon(response.aread()) == b"late"


async def test_starlette_streaming_response_streams_through_base_http_middleware():
    go_on = asyncio.Event()

    async def lines():
        yield b"one"
        await go_on.wait()
        yield b"two"

    class Mark(BaseHTTPMiddleware):
        async def dispatch(self, request, call_next):
            response = await call_next(request)
            response.headers["x-mark"] = "seen"
            return response

    async def endpoint(request):
        return StreamingResponse(lines())

    app = Starlette(routes=[Route("/", endpoint)], middleware=[Middleware(Mark)])
    client, transport = make_client(app)
    async with client.stream("GET", "/") as response:
        assert response.headers["x-mark"] == "seen"
        chunks = response.aiter_raw()
        assert await soon(anext(chunks)) == b"one"
        go_on.set()
        assert b"".join([chunk async for chunk in chunks]) == b"two"
    await soon(transport.settle())


async def test_two_tasks_of_an_app_that_wait_to_send_both_go_on():
    async def app(scope, receive, send):
        await send(start())
        await asyncio.gather(*(send(body(b"x" * 70_000, more=True)) for _ in range(2)))
        await send(body())

    client, transport = make_client(app)
    response = await soon(client.get("/"))
    assert len(response.content) == 140_000
    await soon(transport.settle())


async def test_response_without_a_body_is_complete():
    async def app(scope, receive, send):
        await send(start(204))
        await send({"type": "http.response.body"})

    client, _ = make_client(app)
    response = await soon(client.get("/"))
    assert (response.status_code, response.content) == (204, b"")
    assert response.is_closed
    assert response.elapsed.total_seconds() >= 0


async def test_compressed_response_is_decoded():
    async def app(scope, receive, send):
        await send(start(headers=[(b"content-encoding", b"gzip")]))
        await send(body(gzip.compress(b"plain text")))

    client, _ = make_client(app)
    assert (await client.get("/")).text == "plain text"


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([body(b"x")], "before http.response.start"),
        ([start(), start()], "sent twice"),
        ([start(), body(), body()], "after the response had ended"),
        ([{"type": "websocket.accept"}], "unexpected event 'websocket.accept'"),
    ],
)
async def test_error_when_an_app_breaks_the_order_of_events(events, words):
    async def app(scope, receive, send):
        for event in events:
            await send(event)

    client, _ = make_client(app)
    with pytest.raises(RuntimeError, match=words):
        await soon(client.get("/"))


# Request bodies


async def test_upload_in_memory_reaches_the_app():
    app = FastAPI()

    @app.post("/")
    async def upload(request: Request):
        return {"size": len(await request.body())}

    client, _ = make_client(app)
    response = await client.post("/", content=b"x" * 100_000)
    assert response.json() == {"size": 100_000}


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="new in Python 3.12")
@pytest.mark.parametrize("chunks", [[], [b"one"], [b"one", b"two"]])
async def test_an_upload_reaches_the_app_on_a_loop_whose_tasks_start_eagerly(chunks):
    async def upload():
        for chunk in chunks:
            yield chunk

    async def app(scope, receive, send):
        received = b""
        while (event := await receive())["more_body"]:
            received += event["body"]
        await send(start())
        await send(body(received))

    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    client, _ = make_client(app)
    response = await soon(client.post("/", content=upload()))
    assert response.content == b"".join(chunks)


async def test_a_receive_that_was_cancelled_loses_nothing_of_an_upload():
    ready = asyncio.Event()
    asked = asyncio.Event()
    events = []

    async def chunks():
        asked.set()
        await ready.wait()
        yield b"whole"

    async def app(scope, receive, send):
        waiting = asyncio.ensure_future(receive())
        await asked.wait()
        waiting.cancel()
        await asyncio.wait([waiting])
        ready.set()
        more = True
        while more:
            event = await receive()
            events.append(event.get("body"))
            more = event.get("more_body", False)
        await ok(scope, receive, send)

    client, _ = make_client(app)
    await soon(client.post("/", content=chunks()))
    assert b"".join(events) == b"whole"


async def test_an_upload_runs_in_the_clients_context():
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("by the test")
    seen = []

    async def chunks():
        seen.append(variable.get())
        yield b"x"

    async def app(scope, receive, send):
        variable.set("by the application")
        while (await receive()).get("more_body"):
            pass
        await ok(scope, receive, send)

    client, _ = make_client(app)
    await soon(client.post("/", content=chunks()))
    assert seen == ["by the test"]


async def test_an_error_of_the_upload_reaches_the_app_and_the_test():
    async def chunks():
        yield b"one"
        raise ValueError("the upload broke")

    async def app(scope, receive, send):
        while (await receive()).get("more_body"):
            pass
        await ok(scope, receive, send)

    client, _ = make_client(app)
    with pytest.raises(ValueError, match="the upload broke"):
        await soon(client.post("/", content=chunks()))


async def test_an_app_need_not_read_the_upload_and_leaves_no_task_behind():
    asked = asyncio.Event()

    async def chunks():
        asked.set()
        await asyncio.Event().wait()
        yield b"never"

    async def app(scope, receive, send):
        waiting = asyncio.ensure_future(receive())
        await asked.wait()
        waiting.cancel()
        await ok(scope, receive, send)

    client, transport = make_client(app)
    assert (await soon(client.post("/", content=chunks()))).text == "ok"
    await soon(transport.settle())
    await soon(client.aclose())
    assert asyncio.all_tasks() == {asyncio.current_task()}


# Leaving


async def test_a_client_that_is_cancelled_is_a_disconnect():
    entered = asyncio.Event()
    shown = []

    async def app(scope, receive, send):
        await receive()
        entered.set()
        shown.append((await receive())["type"])
        await ok(scope, receive, send)

    client, transport = make_client(app)
    request = asyncio.ensure_future(client.get("/"))
    await soon(entered.wait())
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    await soon(transport.settle())
    assert shown == ["http.disconnect"]
    # What was sent to nobody is no response.
    assert transport.drain()[0].status is None


async def test_a_client_that_is_cancelled_in_mid_stream_is_a_disconnect():
    app = Endless()
    client, transport = make_client(app)
    request = asyncio.ensure_future(client.get("/"))
    for _ in range(10):
        await asyncio.sleep(0)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    await soon(transport.settle())
    assert app.shown == ["http.disconnect"]


async def test_a_disconnect_wakes_an_app_that_waits_for_the_upload():
    asked = asyncio.Event()
    shown = []

    async def chunks():
        yield b"one"
        asked.set()
        await asyncio.Event().wait()

    async def app(scope, receive, send):
        await receive()
        shown.append((await receive())["type"])

    client, transport = make_client(app)
    request = asyncio.ensure_future(client.post("/", content=chunks()))
    await soon(asked.wait())
    request.cancel()
    await asyncio.wait([request])
    await soon(transport.settle())
    assert shown == ["http.disconnect"]


async def test_an_upload_is_not_handed_to_an_app_whose_client_has_left():
    go_on = asyncio.Event()
    shown = []

    async def app(scope, receive, send):
        await go_on.wait()
        shown.append((await receive())["type"])

    client, transport = make_client(app)
    request = asyncio.ensure_future(client.post("/", content=b"body"))
    await asyncio.sleep(0)
    request.cancel()
    await asyncio.wait([request])
    go_on.set()
    await soon(transport.settle())
    assert shown == ["http.disconnect"]


async def test_a_disconnect_frees_an_app_that_waits_to_send():
    done = asyncio.Event()

    async def app(scope, receive, send):
        await send(start())
        for _ in range(5):
            await send(body(b"x" * 70_000, more=True))
        done.set()

    client, transport = make_client(app)
    async with client.stream("GET", "/"):
        pass
    await soon(done.wait())
    await soon(transport.settle())


async def test_receive_gives_a_disconnect_after_the_whole_response():
    shown = []

    async def app(scope, receive, send):
        await receive()
        watcher = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        assert not watcher.done()
        await ok(scope, receive, send)
        shown.append((await watcher)["type"])

    client, transport = make_client(app)
    await soon(client.get("/"))
    await soon(transport.settle())
    assert shown == ["http.disconnect"]


async def test_a_reader_is_freed_when_another_task_closes_the_response_of_a_deaf_app():
    async def app(scope, receive, send):
        await send(start())
        await asyncio.Event().wait()

    client, transport = make_client(app)
    async with client.stream("GET", "/") as response:
        reader = asyncio.ensure_future(response.aread())
        await asyncio.sleep(0)
        await response.aclose()
        with pytest.raises(httpx.ReadError):
            await soon(reader)
        assert len(transport.in_flight()) == 1
    await soon(client.aclose())


# What applications raise


class BrokenError(Exception):
    pass


async def test_error_that_an_exception_handler_answers_is_a_response():
    app = FastAPI()

    @app.exception_handler(BrokenError)
    async def answer(request, error):
        return JSONResponse({"broken": True}, status_code=418)

    @app.get("/")
    async def endpoint():
        raise BrokenError

    client, transport = make_client(app)
    response = await client.get("/")
    assert (response.status_code, response.json()) == (418, {"broken": True})
    await soon(transport.settle())


@pytest.mark.parametrize("events", [[], [start()], [start(), body(b"x", more=True)]])
async def test_error_names_the_request_when_an_app_returns_without_a_whole_response(events):
    async def app(scope, receive, send):
        for event in events:
            await send(event)

    client, _ = make_client(app)
    with pytest.raises(RuntimeError, match="DELETE /thing"):
        await soon(client.delete("/thing"))


# Background work and stamps


async def test_exchange_stamps_start_response_last_byte_and_return_apart():
    clock = iter(range(1, 100))
    steps = [asyncio.Event(), asyncio.Event()]

    async def app(scope, receive, send):
        await send(start(203))
        await steps[0].wait()
        await send(body(b"ok"))
        await steps[1].wait()

    transport = ASGITransport(app, clock_ns=lambda: next(clock) * 10)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        async with client.stream("POST", "/path?query") as response:
            steps[0].set()
            await soon(response.aread())
        [running] = transport.in_flight()
        assert transport.drain() == []
        steps[1].set()
        await soon(transport.settle())
    [exchange] = transport.drain()
    assert (exchange.method, exchange.path, exchange.status) == ("POST", "/path", 203)
    assert exchange.start_ns == 10
    assert exchange.response_start_ns == 20
    assert exchange.last_byte_ns == 30
    assert exchange.app_return_ns == 40
    assert (running.last_byte_ns, running.app_return_ns) == (30, None)
    assert transport.drain() == []
    assert transport.in_flight() == []


async def test_exchange_of_a_failed_request_has_no_response():
    async def app(scope, receive, send):
        raise BrokenError

    client, transport = make_client(app)
    with pytest.raises(BrokenError):
        await client.get("/")
    [exchange] = transport.drain()
    assert (exchange.status, exchange.response_start_ns, exchange.last_byte_ns) == (None,) * 3
    assert exchange.app_return_ns >= exchange.start_ns


async def test_exchanges_are_stamped_by_the_real_clock_when_a_test_freezes_it():
    client, transport = make_client(ok)
    with freezegun.freeze_time("2020-01-01"):
        await soon(client.get("/"))
        await soon(client.get("/"))
    first, second = transport.drain()
    assert second.start_ns > first.start_ns


# The end


async def test_aclose_ends_an_app_whose_client_has_left_and_that_does_not_listen():
    entered = asyncio.Event()
    cancelled = asyncio.Event()

    async def app(scope, receive, send):
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    client, transport = make_client(app)
    request = asyncio.ensure_future(client.get("/"))
    await soon(entered.wait())
    request.cancel()
    await asyncio.wait([request])
    await soon(client.aclose())
    assert cancelled.is_set()
    assert transport.in_flight() == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_aclose_lets_background_work_finish():
    finished = asyncio.Event()
    closing = asyncio.Event()

    async def app(scope, receive, send):
        await ok(scope, receive, send)
        await closing.wait()
        finished.set()

    client, _ = make_client(app)
    await soon(client.get("/"))
    closed = asyncio.ensure_future(client.aclose())
    await asyncio.sleep(0)
    closing.set()
    await soon(closed)
    assert finished.is_set()


async def test_aclose_frees_a_request_that_still_waits(grace):
    entered = asyncio.Event()

    async def app(scope, receive, send):
        entered.set()
        await asyncio.Event().wait()

    client, transport = make_client(app)
    request = asyncio.ensure_future(client.get("/"))
    await soon(entered.wait())
    await soon(transport.aclose())
    with pytest.raises(httpx.ReadError):
        await soon(request)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_aclose_frees_a_reader_that_still_waits(grace):
    async def app(scope, receive, send):
        await send(start())
        await asyncio.Event().wait()

    client, transport = make_client(app)
    async with client.stream("GET", "/") as response:
        reader = asyncio.ensure_future(response.aread())
        await asyncio.sleep(0)
        await soon(transport.aclose())
        with pytest.raises(httpx.ReadError):
            await soon(reader)


# Lifespan


def lifespan_app(*, on_startup=None, on_shutdown=None, log=None):
    """Return a pure ASGI application with a lifespan, whose parts can be replaced."""

    async def app(scope, receive, send):
        if scope["type"] == "http":
            return await ok(scope, receive, send)
        for kind, action in (("startup", on_startup), ("shutdown", on_shutdown)):
            assert (await receive())["type"] == f"lifespan.{kind}"
            if log is not None:
                log.append((kind, asyncio.current_task()))
            if action is not None and await action(scope, send):
                return None
            await send({"type": f"lifespan.{kind}.complete"})
        return None

    return app


async def test_lifespan_runs_in_one_task_from_startup_to_shutdown():
    log = []
    client, transport = make_client(lifespan_app(log=log))
    await soon(transport.startup())
    await soon(transport.startup())
    assert [kind for kind, _ in log] == ["startup"]
    assert (await client.get("/")).text == "ok"
    await soon(transport.shutdown())
    await soon(transport.shutdown())
    assert [kind for kind, _ in log] == ["startup", "shutdown"]
    assert log[0][1] is log[1][1]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_startup_failed_message_without_an_exception_has_failed():
    async def failed(scope, send):
        await send({"type": "lifespan.startup.failed", "message": "not today"})
        return True

    _, transport = make_client(lifespan_app(on_startup=failed))
    with pytest.raises(AppStartupError, match="not today"):
        await soon(transport.startup())


async def test_a_startup_that_failed_fails_again_when_it_is_asked_for_again():
    tries = []

    async def broken(scope, send):
        tries.append(True)
        raise BrokenError

    _, transport = make_client(lifespan_app(on_startup=broken))
    for _ in range(2):
        with pytest.raises(AppStartupError):
            await soon(transport.startup())
    assert len(tries) == 2


async def test_a_cancelled_startup_ends_the_apps_task():
    entered = asyncio.Event()
    ended = asyncio.Event()

    async def never(scope, send):
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    _, transport = make_client(lifespan_app(on_startup=never))
    starting = asyncio.ensure_future(transport.startup())
    await soon(entered.wait())
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(starting)
    assert ended.is_set()
    await soon(transport.shutdown())
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_app_that_cancels_its_own_startup_has_failed():
    async def cancelled(scope, send):
        raise asyncio.CancelledError

    _, transport = make_client(lifespan_app(on_startup=cancelled))
    with pytest.raises(AppStartupError, match="CancelledError"):
        await soon(transport.startup())


async def test_shutdown_that_raises_or_reports_a_failure_is_an_error():
    async def broken(scope, send):
        raise BrokenError("flush failed")

    async def failed(scope, send):
        await send({"type": "lifespan.shutdown.failed", "message": "half flushed"})
        return True

    for action, words in ((broken, "BrokenError: flush failed"), (failed, "half flushed")):
        _, transport = make_client(lifespan_app(on_shutdown=action))
        await soon(transport.startup())
        with pytest.raises(AppShutdownError, match=words):
            await soon(transport.shutdown())
        await soon(transport.shutdown())


async def lived(transport):
    await transport.startup()
    await transport.shutdown()


@pytest.mark.parametrize(("phase", "error"), PHASES)
async def test_a_machine_that_stalls_for_the_whole_limit_does_not_hide_where_a_lifespan_waits(
    monkeypatch, phase, error
):
    async def never(scope, send):
        await asyncio.Event().wait()

    def at_once(delay, action):
        asyncio.get_running_loop().call_soon(action)
        return SimpleNamespace(end=lambda: None)

    _, transport = make_client(lifespan_app(**{f"on_{phase}": never}), timeout=SHORT)
    if phase == "shutdown":
        await soon(transport.startup())
    monkeypatch.setattr(lifespan, "call_later", at_once)
    with pytest.raises(error, match=r"it waits in .*\bnever \("):
        await soon(transport.startup() if phase == "startup" else transport.shutdown())


@pytest.mark.parametrize(("phase", "error"), PHASES)
async def test_a_lifespan_that_never_answers_is_cancelled_and_its_wait_is_named(
    grace, phase, error
):
    ended = asyncio.Event()

    async def never(scope, send):
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    _, transport = make_client(lifespan_app(**{f"on_{phase}": never}), timeout=SHORT)
    with pytest.raises(error) as shown:
        await soon(lived(transport))
    assert "has not ended within 0.05 s (the least for a s" in str(shown.value)
    assert "; timeout 0.01 s from marker); it waits in " in str(shown.value)
    # CPython 3.10 knows no qualified names of code.
    assert re.search(r"\bnever \(.*\) → asyncio\.locks\.(Event\.)?wait\. Find", str(shown.value))
    assert ended.is_set()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize(
    ("timeout", "words"),
    [
        (Limit(30.0, "default"), "within 30 s (timeout default)"),
        (Limit(6.0, "pytest.ini"), "within 6 s (timeout from pytest.ini)"),
        (
            Limit(0.5, "--nonblocking-timeout"),
            "within 5 s (the least for a start-up; timeout 0.5 s from --nonblocking-timeout)",
        ),
    ],
)
async def test_the_message_about_a_late_lifespan_names_the_limit_and_its_origin(timeout, words):
    assert words in late_text("start-up", (), timeout)


@pytest.mark.parametrize(("phase", "error"), PHASES)
async def test_a_lifespan_is_given_up_even_when_a_test_froze_the_clock(grace, phase, error):
    async def never(scope, send):
        await asyncio.Event().wait()

    _, transport = make_client(lifespan_app(**{f"on_{phase}": never}), timeout=SHORT)
    frozen = freezegun.freeze_time("2020-01-01", real_asyncio=False)
    with frozen, pytest.raises(error, match="has not ended within"):
        await lived(transport)


@pytest.mark.parametrize("broken", [True, False])
async def test_shutdown_does_not_wait_for_a_lifespan_that_has_already_ended(broken, monkeypatch):
    monkeypatch.setattr(tasks, "GRACE", 600)
    gone = asyncio.Event()

    async def leaves(scope, send):
        await send({"type": "lifespan.startup.complete"})
        gone.set()
        if broken:
            raise BrokenError("left early")
        return True

    _, transport = make_client(lifespan_app(on_startup=leaves))
    await soon(transport.startup())
    await soon(gone.wait())
    await asyncio.sleep(0)
    if broken:
        with pytest.raises(AppShutdownError, match="left early"):
            await soon(transport.shutdown())
    else:
        await soon(transport.shutdown())


# The client


async def test_client_has_the_base_url_it_is_given_and_no_timeouts():
    client, transport = make_client(ok, base_url="https://shop.example/v1")
    assert str(client.base_url) == "https://shop.example/v1/"
    assert client.timeout == httpx.Timeout(None)
    await client.get("/items")
    assert transport.drain()[0].path == "/v1/items"


async def test_many_requests_at_once_get_their_own_answers():
    app = FastAPI()

    @app.get("/{number}")
    async def endpoint(number: int):
        await asyncio.sleep(0)
        return number

    client, transport = make_client(app)
    responses = await soon(asyncio.gather(*(client.get(f"/{n}") for n in range(50))))
    assert [response.json() for response in responses] == list(range(50))
    assert len(transport.drain()) == 50


async def test_a_finished_request_is_not_kept_alive():
    client, transport = make_client(ok)
    await client.get("/")
    await soon(transport.settle())
    transport.drain()
    gc.collect()
    calls = [thing for thing in gc.get_objects() if type(thing) is call.Call]
    assert [call for call in calls if call._transport is transport] == []


async def test_the_traceback_of_an_apps_error_shows_the_apps_line():
    async def app(scope, receive, send):
        raise BrokenError

    client, _ = make_client(app)
    with pytest.raises(BrokenError) as caught:
        await client.get("/")
    assert any(frame.name == "app" for frame in traceback.extract_tb(caught.value.__traceback__))


async def test_settling_gives_the_loop_a_turn_where_a_task_has_just_ended():
    client, transport = make_client(lifespan_app())

    async def nothing():
        pass

    task = asyncio.get_running_loop().create_task(nothing())
    await task
    transport.others.add(task)  # its callback would discard it in the next iteration
    await asyncio.wait_for(transport.settle(), 5)
    await client.aclose()
