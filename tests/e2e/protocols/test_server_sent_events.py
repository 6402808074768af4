"""Server-sent events: streams that end, streams that do not, and clients that leave."""

import asyncio
import itertools
import time

import pytest
from judged import PASS, fail, said
from starlette.applications import Starlette
from starlette.routing import Route

pytestmark = pytest.mark.asyncio

OF_STARLETTE = "starlette.responses:StreamingResponse"
OF_SSE_STARLETTE = "sse_starlette:EventSourceResponse"


async def events(journal, numbers, pause):
    journal.append("opened")
    try:
        for number in numbers:
            yield b"data: %d\n\n" % number
            await pause()
    finally:
        journal.append("closed")


async def awaits():
    await asyncio.sleep(0.005)


async def blocks():
    time.sleep(0.05)  # culprit
    await asyncio.sleep(0.005)


async def queues(lock):
    async with lock:  # one stream at a time
        await asyncio.sleep(0.02)


async def never_awaits():
    time.sleep(0.05)  # never awaits


def events_in_a_thread():
    for number in range(3):
        yield b"data: %d\n\n" % number
        time.sleep(0.05)


@pytest.fixture(params=[OF_STARLETTE, OF_SSE_STARLETTE])
def event_response(request):
    module, _, name = request.param.partition(":")
    found = pytest.importorskip(module, reason=f"{module} is not installed")
    return getattr(found, name)


@pytest.fixture
def journal():
    """Return what happened in the app."""
    return []


@pytest.fixture
def nonblocking_app(event_response, journal):
    lock = asyncio.Lock()
    sources = {
        "/finite": lambda: events(journal, range(3), awaits),
        "/endless": lambda: events(journal, itertools.count(), awaits),
        "/blocking": lambda: events(journal, itertools.count(), blocks),
        "/queueing": lambda: events(journal, range(3), lambda: queues(lock)),
        "/hogging": lambda: events(journal, itertools.count(), never_awaits),
        "/threaded": events_in_a_thread,
    }

    async def respond(request):
        return event_response(sources[request.url.path](), media_type="text/event-stream")

    app = Starlette(routes=[Route(path, respond) for path in sources])

    async def listening(scope, receive, send):
        async def noting_receive():
            message = await receive()
            journal.append(message["type"])
            return message

        await app(scope, noting_receive, send)

    return listening


@pytest.fixture
def read(nonblocking_client):
    """Return a scenario: read some events of a stream, or all, and leave."""

    def scenario(path, count=None):
        async def body():
            async with nonblocking_client.stream("GET", path) as response:
                assert response.headers["content-type"].startswith("text/event-stream")
                seen = []
                async for line in response.aiter_lines():
                    seen += [line] if line else []
                    if len(seen) == count:
                        break
                assert seen == [f"data: {number}" for number in range(3)]

        return body

    return scenario


async def test_a_stream_that_ends_passes(measure, read, journal):
    assert said(await measure(read("/finite"))) == PASS
    assert journal.count("opened") == journal.count("closed") > 20


async def test_a_client_that_leaves_an_endless_stream_passes(measure, read):
    assert said(await measure(read("/endless", 3))) == PASS


async def test_an_app_learns_that_its_client_has_left_and_cleans_up(measure, read, journal):
    await measure(read("/endless", 3))
    assert journal.count("opened") == journal.count("closed") > 20
    assert journal.count("http.disconnect") == journal.count("opened")


async def test_a_stream_that_blocks_between_events_fails_with_its_line(measure, read):
    assert said(await measure(read("/blocking", 3))) == fail(__file__)


async def test_streams_that_queue_for_a_lock_fail_with_its_line(measure, read):
    expected = fail(__file__, "# one stream at a time", "serialised-wait")
    assert said(await measure(read("/queueing"))) == expected


async def test_a_stream_that_never_gives_the_loop_back_times_out_with_its_line(measure, read):
    outcome = await measure(read("/hogging", 3), timeout="1s")
    assert said(outcome) == fail(__file__, "# never awaits")
    assert outcome.judgement.reasons == ("timeout",)


async def test_a_stream_from_a_def_generator_passes(measure, read):
    assert said(await measure(read("/threaded"))) == PASS
