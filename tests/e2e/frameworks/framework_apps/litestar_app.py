import contextlib
import time

from litestar import Litestar, get
from litestar.datastructures import State


def look_up() -> str:
    time.sleep(0.05)  # culprit
    return "ok"


@get("/healthy")
async def healthy(state: State) -> str:
    return await state.store.read()


@get("/queueing")
async def queueing(state: State) -> str:
    return await state.store.read_alone()


@get("/blocking")
async def blocking() -> str:
    return look_up()


@get("/threaded", sync_to_thread=True)
def threaded() -> str:
    return look_up()


@get("/unthreaded", sync_to_thread=False)
def unthreaded() -> str:
    return look_up()


def make_app(store):
    @contextlib.asynccontextmanager
    async def lifespan(app):
        await store.open()
        app.state.store = store
        yield
        await store.close()

    handlers = [healthy, queueing, blocking, threaded, unthreaded]
    # Its default would turn on the root logger of the whole process.
    return Litestar(handlers, lifespan=[lifespan], logging_config=None)
