"""What a handler leaves in the loop of a ``TestClient``: the next test is measured on its own."""

import signal
import subprocess
import sys
import time

import pytest
from inner_runs import IMPATIENT, LEFT_OUT

pytestmark = pytest.mark.faults(every=3)

APP = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for phase in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{phase}.complete"})
        return
"""
TESTS = """
import threading, time
import anyio, pytest
from starlette.testclient import TestClient

requests = []

async def never():
    await anyio.sleep(3600)

async def ignores():
    while True:
        try:
            await never()
        except BaseException:
            pass

async def shields():
    with anyio.CancelScope(shield=True):
        await never()

async def has_children():
    async with anyio.create_task_group() as group:
        group.start_soon(ignores)
        group.start_soon(shields)

async def waits_in_c():
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()

{app}    if scope["path"] == "/faulty":
        requests.append(1)
        if len(requests) > {healthy}:
            await {fault}()
    await anyio.sleep(0.001)
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body", "body": b""}})

@pytest.fixture
def client():
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client

@pytest.mark.nonblocking(concurrency=4, timeout=1)
def test_faulty(client):
    client.get("/faulty")

@pytest.mark.nonblocking(concurrency=4)
def test_next(client):
    client.get("/")
"""
FLAGS = (*LEFT_OUT.split(), "--nonblocking-inconclusive=warn")


@pytest.mark.parametrize("healthy", [0, 6], ids=["first-run", "burst"])
@pytest.mark.parametrize("fault", ["never", "ignores", "shields", "has_children"])
def test_what_ignores_its_cancellation_in_a_client_is_suspended(pytester, fault, healthy):
    pytester.makeconftest(IMPATIENT)
    pytester.makepyfile(TESTS.format(app=APP, fault=fault, healthy=healthy))
    result = pytester.runpytest_subprocess(*FLAGS, timeout=60)
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["nonblocking: GET /faulty does not finish*"])
    result.stdout.no_fnmatch_line("*not-measured*")


@pytest.mark.parametrize("healthy", [0, 6], ids=["first-run", "burst"])
@pytest.mark.parametrize("traced", [False, True])
def test_a_loop_that_waits_in_c_for_ever_neither_stops_nor_disturbs_the_next(
    pytester, traced, healthy
):
    # On CPython 3.11 each traced or profiled call spins while such a thread has an exception to
    # raise; the guard has a profile.
    tracer = (
        "import sys, threading\nsys.settrace(lambda *_: None)\nthreading.settrace(sys.gettrace())"
    )
    pytester.makeconftest(IMPATIENT + (tracer if traced else ""))
    pytester.makepyfile(TESTS.format(app=APP, fault="waits_in_c", healthy=healthy))
    result = pytester.runpytest_subprocess(*FLAGS, "-W", "ignore::ResourceWarning", timeout=90)
    result.assert_outcomes(failed=1, errors=1, passed=1)
    result.stdout.fnmatch_lines(["nonblocking: GET /faulty does not finish*"])
    result.stdout.no_fnmatch_line("*internal error*")


PRESSED = """
import asyncio, pathlib, pytest, time

async def computes():
    while True:
        pass

async def ignores():
    while True:
        try:
            await asyncio.sleep(100)
        except BaseException:
            pass

async def sleeps():
    time.sleep(3)

{app}    pathlib.Path("reached").touch()
    await {fault}()

@pytest.fixture
def nonblocking_app():
    return app

@pytest.fixture
def client():
    from starlette.testclient import TestClient
    with TestClient(app) as client:
        yield client

@pytest.mark.nonblocking(concurrency=4, timeout=600)
{test}

def test_next():
    pathlib.Path("next").touch()
"""
SENT = {
    "client": 'def test_it(client):\n    client.get("/")',
    "own client": """
def test_it():
    from starlette.testclient import TestClient
    with TestClient(app) as client:
        client.get("/")
""",
    "server": 'async def test_it(nonblocking_client):\n    await nonblocking_client.get("/")',
}


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("presses", [1, 4])
@pytest.mark.parametrize("fault", ["computes", "ignores", "sleeps"])
@pytest.mark.parametrize("sent", SENT)
def test_control_c_does_not_wait_for_a_loop_of_another_thread(pytester, sent, fault, presses):
    pytest.importorskip("uvicorn", reason="uvicorn is not installed")
    pytester.makepyfile(test_it=PRESSED.format(app=APP, fault=fault, test=SENT[sent]))
    run = pytester.popen(
        [sys.executable, "-m", "pytest", "--nonblocking-transport=uvicorn", *FLAGS],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    reached, end = pytester.path / "reached", time.monotonic() + 60
    while not reached.exists() and time.monotonic() < end:
        time.sleep(0.05)
    for _ in range(presses):
        run.send_signal(signal.SIGINT)
        time.sleep(0.05)
    try:
        said, _ = run.communicate(timeout=30)
    finally:
        run.kill()
    assert run.returncode == pytest.ExitCode.INTERRUPTED, said.decode()
    assert not (pytester.path / "next").exists()
