import time

from blacksheep import Application, Router, text


def look_up():
    time.sleep(0.05)  # culprit
    return "ok"


def make_app(store):
    app = Application(router=Router())

    @app.on_start
    async def open_store(app):
        await store.open()

    @app.on_stop
    async def close_store(app):
        await store.close()

    @app.router.get("/healthy")
    async def healthy():
        return text(await store.read())

    @app.router.get("/queueing")
    async def queueing():
        return text(await store.read_alone())

    @app.router.get("/blocking")
    async def blocking():
        return text(look_up())

    @app.router.get("/unthreaded")
    def unthreaded():
        return text(look_up())

    return app
