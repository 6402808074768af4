"""The transport on trio: what asyncio's own tests show, where the two differ below."""

import contextlib

import pytest

trio = pytest.importorskip("trio", reason="trio is not installed")

from pytest_nonblocking.asgi.client import make_client  # noqa: E402
from pytest_nonblocking.asgi.lifespan import AppStartupError  # noqa: E402

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "trio"


@contextlib.asynccontextmanager
async def client_on(app):
    client, transport = make_client(app)
    await transport.startup()
    try:
        yield client, transport
    finally:
        await client.aclose()
        await transport.shutdown()


async def answer(send, body=b"ok", **more):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body, **more})


async def test_the_lifespan_lasts_from_startup_to_shutdown():
    log = []

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                log.append((await receive())["type"])
                scope["state"]["up"] = True
                await send({"type": f"lifespan.{kind}.complete"})
        else:
            await answer(send, str(scope["state"]["up"]).encode())

    async with client_on(app) as (client, _):
        assert (await client.get("/")).text == "True"
        assert log == ["lifespan.startup"]
    assert log == ["lifespan.startup", "lifespan.shutdown"]


async def test_a_failed_start_up_is_raised():
    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.raises(AppStartupError, match="no database"):
        async with client_on(app):
            pass


async def test_what_the_application_raises_reaches_the_client():
    async def app(scope, receive, send):
        raise ValueError("broken")

    async with client_on(app) as (client, _):
        with pytest.raises(ValueError, match="broken"):
            await client.get("/")


async def test_a_client_that_leaves_is_a_disconnect_for_the_application():
    log = []

    async def app(scope, receive, send):
        if scope["type"] != "http":
            raise RuntimeError
        assert (await receive())["type"] == "http.request"
        await answer(send, b"first", more_body=True)
        log.append((await receive())["type"])

    async with client_on(app) as (client, transport):
        async with client.stream("GET", "/") as response:
            # Read in part, httpx would leave generators to the collector, and trio warns of those.
            assert response.status_code == 200
        await transport.settle()
    assert log == ["http.disconnect"]


async def test_a_request_that_times_out_in_the_test_is_a_disconnect_too():
    log = []

    async def app(scope, receive, send):
        if scope["type"] != "http":
            raise RuntimeError
        await receive()
        log.append((await receive())["type"])

    async with client_on(app) as (client, transport):
        with trio.move_on_after(0.05) as scope:
            await client.get("/")
        assert scope.cancelled_caught
        await transport.settle()
    assert log == ["http.disconnect"]


async def test_an_endless_application_is_ended_with_its_client():
    ended = []

    async def app(scope, receive, send):
        if scope["type"] != "http":
            raise RuntimeError
        try:
            await answer(send, b"x", more_body=True)
            await trio.sleep_forever()
        finally:
            ended.append(True)

    async with client_on(app) as (client, _), client.stream("GET", "/"):
        pass
    assert ended == [True]


async def test_an_upload_arrives_in_parts_and_its_error_ends_the_request():
    async def app(scope, receive, send):
        if scope["type"] != "http":
            raise RuntimeError
        parts = []
        while (event := await receive()).get("more_body"):
            parts.append(event["body"])
        await answer(send, b"|".join(parts))

    async def parts(broken):
        yield b"a"
        await trio.sleep(0)
        if broken:
            raise OSError("the disk is gone")
        yield b"b"

    async with client_on(app) as (client, _):
        assert (await client.post("/", content=parts(False))).text == "a|b"
        with pytest.raises(OSError, match="the disk is gone"):
            await client.post("/", content=parts(True))


async def test_background_work_does_not_delay_the_response():
    log = []

    async def app(scope, receive, send):
        if scope["type"] != "http":
            raise RuntimeError
        await answer(send)
        await trio.sleep(0.02)
        log.append("done")

    async with client_on(app) as (client, transport):
        await client.get("/")
        assert log == []
        await transport.settle()
        assert log == ["done"]


async def test_nothing_is_left_behind():
    async def app(scope, receive, send):
        await answer(send)

    async with client_on(app) as (client, _):
        for _ in range(3):
            assert (await client.get("/")).content == b"ok"
    await trio.sleep(0)
    nurseries = trio.lowlevel.current_root_task().child_nurseries
    assert not [t for n in nurseries for t in n.child_tasks if "_TrioTask" in str(t)]
