import time

import falcon
import falcon.asgi


def look_up():
    time.sleep(0.05)  # culprit
    return "ok"


class OpensTheStore:
    def __init__(self, store):
        self._store = store

    async def process_startup(self, scope, event):
        await self._store.open()

    async def process_shutdown(self, scope, event):
        await self._store.close()


class Healthy:
    def __init__(self, store):
        self._store = store

    async def on_get(self, req, resp):
        resp.text = await self._store.read()


class Queueing:
    def __init__(self, store):
        self._store = store

    async def on_get(self, req, resp):
        resp.text = await self._store.read_alone()


class Blocking:
    async def on_get(self, req, resp):
        resp.text = look_up()


class Threaded:
    async def on_get(self, req, resp):
        resp.text = await falcon.sync_to_async(look_up)


def make_app(store):
    app = falcon.asgi.App(middleware=[OpensTheStore(store)])
    app.add_route("/healthy", Healthy(store))
    app.add_route("/queueing", Queueing(store))
    app.add_route("/blocking", Blocking())
    app.add_route("/threaded", Threaded())
    return app
