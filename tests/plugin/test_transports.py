"""The same verdict whatever carries the requests: in process, a real server, or test clients."""

import json
import textwrap

import pytest

pytest.importorskip("uvicorn", reason="uvicorn is not installed: there is no server to start")

APP = """
import asyncio, time
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

app = FastAPI()
made = {}


def of_this_loop(make, *args):
    key = make, asyncio.get_running_loop()
    if key not in made:
        made[key] = make(*args)
    return made[key]


def compute(seconds):
    # Work and no time: a machine that is twice as slow takes twice as long.
    for _ in range(int(seconds * 60_000)):
        sum(range(1000))


@app.get("/trivial")
async def trivial():
    return "ok"


@app.get("/awaits")
async def awaits():
    await asyncio.sleep(0.02)


@app.get("/briefly")
async def briefly():
    await asyncio.sleep(0.005)


@app.get("/pool")
async def pool():
    async with of_this_loop(asyncio.Semaphore, 5):
        await asyncio.sleep(0.02)


@app.get("/lock")
async def lock():
    async with of_this_loop(asyncio.Lock):
        await asyncio.sleep(0.02)


@app.get("/blocks")
async def blocks():
    time.sleep(0.02)


@app.get("/in-thread")
def in_thread():
    time.sleep(0.02)


@app.get("/computes")
async def computes():
    compute(0.02)


@app.get("/in-threads")
def in_threads():
    compute(0.02)


@app.get("/headers")
async def headers(request: Request):
    return list(request.headers)


@app.get("/stream")
async def stream():
    async def parts():
        for number in range(3):
            yield f"{number}\\n" * 20_000
            await asyncio.sleep(0.005)

    return StreamingResponse(parts())


@app.get("/broken")
async def broken():
    raise RuntimeError("the handler is broken")


meeting = []


@app.get("/meet")
async def meet(number: int, last: bool = False):
    # The first half waits for the second request of the other half.
    if last:
        meeting.append(number)
        return
    while number % 2 and len(meeting) < 4:
        await asyncio.sleep(0.001)
"""

INI = """
[pytest]
pythonpath = .
asyncio_default_fixture_loop_scope = function
filterwarnings =
    error
    ignore:Using `httpx` with
"""

COROUTINES = """
import pytest, webapp

@pytest.fixture
def nonblocking_app():
    return webapp.app

@pytest.mark.nonblocking(concurrency={concurrency}, transport="{transport}")
@pytest.mark.parametrize("path", {paths})
async def test_it(nonblocking_client, path, virtual_user):
{body}
"""

FUNCTIONS = """
import pytest, webapp
from starlette.testclient import TestClient

@pytest.fixture
def client():
    with TestClient(webapp.app, raise_server_exceptions=False) as client:
        yield client

@pytest.mark.nonblocking(concurrency={concurrency})
@pytest.mark.parametrize("path", {paths})
def test_it(client, path, virtual_user):
{body}
"""

GET = """
response = GET(path)
assert response.status_code == 200
"""

VERDICTS = {
    "/trivial": ("pass", None),
    "/awaits": ("pass", None),
    "/pool": ("fail", "serialised-wait"),
    "/lock": ("fail", "serialised-wait"),
    "/blocks": ("fail", "blocking-call"),
    "/in-thread": ("pass", None),
    "/computes": ("fail", "cpu-on-loop"),
    "/in-threads": ("fail", "gil-contention"),
}
SERVERS = ["uvicorn", "hypercorn"]
OTHERS = [*SERVERS, "TestClient"]


@pytest.fixture
def measured(pytester):
    """Return how to measure paths over a transport: what the report tells of each."""
    pytester.makepyfile(webapp=APP)
    pytester.makeini(INI)

    def measure(transport, paths, *flags, body=GET, concurrency=50):
        if transport in SERVERS:
            pytest.importorskip(transport, reason=f"{transport} is not installed")
        template, get = COROUTINES, "await nonblocking_client.get("
        if transport == "TestClient":
            template, get = FUNCTIONS, "client.get("
        body = textwrap.indent(body.replace("GET(", get), "    ")
        text = template.format(transport=transport, paths=paths, body=body, concurrency=concurrency)
        pytester.makepyfile(test_it=text)
        report = "--nonblocking-report=report.json"
        pytester.runpytest_subprocess(report, "-W", "default", *flags, timeout=120)
        tests = json.loads((pytester.path / "report.json").read_text("utf-8"))["tests"]
        return {test["nodeid"].partition("[")[2][:-1]: test for test in tests}

    return measure


