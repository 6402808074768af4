"""The same verdict whatever carries the requests: in process, a real server, or test clients.

All scenarios of one transport share a pytest, whose report the tests read.
"""

import json
import re
import subprocess
import sys
import textwrap
from typing import NamedTuple

import pytest
from inner_runs import LEFT_OUT

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
"""
COROUTINE = """
@pytest.mark.nonblocking(concurrency={concurrency}, transport="{transport}")
@pytest.mark.parametrize("path", {paths})
async def test_{name}(nonblocking_client, path, virtual_user):
{body}
"""
FUNCTIONS = """
import pytest, webapp
from starlette.testclient import TestClient

@pytest.fixture
def client():
    with TestClient(webapp.app, raise_server_exceptions=False) as client:
        yield client
"""
FUNCTION = """
@pytest.mark.nonblocking(concurrency={concurrency})
@pytest.mark.parametrize("path", {paths})
def test_{name}(client, path, virtual_user):
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


class Scenario(NamedTuple):
    """The body of a test, and the paths with which it is measured."""

    paths: list[str]
    body: str = GET
    concurrency: int = 50


MEETS = """
n = virtual_user()
GET(f"/meet?number={n}")
if n % 2 == 0:
    GET(f"/meet?number={n}&last=true")
"""
STREAMS = GET + "assert response.text == ''.join(f'{n}\\n' * 20_000 for n in range(3))"
UNSEEN = GET + "assert not [name for name in response.json() if 'nonblocking' in name]"
ONE_REQUEST = {"one_request": Scenario(list(VERDICTS))}
MORE = {
    "three_requests": Scenario(["/briefly"], 3 * GET),
    "streams": Scenario(["/stream"], STREAMS, 10),
    "every_other_copy_sends": Scenario(["/awaits"], "if virtual_user() % 2 == 0: GET(path)"),
    "meets": Scenario(["/meet"], MEETS, 8),
    "fails_in_a_burst": Scenario(["/awaits"], "assert virtual_user() < 5\n" + GET),
    "handler_raises": Scenario(["/broken"], "GET(path)"),
}
BEHIND_A_SERVER = {"unseen": Scenario(["/headers"], UNSEEN)}


def written(transport):
    """Return the tests of all scenarios of a transport."""
    if transport == "TestClient":
        head, test, get = FUNCTIONS, FUNCTION, "client.get("
    else:
        head, test, get = COROUTINES, COROUTINE, "await nonblocking_client.get("
    scenarios = ONE_REQUEST | (MORE if transport in OTHERS else {})
    scenarios |= BEHIND_A_SERVER if transport in SERVERS else {}
    for name, scenario in scenarios.items():
        body = textwrap.indent(scenario.body.replace("GET(", get), "    ")
        keywords = scenario._asdict() | {"name": name, "transport": transport, "body": body}
        head += test.format(**keywords)
    return head


@pytest.fixture(scope="module")
def measured(request, tmp_path_factory):
    """What the report says of each scenario over one transport, by its name and path."""
    transport = request.param
    if transport in SERVERS:
        pytest.importorskip(transport, reason=f"{transport} is not installed")
    folder = tmp_path_factory.mktemp(transport)
    files = {"webapp.py": APP, "pytest.ini": INI, "test_it.py": written(transport)}
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "--nonblocking-report=report.json"]
    command += ["-W", "default", "-p", "no:logging", "--tb=short", *LEFT_OUT.split()]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=240, check=False)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout.decode()
    tests = json.loads((folder / "report.json").read_text("utf-8"))["tests"]
    found = {}
    for test in tests:
        name, path = re.fullmatch(r"test_it\.py::test_(\w+)\[(.*)\]", test["nodeid"]).groups()
        found.setdefault(name, {})[path] = test
    return found


on_all = pytest.mark.parametrize("measured", ["asgi", *OTHERS], indirect=True)
on_others = pytest.mark.parametrize("measured", OTHERS, indirect=True)
on_servers = pytest.mark.parametrize("measured", SERVERS, indirect=True)


def only(tests):
    """Return what the report says of the one test."""
    (test,) = tests.values()
    return test


@on_all
def test_the_verdict_and_the_cause_are_the_same_on_every_transport(measured):
    tests = measured["one_request"]
    said = {path: (test["verdict"], test["cause"]) for path, test in tests.items()}
    # Beside busy neighbours a verdict may be kept back; a wrong one is never given.
    shown = {path: verdict for path, verdict in said.items() if verdict[0] != "inconclusive"}
    assert shown == {path: VERDICTS[path] for path in shown}
    assert len(shown) >= len(VERDICTS) / 2


@on_others
def test_the_window_is_the_time_in_which_requests_are_in_the_application(measured):
    for path in ("/trivial", "/awaits"):
        for level in measured["one_request"][path]["levels"]:
            spent = level["budget_ms"]
            own = {name: ms for name, ms in spent.items() if name != "other_cpu"}
            assert sum(own.values()) == pytest.approx(level["makespan_ms"], rel=0.02, abs=1)
            assert level["latency_ms"]["p50"] <= level["makespan_ms"] * 1.1 + 1
            # Clients of 2 to 3 ms each would be 100 ms and more.
            waits = 20 if path == "/awaits" else 0
            assert spent["idle"] <= waits + 5


@on_others
def test_requests_one_after_the_other_are_let_in_together_each_time(measured):
    test = only(measured["three_requests"])
    assert test["verdict"] in ("pass", "inconclusive")
    assert test["levels"][0]["makespan_ms"] >= 15
    assert test["levels"][-1]["budget_ms"]["idle"] <= 3 * 5 + 10


@on_servers
def test_the_application_does_not_see_which_copy_sends(measured):
    assert only(measured["unseen"])["verdict"] != "not-measured"


@on_others
def test_a_stream_arrives_whole(measured):
    test = only(measured["streams"])
    assert test["verdict"] != "not-measured"
    assert test["wall_s"] < 20


@on_others
def test_copies_that_send_nothing_keep_nobody_at_the_door(measured):
    test = only(measured["every_other_copy_sends"])
    assert test["verdict"] in ("pass", "inconclusive")
    assert test["wall_s"] < 10


@on_others
def test_an_answer_for_which_another_request_waits_is_let_out(measured):
    test = only(measured["meets"])
    assert test["verdict"] != "not-measured"
    assert test["wall_s"] < 20


@on_others
def test_what_fails_in_a_burst_leaves_nobody_at_the_door(measured):
    assert "fails_in_a_burst" not in measured  # an ordinary failure
    assert only(measured["handler_raises"])["verdict"] in ("pass", "inconclusive")


def test_a_test_on_trio_is_measured_behind_a_server(pytester):
    pytest.importorskip("trio", reason="trio is not installed")
    pytester.makepyfile(
        webapp=APP,
        test_it="""
        import pytest

        @pytest.fixture
        def anyio_backend():
            return "trio"

        @pytest.mark.anyio
        @pytest.mark.nonblocking(concurrency=8, transport="uvicorn", app="webapp:app")
        @pytest.mark.parametrize("path", ["/in-thread", "/lock"])
        async def test_it(nonblocking_client, path):
            await nonblocking_client.get(path)
        """,
    )
    pytester.makeini(INI)
    result = pytester.runpytest("-v")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*GET /lock makes requests wait for one another*"])
