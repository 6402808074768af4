"""Tests that pytest-rerunfailures runs again: what is reported is what the last run showed."""

import json
import re

import pytest

pytest.importorskip("pytest_rerunfailures", reason="pytest-rerunfailures is not installed")

TESTS = """
import time
import pytest

@pytest.fixture
def first(request):
    return request.node.execution_count == 1

@pytest.mark.nonblocking(concurrency=4)
async def test_always_blocks(nonblocking_client):
    await nonblocking_client.get("/blocking")

@pytest.mark.nonblocking(concurrency=4)
async def test_blocks_once(nonblocking_client, first):
    await nonblocking_client.get("/blocking" if first else "/")

@pytest.mark.nonblocking(concurrency=4)
async def test_fails_once(nonblocking_client, first):
    await nonblocking_client.get("/")
    assert not first
"""
RERUN = ("-p", "rerunfailures", "--reruns=1")
VERDICTS = {"test_always_blocks": "fail", "test_blocks_once": "pass", "test_fails_once": "pass"}


def reported(project):
    tests = json.loads((project.path / "out.json").read_text("utf-8"))["tests"]
    assert len(tests) == len({test["nodeid"] for test in tests})
    return {test["nodeid"].partition("::")[2]: test["verdict"] for test in tests}


@pytest.mark.parametrize("flags", [[], ["-n1"]], ids=["alone", "xdist"])
def test_each_test_is_reported_once_with_its_last_verdict(project, flags):
    if flags:
        pytest.importorskip("xdist", reason="pytest-xdist is not installed")
    project.makepyfile(TESTS)
    result = project.runpytest(
        *flags, *RERUN, "--nonblocking-report=out.json", "--junitxml=junit.xml"
    )
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["nonblocking: 3 measured: 2 pass, 1 fail", "*3 rerun*"])
    assert reported(project) == VERDICTS
    # Each run is a test case of its own there: none may carry the verdict of another one.
    cases = re.findall(
        r"<testcase .*?(?:/>|</testcase>)",
        (project.path / "junit.xml").read_text("utf-8"),
        re.DOTALL,
    )
    verdicts = [re.findall(r'nonblocking_verdict" value="([^"]*)"', case) for case in cases]
    assert sorted(verdicts) == [[], ["fail"], ["fail"], ["fail"], ["pass"], ["pass"]]


@pytest.mark.parametrize("ends", ["body", "setup"])
def test_a_verdict_is_not_reported_where_the_last_run_came_to_none(project, ends):
    project.makepyfile(
        f"""
        import pytest

        @pytest.fixture
        def first(request):
            first = request.node.execution_count == 1
            assert first or {ends!r} == "body"
            return first

        @pytest.mark.nonblocking(concurrency=4)
        async def test_it(nonblocking_client, first):
            assert first
            await nonblocking_client.get("/blocking")
        """
    )
    result = project.runpytest(*RERUN, "--nonblocking-report=out.json")
    result.assert_outcomes(**{"failed" if ends == "body" else "errors": 1})
    result.stdout.fnmatch_lines(["*1 rerun*"])
    result.stdout.no_fnmatch_line("nonblocking: [0-9] measured: *")
    assert reported(project) == {}


def test_the_application_starts_and_stops_with_every_run(pytester):
    pytester.makepyfile(
        """
        import contextlib, pytest
        from fastapi import FastAPI
        events = []

        @contextlib.asynccontextmanager
        async def lifespan(app):
            events.append("up")
            yield
            events.append("down")

        @pytest.fixture
        def nonblocking_app():
            return FastAPI(lifespan=lifespan)

        @pytest.mark.nonblocking(concurrency=4)
        async def test_it(request, nonblocking_client):
            await nonblocking_client.get("/")
            assert request.node.execution_count == 2

        def test_events():
            assert events == ["up", "down"] * 2
        """
    )
    result = pytester.runpytest(*RERUN)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*1 rerun*"])
