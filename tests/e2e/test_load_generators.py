"""A script that the command exports is run by Locust against a real server."""

import ast
import json
import os
import shlex
import subprocess
import sys
from importlib.util import find_spec

import pytest

if find_spec("locust") is None:  # an import would patch the sockets of this process
    pytest.skip("locust is not installed", allow_module_level=True)
pytest.importorskip("uvicorn", reason="uvicorn is not installed")

APP = """
import json
from pathlib import Path

SEEN = Path(__file__).with_name("seen.jsonl")


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    body = (await receive()).get("body", b"").decode()
    names = {name.decode(): value.decode() for name, value in scope["headers"]}
    line = [scope["method"], scope["path"], scope["query_string"].decode(), body]
    line.append(names.get("authorization"))
    with SEEN.open("a") as seen:
        print(json.dumps(line), file=seen)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
"""
TEST = """
import pytest
from webapp import app

@pytest.fixture
def nonblocking_app():
    return app

@pytest.mark.nonblocking(concurrency=3)
async def test_order(nonblocking_client):
    await nonblocking_client.get("/items?q=tea", headers={"Authorization": "Bearer SECRET"})
    await nonblocking_client.post("/orders", json={"item": "\\u8336"})

@pytest.mark.nonblocking(concurrency=2)
async def test_stock(nonblocking_client):
    await nonblocking_client.get("/stock")
"""
ORDERS = {
    ("GET", "/items", "q=tea", "", "Bearer 1"),
    ("POST", "/orders", "", '{"item":"\u8336"}', None),
}
STOCK = {("GET", "/stock", "", "", None)}


@pytest.fixture
def server(pytester):
    """The address of the app behind uvicorn, in a process of its own."""
    command = [sys.executable, "-u", "-m", "uvicorn", "webapp:app", "--port=0", "--lifespan=off"]
    process = subprocess.Popen(
        command, cwd=pytester.path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    try:
        line = next(line for line in process.stderr if "running on" in line)
        yield line.partition("running on ")[2].split()[0]
    finally:
        process.terminate()
        process.wait(10)
        process.stderr.close()


def printed_commands(script):
    """Return the commands that the script's docstring gives."""
    lines = ast.get_docstring(ast.parse(script.read_text("utf-8"))).splitlines()
    return [shlex.split(line) for line in lines if line.startswith("    locust ")]


@pytest.mark.parametrize(
    ("number", "users", "requests"),
    [(0, {"TestOrder": 3}, ORDERS), (1, {"TestOrder": 3, "TestStock": 2}, ORDERS | STOCK)],
    ids=["one class", "all classes"],
)
def test_the_printed_command_sends_the_requests_from_as_many_users_as_the_tests_had(
    pytester, request, number, users, requests
):
    pytester.makepyfile(webapp=APP, test_it=TEST)
    pytester.makeini("[pytest]\npythonpath = .\n")
    result = pytester.runpytest_subprocess("--nonblocking-report=report.json", "-p", "no:randomly")
    result.assert_outcomes(passed=2)
    export = [sys.executable, "-m", "pytest_nonblocking", "export", "report.json", "--locust"]
    subprocess.run(export, cwd=pytester.path, check=True, stdout=subprocess.DEVNULL)

    seen = pytester.path / "seen.jsonl"
    seen.unlink()
    address = request.getfixturevalue("server")
    command = printed_commands(pytester.path / "locustfile.py")[number]
    here = {"30s": "2s", "http://127.0.0.1:8000": address}
    done = subprocess.run(
        [sys.executable, "-m", *(here.get(word, word) for word in command), "--only-summary"],
        cwd=pytester.path,
        env={**os.environ, "AUTHORIZATION": "Bearer 1"},
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    spawned = done.stderr.partition("All users spawned: ")[2]
    assert json.JSONDecoder().raw_decode(spawned)[0] == users, done.stderr
    assert {tuple(json.loads(line)) for line in seen.read_text().splitlines()} == requests
