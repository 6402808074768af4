"""A run that ends before its tests do: what was measured is shown, and so is what was not."""

import json
import signal
import sys
import time

import pytest

TWO = """
import os
import signal

import pytest

@pytest.mark.nonblocking(concurrency=4)
async def test_before(nonblocking_client):
    await nonblocking_client.get("/")

{more}

@pytest.mark.nonblocking(concurrency=4)
async def test_in_the_middle(nonblocking_client, virtual_user):
    await nonblocking_client.get("/")
    {ends}
"""
KILLED = """
def test_that_kills_its_worker():
    os._exit(3)
"""
BROKEN_HOOK = """

def pytest_runtest_logreport(report):
    if report.when == "teardown" and "test_in_the_middle" in report.nodeid:
        raise RuntimeError("an internal error")
"""
NOTE = "the run ended before this test finished (*); run it again"


def verdicts_in(project):
    """Return the verdicts in the report by the names of the tests."""
    document = json.loads((project.path / "report.json").read_text("utf-8"))
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    from pytest_nonblocking.reporting.json_report import schema

    jsonschema.validate(document, schema())
    return {test["nodeid"].partition("::")[2]: test["verdict"] for test in document["tests"]}


@pytest.fixture
def run(project):
    def run(*flags, ends="", more=""):
        project.makepyfile(test_it=TWO.format(ends=ends, more=more))
        return project.runpytest("--nonblocking-report=report.json", *flags, no_reraise_ctrlc=True)

    return run


def test_all_that_other_tests_measured_is_told_when_a_worker_dies(project, run):
    pytest.importorskip("xdist", reason="xdist is not installed")
    result = run("-n", "2", more=KILLED)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["nonblocking: 2 measured: 2 pass"])
    assert verdicts_in(project) == {"test_before": "pass", "test_in_the_middle": "pass"}


def test_a_test_is_not_measured_when_its_worker_dies_meanwhile(project, run):
    pytest.importorskip("xdist", reason="xdist is not installed")
    result = run("-n", "2", "-v", ends="virtual_user() == 3 and os._exit(3)")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [f"*note: {NOTE}", "nonblocking: 2 measured: 1 pass, 1 not-measured"]
    )
    assert verdicts_in(project) == {"test_before": "pass", "test_in_the_middle": "not-measured"}


@pytest.mark.parametrize("flags", [[], ["-n", "2"]], ids=["one-process", "xdist"])
@pytest.mark.parametrize(
    "ends", ['pytest.exit("enough")', "raise KeyboardInterrupt"], ids=["exit", "interrupt"]
)
def test_a_test_that_ends_the_run_is_not_measured(project, run, flags, ends):
    if flags:
        pytest.importorskip("xdist", reason="xdist is not installed")
    result = run(*flags, ends=f"if virtual_user() == 3: {ends}")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    shown = verdicts_in(project)
    assert shown["test_in_the_middle"] == "not-measured"
    assert shown.get("test_before") in (("pass", "not-measured") if flags else ("pass",))


def test_what_follows_the_first_failure_is_not_in_the_report(project, run):
    result = run("-x", more=KILLED.replace("os._exit(3)", "raise AssertionError"))
    result.assert_outcomes(passed=1, failed=1)
    assert verdicts_in(project) == {"test_before": "pass"}


def test_an_internal_error_leaves_the_report(project, run):
    with (project.path / "conftest.py").open("a") as conftest:
        conftest.write(BROKEN_HOOK)
    result = run()
    assert result.ret == pytest.ExitCode.INTERNAL_ERROR
    assert verdicts_in(project) == {"test_before": "pass", "test_in_the_middle": "pass"}


@pytest.mark.parametrize("mode", ["report", "off"])
def test_a_measurement_that_is_off_is_no_unfinished_one(project, run, mode):
    run(f"--nonblocking-mode={mode}", ends='if virtual_user() == 0: pytest.exit("enough")')
    shown = verdicts_in(project)
    assert ("test_in_the_middle" in shown) is (mode == "report")


def test_a_skip_and_an_ordinary_failure_are_no_unfinished_measurements(project, run):
    run(ends='pytest.skip("not today")')
    assert verdicts_in(project) == {"test_before": "pass"}
    run(ends="raise ValueError")
    assert verdicts_in(project) == {"test_before": "pass"}


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("kind", ["coroutine", "plain"])
def test_control_c_during_a_burst(project, kind):
    pytest.importorskip("pexpect", reason="pexpect is not installed")
    if kind == "plain":
        pytest.importorskip("starlette", reason="starlette is not installed")
    body = {
        "coroutine": """
@pytest.mark.nonblocking(concurrency=4)
async def test_it(virtual_user):
    await asyncio.sleep(0.1)
    if virtual_user() == 3:
        began.touch()
        await asyncio.sleep(20)
""",
        "plain": """
async def app(scope, receive, send):
    from starlette.responses import PlainTextResponse
    await asyncio.sleep(0.1)
    if began_now:
        began.touch()
        await asyncio.sleep(20)
    await PlainTextResponse("x")(scope, receive, send)

began_now = []

@pytest.fixture
def client():
    from starlette.testclient import TestClient
    async def with_lifespan(scope, receive, send):
        if scope["type"] != "lifespan":
            return await app(scope, receive, send)
        for answer in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{answer}.complete"})
    with TestClient(with_lifespan) as client:
        yield client

@pytest.mark.nonblocking(concurrency=4)
def test_it(client, virtual_user):
    if virtual_user() == 3:
        began_now.append(1)
    client.get("/")
""",
    }[kind]
    project.makepyfile("import asyncio, pathlib, pytest\nbegan = pathlib.Path('began')\n" + body)
    child = project.spawn_pytest("-v --nonblocking-report=report.json", expect_timeout=30)
    for _ in range(200):
        if (project.path / "began").exists():
            break
        time.sleep(0.05)
    child.kill(signal.SIGINT)
    said = child.read().decode()
    child.wait()
    assert child.exitstatus == pytest.ExitCode.INTERRUPTED
    assert "KeyboardInterrupt" in said
    assert "Traceback" not in said
    assert "nonblocking: 1 measured: 1 not-measured" in said
    assert verdicts_in(project) == {"test_it": "not-measured"}
