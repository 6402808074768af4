import contextlib
import time

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse


def look_up():
    time.sleep(0.05)  # culprit
    return "ok"


def make_app(store):
    @contextlib.asynccontextmanager
    async def lifespan(app):
        await store.open()
        yield {"store": store}
        await store.close()

    app = FastAPI(lifespan=lifespan, default_response_class=PlainTextResponse)

    @app.get("/healthy")
    async def healthy(request: Request):
        return await request.state.store.read()

    @app.get("/queueing")
    async def queueing(request: Request):
        return await request.state.store.read_alone()

    @app.get("/blocking")
    async def blocking():
        return look_up()

    @app.get("/threaded")
    def threaded():
        return look_up()

    return app
