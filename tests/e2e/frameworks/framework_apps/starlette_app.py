import contextlib
import time

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route


def look_up():
    time.sleep(0.05)  # culprit
    return "ok"


async def healthy(request):
    return PlainTextResponse(await request.state.store.read())


async def queueing(request):
    return PlainTextResponse(await request.state.store.read_alone())


async def blocking(request):
    return PlainTextResponse(look_up())


def threaded(request):
    return PlainTextResponse(look_up())


def make_app(store):
    @contextlib.asynccontextmanager
    async def lifespan(app):
        await store.open()
        yield {"store": store}
        await store.close()

    handlers = (healthy, queueing, blocking, threaded)
    return Starlette(routes=[Route(f"/{h.__name__}", h) for h in handlers], lifespan=lifespan)
