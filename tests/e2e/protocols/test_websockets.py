"""Websockets through httpx-ws on the plugin's client."""

import asyncio
import contextlib
import itertools
import time

import pytest
from judged import PASS, fail, said
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocketDisconnect

httpx_ws = pytest.importorskip("httpx_ws", reason="httpx-ws is not installed: no websockets")
pytestmark = pytest.mark.asyncio

MESSAGES = 3


async def answer(message):
    await asyncio.sleep(0.01)
    return message


async def answer_late(message):
    time.sleep(0.05)  # culprit
    return message


def echo(answer):
    async def handler(websocket):
        await websocket.accept()
        websocket.state.journal.append("connected")
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                message = await websocket.receive_text()
                await websocket.send_text(f"{websocket.url.path} {await answer(message)}")
        websocket.state.journal.append("disconnected")

    return handler


async def blocks_before_it_accepts(websocket):
    time.sleep(0.05)  # before the accept
    await echo(answer)(websocket)


async def refuse(websocket):
    websocket.state.journal.append("refused")
    await asyncio.sleep(0.02)
    await websocket.close()


async def deny(websocket):
    await asyncio.sleep(0.02)
    await websocket.send_denial_response(PlainTextResponse("no such room", status_code=404))


async def push(websocket):
    await websocket.accept()
    websocket.state.journal.append("connected")
    try:
        for number in itertools.count():
            await websocket.send_text(str(number))
            await asyncio.sleep(0.005)
    finally:
        websocket.state.journal.append("disconnected")


async def choose(websocket):
    await websocket.accept(subprotocol=websocket.scope["subprotocols"][-1])
    await asyncio.sleep(0.02)
    await websocket.send_bytes(b"chosen")
    await websocket.close(code=4000, reason="done")


async def breaks(websocket):
    await websocket.accept()
    await websocket.receive_text()
    raise ValueError("the handler is broken")


@pytest.fixture
def journal():
    """Return what happened in the app."""
    return []


@pytest.fixture
def nonblocking_app(journal):
    @contextlib.asynccontextmanager
    async def lifespan(app):
        yield {"journal": journal}

    handlers = {
        "/echo/{user}": echo(answer),
        "/blocking/{user}": echo(answer_late),
        "/blocks-before-it-accepts/{user}": blocks_before_it_accepts,
        "/refuse": refuse,
        "/deny": deny,
        "/push": push,
        "/choose": choose,
        "/breaks": breaks,
    }
    routes = [WebSocketRoute(path, handler) for path, handler in handlers.items()]
    return Starlette(routes=routes, lifespan=lifespan)


@pytest.fixture
def connect(nonblocking_client):
    """Return a context manager: a connection to a path of the app."""

    def connecting(path, **kwargs):
        url = f"http://testserver{path}"
        return httpx_ws.aconnect_ws(url, nonblocking_client, **kwargs)

    return connecting


@pytest.fixture
def converse(connect, virtual_user):
    """Return a scenario: a conversation on a path of the copy's own."""

    def scenario(path):
        async def body():
            own = f"{path}/{virtual_user()}"
            async with connect(own) as websocket:
                for number in range(MESSAGES):
                    await websocket.send_text(str(number))
                    assert await websocket.receive_text() == f"{own} {number}"

        return body

    return scenario


async def test_a_handler_that_awaits_between_messages_passes(measure, converse):
    assert said(await measure(converse("/echo"))) == PASS


async def test_a_handler_that_blocks_on_each_message_fails_with_its_path_and_line(
    measure, converse
):
    outcome = await measure(converse("/blocking"))
    assert said(outcome) == fail(__file__)
    assert outcome.target.startswith("WEBSOCKET /blocking/")


async def test_a_handler_that_blocks_before_it_accepts_fails_with_its_line(measure, converse):
    outcome = await measure(converse("/blocks-before-it-accepts"))
    assert said(outcome) == fail(__file__, "# before the accept")


async def test_an_app_learns_that_its_client_has_left(measure, converse, journal):
    await measure(converse("/echo"))
    assert journal.count("connected") == journal.count("disconnected") > 20


async def test_a_subprotocol_and_the_code_of_a_close_reach_the_client(measure, connect):
    async def body():
        async with connect("/choose", subprotocols=["chat", "superchat"]) as websocket:
            assert websocket.subprotocol == "superchat"
            assert await websocket.receive_bytes() == b"chosen"
            with pytest.raises(httpx_ws.WebSocketDisconnect) as closed:
                await websocket.receive_text()
            assert (closed.value.code, closed.value.reason) == (4000, "done")

    assert said(await measure(body)) == PASS


async def test_a_handler_that_refuses_the_connection_passes(measure, connect, journal):
    async def body():
        with pytest.raises(httpx_ws.HTTPXWSException):
            async with connect("/refuse"):
                pytest.fail("connected")

    assert said(await measure(body)) == PASS
    assert len(journal) > 20


async def test_a_handler_that_denies_the_connection_with_a_response_passes(measure, connect):
    async def body():
        with pytest.raises(httpx_ws.WebSocketUpgradeError) as denied:
            async with connect("/deny"):
                pytest.fail("connected")
        assert denied.value.response.status_code == 404
        assert denied.value.response.text == "no such room"

    assert said(await measure(body)) == PASS


async def test_a_handler_that_pushes_without_end_stops_when_its_client_leaves(
    measure, connect, journal
):
    async def body():
        async with connect("/push") as websocket:
            assert [await websocket.receive_text() for _ in range(MESSAGES)] == ["0", "1", "2"]

    assert said(await measure(body)) == PASS
    assert journal.count("connected") == journal.count("disconnected") > 20


async def test_what_a_websocket_handler_raises_closes_it_as_a_server_would(connect):
    async with connect("/breaks") as websocket:
        await websocket.send_text("0")
        with pytest.raises(httpx_ws.WebSocketDisconnect) as closed:
            await websocket.receive_text()
    assert (closed.value.code, closed.value.reason) == (1011, "the handler is broken")
