import time

from quart import Quart


def look_up():
    time.sleep(0.05)  # culprit
    return "ok"


def make_app(store):
    app = Quart(__name__)
    app.before_serving(store.open)
    app.after_serving(store.close)

    @app.get("/healthy")
    async def healthy():
        return await store.read()

    @app.get("/queueing")
    async def queueing():
        return await store.read_alone()

    @app.get("/blocking")
    async def blocking():
        return look_up()

    @app.get("/threaded")
    def threaded():
        return look_up()

    return app