@pytest.mark.parametrize("transport", ["asgi", *OTHERS])
def test_the_verdict_and_the_cause_are_the_same_on_every_transport(measured, transport):
    tests = measured(transport, list(VERDICTS))
    said = {path: (test["verdict"], test["cause"]) for path, test in tests.items()}
    # Beside busy neighbours a verdict may be kept back; a wrong one is never given.
    shown = {path: verdict for path, verdict in said.items() if verdict[0] != "inconclusive"}
    assert shown == {path: VERDICTS[path] for path in shown}
    assert len(shown) >= len(VERDICTS) / 2


@pytest.mark.parametrize("transport", OTHERS)
def test_the_window_is_the_time_in_which_requests_are_in_the_application(measured, transport):
    tests = measured(transport, ["/trivial", "/awaits"])
    for path, test in tests.items():
        for level in test["levels"]:
            spent = level["budget_ms"]
            own = {name: ms for name, ms in spent.items() if name != "other_cpu"}
            assert sum(own.values()) == pytest.approx(level["makespan_ms"], rel=0.02, abs=1)
            assert level["latency_ms"]["p50"] <= level["makespan_ms"] * 1.1 + 1
            # Clients of 2 to 3 ms each would be 100 ms and more.
            waits = 20 if path == "/awaits" else 0
            assert spent["idle"] <= waits + 5


def only(tests):
    """Return what the report tells of the one test."""
    (test,) = tests.values()
    return test


@pytest.mark.parametrize("transport", OTHERS)
def test_requests_one_after_the_other_are_let_in_together_each_time(measured, transport):
    test = only(measured(transport, ["/briefly"], body=3 * GET))
    assert test["verdict"] in ("pass", "inconclusive")
    assert test["levels"][0]["makespan_ms"] >= 15
    assert test["levels"][-1]["budget_ms"]["idle"] <= 3 * 5 + 10


@pytest.mark.parametrize("transport", SERVERS)
def test_the_application_does_not_see_which_copy_sends(measured, transport):
    body = GET + "assert not [name for name in response.json() if 'nonblocking' in name]"
    assert only(measured(transport, ["/headers"], body=body))["verdict"] != "not-measured"


@pytest.mark.parametrize("transport", OTHERS)
def test_a_stream_arrives_whole(measured, transport):
    body = GET + "assert response.text == ''.join(f'{n}\\n' * 20_000 for n in range(3))"
    test = only(measured(transport, ["/stream"], body=body, concurrency=10))
    assert test["verdict"] != "not-measured"
    assert test["wall_s"] < 20


@pytest.mark.parametrize("transport", OTHERS)
def test_copies_that_send_nothing_keep_nobody_at_the_door(measured, transport):
    body = "if virtual_user() % 2 == 0: GET(path)"
    test = only(measured(transport, ["/awaits"], body=body))
    assert test["verdict"] in ("pass", "inconclusive")
    assert test["wall_s"] < 10


@pytest.mark.parametrize("transport", OTHERS)
def test_an_answer_for_which_another_request_waits_is_let_out(measured, transport):
    body = """
n = virtual_user()
GET(f"/meet?number={n}")
if n % 2 == 0:
    GET(f"/meet?number={n}&last=true")
"""
    test = only(measured(transport, ["/meet"], body=body, concurrency=8))
    assert test["verdict"] != "not-measured"
    assert test["wall_s"] < 20


@pytest.mark.parametrize("transport", OTHERS)
def test_what_fails_in_a_burst_leaves_nobody_at_the_door(measured, transport):
    body = "assert virtual_user() < 5\n" + GET
    assert measured(transport, ["/awaits"], body=body) == {}  # an ordinary failure
    test = only(measured(transport, ["/broken"], "-p", "no:logging", body="GET(path)"))
    assert test["verdict"] in ("pass", "inconclusive")
