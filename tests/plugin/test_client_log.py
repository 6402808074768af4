"""What httpx logs for each request is none of the app's."""

import pytest

APP = """
import asyncio
import httpx

async def app(scope, receive, send):
    await asyncio.sleep(0.01)
    if scope["path"] == "/asks":
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://other") as client:
            await client.get("/")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
"""
TEST = """
import logging, time
import pytest

class Slow(logging.Handler):
    def emit(self, record):
        LINES.append(record.getMessage())
        time.sleep(0.03)

LINES = []

@pytest.fixture(autouse=True)
def slow_log():
    log = logging.getLogger("httpx")
    handler = Slow()
    log.addHandler(handler)
    log.setLevel("INFO")
    yield
    log.removeHandler(handler)
    assert log.filters == []  # nothing of ours stays

@pytest.mark.nonblocking(concurrency=8)
async def test_it(nonblocking_client):
    await nonblocking_client.get("{path}")

@pytest.mark.asyncio
async def test_lines(nonblocking_client):
    assert not any("{path}" in line for line in LINES)
    await nonblocking_client.get("/plain")
    assert "/plain" in LINES[-1]
"""


@pytest.fixture
def suite(pytester):
    pytester.makepyfile(webapp=APP)
    pytester.makeini("[pytest]\npythonpath = .\nnonblocking_app = webapp:app\n")
    return pytester


@pytest.mark.parametrize("transport", ["asgi", "uvicorn"])
def test_a_slow_log_of_the_tests_client_holds_nothing_up(suite, transport):
    if transport != "asgi":
        pytest.importorskip(transport, reason=f"{transport} is not installed")
    suite.makepyfile(test_it=TEST.replace("{path}", "/plain"))
    arguments = (f"--nonblocking-transport={transport}", "-p", "no:randomly")
    suite.runpytest(*arguments).assert_outcomes(passed=2)


def test_a_slow_log_of_the_apps_client_does(suite):
    suite.makepyfile(test_it=TEST.replace("{path}", "/asks"))
    result = suite.runpytest("-p", "no:randomly")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*blocking-call: time.sleep*"])
