"""What a process holds besides is no matter of the test: threads, children, its heap."""

import json
import os
import sys

import jsonschema
import pytest

from pytest_nonblocking.reporting import json_report

AWAITS = """
import asyncio, pytest

@pytest.mark.nonblocking
async def test_awaits({fixture}):
    await asyncio.sleep(0.02)
"""


@pytest.fixture
def report(pytester):
    """Run a test beside what a fixture of the user's makes, and return its record."""

    def run(fixture, source):
        pytester.makeconftest(source)
        pytester.makepyfile(AWAITS.format(fixture=fixture))
        result = pytester.runpytest_subprocess("--nonblocking-report=out.json")
        result.assert_outcomes(passed=1)
        return json.loads((pytester.path / "out.json").read_text("utf-8"))["tests"][0]

    return run


IDLE_THREADS = """
import threading, pytest

@pytest.fixture(scope="session")
def idle_threads():
    leave = threading.Event()
    threads = [threading.Thread(target=leave.wait) for _ in range(400)]
    for thread in threads:
        thread.start()
    yield
    leave.set()
    for thread in threads:
        thread.join()
"""

IDLE_CHILDREN = """
import subprocess, sys, pytest

@pytest.fixture(scope="session")
def idle_children():
    children = [subprocess.Popen(["sleep", "120"]) for _ in range(100)]
    yield
    for child in children:
        child.terminate()
    for child in children:
        child.wait()
"""


@pytest.mark.parametrize(
    ("fixture", "source"),
    [
        ("idle_threads", IDLE_THREADS),
        pytest.param(
            "idle_children",
            IDLE_CHILDREN,
            marks=pytest.mark.skipif(os.name != "posix", reason="there is no sleep to run"),
        ),
    ],
)
def test_idle_threads_and_children_cost_the_test_nothing(report, fixture, source):
    test = report(fixture, source)
    assert (test["verdict"], test["max_lag_ms"]) == ("pass", 0)
    for level in test["levels"]:
        own = level["budget_ms"]["own"]
        assert own < level["makespan_ms"] / 2, level


# The heap

HEAP = """
import gc, pytest

def pytest_runtest_logfinish(nodeid):
    shown(nodeid.partition("::")[2])

def pytest_unconfigure():
    shown("end")

def shown(when):
    with open("frozen.txt", "a") as file:
        print(when, gc.get_freeze_count(), file=file)
"""


@pytest.fixture
def frozen(pytester):
    """Run tests and return how many objects were frozen after each of them."""

    def run(source, conftest=HEAP):
        pytester.makeconftest(conftest)
        pytester.makepyfile(source)
        result = pytester.runpytest_subprocess("-p", "no:faulthandler")
        lines = (pytester.path / "frozen.txt").read_text().splitlines()
        return result, {name: int(count) for name, count in map(str.split, lines)}

    return run


ENDS = """
import asyncio, gc, pytest, time

pytestmark = pytest.mark.nonblocking(concurrency=8)
runs = []

async def test_pass():
    await asyncio.sleep(0.005)
    runs.append(gc.get_freeze_count())

async def test_fail():
    time.sleep(0.05)

async def test_body_error(virtual_user):
    await asyncio.sleep(0.005)
    assert virtual_user() < 3

@pytest.mark.nonblocking(timeout="100ms", concurrency=8)
async def test_timeout():
    runs.append(1)
    if len(runs) > 12:
        await asyncio.Event().wait()

@pytest.mark.nonblocking(mode="off")
async def test_saw_a_frozen_heap():
    # Not in the warm-up, and in all runs after it.
    assert runs[0] == 0
    assert all(runs[1:])
"""


def test_the_heap_is_free_again_after_every_ending(frozen):
    result, counts = frozen(ENDS)
    result.assert_outcomes(passed=2, failed=3)
    result.stdout.fnmatch_lines(["*blocks the event loop*", "*virtual_user*"])
    assert set(counts.values()) == {0}
    assert len(counts) == 6


INTERRUPTED = """
import asyncio, pytest

runs = []

@pytest.mark.nonblocking(concurrency=8)
async def test_interrupted():
    runs.append(1)
    await asyncio.sleep(0.005)
    if len(runs) > {after}:
        raise KeyboardInterrupt
"""


