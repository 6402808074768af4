"""A process that may open few files: the app keeps nearly all of them."""

import pytest

pytest.importorskip("resource", reason="needs POSIX limits of open files")

APP = """
import asyncio, threading, time

def work():
    for _ in range(4):
        sum(range(40_000))
        time.sleep(0.002)

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("no lifespan here")
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    held = []
    try:
        try:
            while len(held) < MOST:
                held.append(open("/dev/null"))
        except OSError:
            if MOST < 128:
                raise
        await asyncio.sleep(0.02)
        while any(thread.is_alive() for thread in threads):
            await asyncio.sleep(0.01)
    finally:
        for file in held:
            file.close()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
"""
TESTS = """
import os, resource, pytest
from webapp import app

LIMIT = 128

@pytest.fixture
def nonblocking_app():
    return app

@pytest.fixture
def few():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)

@pytest.mark.nonblocking(concurrency=32)
async def test_it(few, nonblocking_client):
    assert (await nonblocking_client.get("/")).status_code == 200
"""


def run(pytester, most):
    """Run an app whose handlers hold up to ``most`` files each."""
    pytester.makepyfile(webapp=f"MOST = {most}\n" + APP, test_it=TESTS)
    result = pytester.runpytest_subprocess(
        "--nonblocking-mode=report", "-v", "-W", "always", timeout=120
    )
    result.assert_outcomes(passed=1, warnings=result.parseoutcomes().get("warnings", 0))
    return result.stdout


def test_an_app_with_many_threads_has_files_left_to_open(pytester):
    run(pytester, 2).no_fnmatch_line("*not-measured*")


KEEPS_ALL = """
import asyncio, builtins, resource, pytest

def refuse(*args, **kwargs):
    raise OSError("no file is opened here")

{marker}
@pytest.mark.asyncio
async def test_it():
    builtins.open = refuse
    resource.setrlimit(resource.RLIMIT_NOFILE, (5, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    await asyncio.sleep(0.01)
"""


@pytest.mark.parametrize(
    ("marker", "flag"),
    [
        ("@pytest.mark.nonblocking(concurrency=2)", "--nonblocking-mode=report"),
        ("@pytest.mark.nonblocking", "--nonblocking-mode=off"),
        ("", "--nonblocking-watch"),
    ],
)
def test_a_test_that_lets_no_file_be_opened_any_more_ends_with_a_summary(pytester, marker, flag):
    pytester.makepyfile(KEEPS_ALL.format(marker=marker))
    result = pytester.runpytest_subprocess(flag, "-p", "no:cacheprovider", timeout=60)
    assert result.parseoutcomes()["passed"] == 1
    result.stdout.fnmatch_lines(["nonblocking: 1 *"])
    result.stderr.no_fnmatch_line("*Traceback*")


def test_without_a_descriptor_left_there_is_no_verdict_from_missing_data(pytester):
    run(pytester, 128).fnmatch_lines(
        ["*is not-measured: no file descriptor was left for the measurement (limit 128); raise*"]
    )
