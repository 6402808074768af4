"""The handler that a router notes for a request."""

import functools

import pytest
from fastapi import APIRouter, FastAPI

from pytest_nonblocking.asgi.client import make_client, make_live_client
from pytest_nonblocking.asgi.handlers import handler_of
from pytest_nonblocking.asgi.lifespan import DEFAULT_TIMEOUT
from pytest_nonblocking.asgi.recorder import Recorder


async def handler(request):
    body = await request.body()
    return len(body)


def decorated(function):
    @functools.wraps(function)
    async def wrapper(*args):
        return await function(*args)

    return wrapper


class Views:
    async def handler(self):
        return self


def circle():
    def wrapper():
        """Wrapped by itself."""

    wrapper.__wrapped__ = wrapper
    return wrapper


@pytest.mark.parametrize(
    "endpoint",
    [handler, decorated(handler), decorated(decorated(handler)), functools.partial(handler, 1)],
    ids=["function", "decorated", "twice", "partial"],
)
def test_it_is_the_function_below_what_wraps_it(endpoint):
    frame = handler_of(endpoint)
    code = handler.__code__
    assert (frame.file, frame.function, frame.module) == (__file__, "handler", __name__)
    assert frame.line == code.co_firstlineno + 2
    assert frame.is_async


def test_it_is_the_method_of_a_view():
    assert handler_of(Views().handler).leaf == "handler"


@pytest.mark.parametrize("endpoint", [None, Views, 1])
def test_there_is_none_without_a_function(endpoint):
    assert handler_of(endpoint) is None


def test_there_is_none_of_what_is_wrapped_in_a_circle():
    assert handler_of(circle()) is None


@pytest.mark.asyncio
@pytest.mark.parametrize("where", ["in process", "behind a server"])
async def test_fastapi_names_the_handler_of_each_request(where):
    app, router, mounted = FastAPI(), APIRouter(), FastAPI()

    @router.get("/orders", response_model=list[int])
    async def orders():
        return [1]

    @mounted.get("/style.css")
    def style():
        return "body {}"

    app.include_router(router)
    app.mount("/static", mounted)
    if where == "in process":
        client, transport = make_client(app)
    else:
        client, transport = make_live_client(app, "uvicorn", DEFAULT_TIMEOUT, Recorder())
    await transport.startup()
    async with client:
        for path in ("/orders", "/static/style.css", "/none"):
            await client.get(path)
    await transport.shutdown()
    handlers = [exchange.handler for exchange in transport.drain()]
    assert [handler and handler.leaf for handler in handlers] == ["orders", "style", None]
