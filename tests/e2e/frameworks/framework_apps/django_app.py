import asyncio
import time

import django
from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpResponse
from django.urls import path

if not settings.configured:  # a process has one configuration
    settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["testserver"])
    django.setup()


def look_up():
    time.sleep(0.05)  # culprit
    return "ok"


async def healthy(request):
    return HttpResponse(await request.scope["state"]["store"].read())


async def queueing(request):
    return HttpResponse(await request.scope["state"]["store"].read_alone())


async def blocking(request):
    return HttpResponse(look_up())


def threaded(request):
    return HttpResponse(look_up())


async def stateless(request):
    await asyncio.sleep(0.02)
    return HttpResponse("ok")


VIEWS = (healthy, queueing, blocking, threaded, stateless)
urlpatterns = [path(view.__name__, view) for view in VIEWS]


# It has no lifespan and raises for one.
plain_app = get_asgi_application()


async def checked_app(scope, receive, send):
    """Do before Django what asgiref then does in the one thread that the process has for it."""
    await sync_to_async(look_up)()  # waits for the thread
    await plain_app(scope, receive, send)


def make_app(store):
    """Give Django the lifespan that it leaves to others."""

    async def app(scope, receive, send):
        if scope["type"] != "lifespan":
            await plain_app(scope, receive, send)
            return
        await receive()
        await store.open()
        scope["state"]["store"] = store
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await store.close()
        await send({"type": "lifespan.shutdown.complete"})

    return app