@pytest.mark.parametrize("after", [0, 2, 6], ids=["warm-up", "alone", "burst"])
def test_the_heap_is_free_again_after_an_interruption(frozen, after):
    result, counts = frozen(INTERRUPTED.format(after=after))
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert counts["end"] == 0


APP_FROZE = """
import asyncio, gc, pytest

gc.collect()
gc.freeze()

@pytest.mark.nonblocking(concurrency=8)
async def test_it():
    await asyncio.sleep(0.005)
"""


def test_a_heap_that_the_application_froze_stays_frozen(frozen):
    result, counts = frozen(APP_FROZE)
    result.assert_outcomes(passed=1)
    # What has been freed meanwhile is not frozen any more.
    assert counts["test_it"] > 1000
    assert counts["end"] > 1000


# Descriptors

OPEN_FILES = """
import os

def pytest_runtest_logfinish(nodeid):
    with open("open.txt", "a") as file:
        print(len(os.listdir("/dev/fd")), file=file)
"""

MANY = """
import asyncio, threading, pytest

@pytest.mark.nonblocking(concurrency=8)
@pytest.mark.parametrize("number", range(12))
async def test_it(number):
    # New threads each time: the watching thread opens files of theirs.
    await asyncio.to_thread(sum, range(200_000))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no folder of open files")
def test_a_dozen_measurements_leave_no_file_open(pytester):
    pytester.makeconftest(OPEN_FILES)
    pytester.makepyfile(MANY)
    pytester.runpytest_subprocess("--nonblocking-mode=report").assert_outcomes(passed=12)
    counts = list(map(int, (pytester.path / "open.txt").read_text().split()))
    assert len(counts) == 12
    assert counts[-1] == counts[1], counts


# The report of all of it

KINDS = """
import asyncio, time, pytest

@pytest.mark.nonblocking(concurrency=8)
async def test_pass():
    await asyncio.sleep(0.005)

@pytest.mark.nonblocking(concurrency=8)
async def test_fail():
    end = time.thread_time() + 0.040
    while time.thread_time() < end:
        pass
    time.sleep(0.010)

@pytest.mark.nonblocking(concurrency=8, timeout="200ms")
async def test_timeout(virtual_user):
    await (asyncio.Event().wait() if virtual_user() else asyncio.sleep(0.005))

@pytest.mark.nonblocking(concurrency=8, allow="serialised-wait")
async def test_allowed(lock=asyncio.Lock()):
    async with lock:
        await asyncio.sleep(0.005)

@pytest.mark.nonblocking(concurrency=8)
def test_plain_function():
    time.sleep(0.005)

@pytest.mark.nonblocking(concurrency=8)
async def test_body_error():
    assert False
"""


@pytest.mark.parametrize("watch", [(), ("--nonblocking-watch",)], ids=["marked", "watched"])
def test_the_report_of_any_ending_is_as_the_schema_says(pytester, watch):
    pytester.makepyfile(KINDS)
    pytester.runpytest("--nonblocking-report=out.json", *watch)
    written = json.loads((pytester.path / "out.json").read_text("utf-8"))
    jsonschema.validate(written, json_report.schema())
    tests = {test["nodeid"].partition("::")[2]: test for test in written["tests"]}
    failed = tests["test_fail"]
    causes = [cause["cause"] for cause in failed["causes"]]
    assert {"cpu-on-loop", "blocking-call"} <= set(causes)
    assert failed["cause"] == causes[0]
    assert sum(cause["share"] for cause in failed["causes"]) == pytest.approx(1, abs=0.03)
    judged = failed["judged"]
    assert judged["limit"] < judged["low"] <= judged["fraction"] <= judged["high"]
    assert tests["test_pass"]["causes"] == []
    for level in tests["test_pass"]["levels"]:
        parts = dict(level["budget_ms"])
        del parts["other_cpu"]
        assert sum(parts.values()) + level["residual_ms"] == pytest.approx(
            level["makespan_ms"], abs=0.01
        )
