"""Tests that are plain functions and use Starlette's TestClient."""

import sys

import pytest
from inner_runs import IMPATIENT

APP = """
import asyncio, time
from fastapi import FastAPI

app = FastAPI()
lock = asyncio.Lock()


def compute(seconds):
    # Work and no time: a machine that is twice as slow takes twice as long.
    for _ in range(int(seconds * 60_000)):
        sum(range(1000))


@app.get("/healthy")
async def healthy():
    await asyncio.sleep(0.05)


@app.get("/in-thread")
def in_thread():
    time.sleep(0.05)


@app.get("/blocking")
async def blocking():
    time.sleep(0.05)


@app.get("/computing")
async def computing():
    compute(0.05)


@app.get("/locked")
async def locked():
    async with lock:
        await asyncio.sleep(0.02)


@app.get("/in-threads")
def python_in_threads():
    compute(0.03)


@app.get("/computing-for-long")
async def computing_for_long():
    compute(0.2)
"""

# Starlette warns whoever uses its client on httpx, which is not what is tested here.
INI = """
[pytest]
pythonpath = .
asyncio_default_fixture_loop_scope = function
filterwarnings =
    error
    ignore:Using `httpx` with
"""

SHARED = """
import pytest
from starlette.testclient import TestClient
from webapp import app

@pytest.fixture
def client():
    with TestClient(app) as client:
        yield client

@pytest.mark.nonblocking(concurrency=20)
@pytest.mark.parametrize("path", {paths})
def test_it(client, path):
    assert client.get(path).status_code == 200
"""

ALONE = """
import pytest
from starlette.testclient import TestClient
from webapp import app

@pytest.mark.nonblocking(concurrency=20)
@pytest.mark.parametrize("path", {paths})
def test_it(path):
    assert TestClient(app).get(path).status_code == 200
"""


@pytest.fixture
def webapp(pytester):
    pytester.makepyfile(webapp=APP)
    pytester.makeini(INI)
    return pytester


def test_requests_that_share_a_loop_are_judged_like_any_other(webapp):
    webapp.makepyfile(
        SHARED.format(
            paths=["/healthy", "/in-thread", "/blocking", "/computing", "/locked", "/in-threads"]
        )
    )
    result = webapp.runpytest("-v")
    result.assert_outcomes(passed=2, failed=4)
    result.stdout.fnmatch_lines(
        [
            "*cause*blocking-call: *",
            "*where*webapp.py:26 in blocking",
            "*cause*cpu-on-loop: *",
            "*where*webapp.py:1? in compute",
            "*cause*serialised-wait: *",
            "*where*webapp.py:36 in locked",
            "*cause*gil-contention: *",
            "*where*webapp.py:1? in compute",
        ]
    )


def test_requests_with_a_loop_each_are_judged_for_lag_and_never_passed(webapp):
    webapp.makepyfile(ALONE.format(paths=["/healthy", "/blocking", "/computing", "/locked"]))
    result = webapp.runpytest("-v", "-W", "default")
    result.assert_outcomes(passed=2, failed=2, warnings=2)
    result.stdout.fnmatch_lines(
        [
            "*cause*blocking-call: *limit max_blocked=5 ms (default)*",
            "*where*webapp.py:26 in blocking",
            "*cause*cpu-on-loop: *limit max_lag=* ms (default)*",
            "*where*webapp.py:1? in compute",
            "*not-measured*healthy*",
            "*scaling was not; share one loop with `with TestClient(app) as client:`*",
        ]
    )


RUNS = {
    "run": "asyncio.run(blocking())",
    "runner": "with asyncio.Runner() as runner: runner.run(blocking())",
    "loop": "loop = asyncio.new_event_loop(); loop.run_until_complete(blocking()); loop.close()",
}


@pytest.mark.parametrize("body", RUNS.values(), ids=RUNS)
def test_a_block_in_the_first_callback_of_a_loop_fails(webapp, body):
    if "Runner" in body and sys.version_info < (3, 11):
        pytest.skip("asyncio.Runner is new in Python 3.11")
    webapp.makepyfile(
        f"""
        import asyncio, time, pytest

        async def blocking():
            time.sleep(0.05)

        @pytest.mark.nonblocking
        def test_it():
            {body}
        """
    )
    result = webapp.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*blocking-call: * ms off the CPU in one callback*", "*time.sleep(0.05)*"]
    )


def test_a_plain_function_without_any_loop_is_not_measured(webapp):
    webapp.makepyfile(
        """
        import pytest

        @pytest.mark.nonblocking
        def test_it():
            pass
        """
    )
    result = webapp.runpytest("-v", "-W", "default")
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["*no event loop of asyncio's own ran*"])


def test_an_ordinary_failure_stays_one_and_names_the_copy_where_only_a_burst_fails(webapp):
    webapp.makepyfile(
        """
        import pytest
        from starlette.testclient import TestClient
        from webapp import app

        @pytest.fixture
        def client():
            with TestClient(app) as client:
                yield client

        @pytest.mark.nonblocking(concurrency=8)
        def test_alone(client):
            assert client.get("/healthy").status_code == 201

        @pytest.mark.nonblocking(concurrency=8)
        def test_in_a_burst(client, virtual_user):
            assert client.get("/healthy").status_code == 200
            assert virtual_user() < 5

        @pytest.mark.nonblocking(concurrency=8)
        def test_skipped(client):
            pytest.skip("not today")
        """
    )
    result = webapp.runpytest("-v", "-rs")
    result.assert_outcomes(failed=2, skipped=1)
    result.stdout.fnmatch_lines(
        [
            "*assert 200 == 201*",
            "*assert * < 5*",
            "*passed alone, but failed as copy * of 8 concurrent copies*",
            "SKIPPED*not today",
        ]
    )


def test_a_handler_that_never_ends_is_a_time_out_and_not_a_hang(webapp):
    webapp.makeconftest(IMPATIENT)
    webapp.makepyfile(
        """
        import threading, pytest
        from fastapi import FastAPI
        from starlette.testclient import TestClient

        app = FastAPI()
        released = threading.Event()
        requests = []

        @app.get("/")
        async def stuck():
            requests.append(1)
            if len(requests) > 1:
                released.wait()

        @pytest.fixture
        def client():
            with TestClient(app) as client:
                yield client
                released.set()

        @pytest.mark.nonblocking(timeout=0.5)
        def test_it(client):
            client.get("/")
        """
    )
    result = webapp.runpytest_subprocess(timeout=60)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*does not finish*", "*cause*blocking-call*", "*in stuck"])


HANGS = {
    "event": ("threading.Event().wait()", "*test_it.py:* in test_it", "*threading.Event().wait()*"),
    "queue": ("take(queue.Queue())", "*test_it.py:9 in take", "*queue.get()*"),
    "computing": ("while True: pass", "*test_it.py:* in test_it", "*while True: pass*"),
    "loop": ("asyncio.run(waits())", "*test_it.py:12 in waits", "*asyncio.Event().wait()*"),
    "start-up": (
        "TestClient(never_starts).__enter__()",
        "*test_it.py:* in test_it",
        "*never_starts*",
    ),
}


@pytest.mark.faults(every=2)
@pytest.mark.parametrize(
    ("kind", "when"),
    [
        ("event", "alone"),
        ("queue", "later"),
        ("loop", "alone"),
        ("computing", "later"),
        ("start-up", "alone"),
        ("start-up", "later"),
    ],
)
def test_a_body_that_hangs_shows_its_line(webapp, kind, when):
    body, where, code = HANGS[kind]
    webapp.makepyfile(
        test_it=f"""
        import asyncio, queue, threading
        import pytest
        from starlette.testclient import TestClient
        from webapp import app

        calls = []

        def take(queue):
            queue.get()

        async def waits():
            await asyncio.Event().wait()

        async def never_starts(scope, receive, send):
            await asyncio.Event().wait()

        @pytest.fixture
        def client():
            with TestClient(app) as client:
                yield client

        @pytest.mark.nonblocking(concurrency=4, timeout=1)
        def test_it(client):
            client.get("/healthy")
            calls.append(1)
            if {"True" if when == "alone" else "len(calls) > 2"}:
                {body}

        def test_after(client):
            names = [thread.name for thread in threading.enumerate()]
            assert not any("nonblocking-timeout" in name for name in names)
        """
    )
    # A start-up that never ends leaves its streams open: Starlette's TestClient with anyio 4.5.
    open_streams = "ignore:Unclosed <MemoryObject:ResourceWarning"
    result = webapp.runpytest_subprocess("--tb=short", "-W", open_streams, timeout=60)
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "nonblocking: * does not finish*",
            "  0 of 1 copy finished*",
            f"*where {where}",
            code,
            "*copy waits there*",
        ]
    )


def test_no_thread_and_no_patch_is_left_behind(webapp):
    webapp.makepyfile(
        ALONE.format(paths=["/healthy", "/blocking"])
        + """
def test_nothing_is_left():
    import threading
    from asyncio import events
    assert "pytest_nonblocking" not in events.Handle._run.__module__
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith("pytest-nonblocking")]
"""
    )
    webapp.runpytest("-W", "default").assert_outcomes(passed=2, failed=1, warnings=1)


def test_a_moment_of_slowness_does_not_excuse_a_callback(webapp, monkeypatch):
    # A neighbour on the same core slows down one of the four measurements of the machine's speed.
    speeds = iter([20.0, 1.0, 1.0, 1.0])
    monkeypatch.setattr("pytest_nonblocking.load.sync_tests.slowdown", lambda: next(speeds, 1.0))
    webapp.makepyfile(ALONE.format(paths=["/computing-for-long"]))
    result = webapp.runpytest("-W", "default")
    result.assert_outcomes(failed=1, warnings=0)
    result.stdout.fnmatch_lines(["*cause*cpu-on-loop: *limit max_lag=20 ms (default)"])


def test_a_call_through_a_portal_that_is_no_request_stays_as_it_is(webapp):
    webapp.makepyfile(
        """
        import pytest
        from starlette.testclient import TestClient
        from webapp import app

        def booked(order, stock, user):
            return order["type"], stock, user

        async def shipped(order, stock, user):
            return booked(order, stock, user)

        @pytest.mark.nonblocking(mode="report")
        @pytest.mark.parametrize("call", [booked, shipped])
        def test_it(call):
            with TestClient(app) as client:
                for kind in "order", "http":
                    assert client.portal.call(call, {"type": kind}, 1, "me") == (kind, 1, "me")
        """
    )
    webapp.runpytest("-W", "ignore").assert_outcomes(passed=2)


def test_a_fault_while_a_late_request_is_described_does_not_keep_it_from_ending(webapp):
    webapp.makepyfile(
        """
        import asyncio, pytest
        from starlette.testclient import TestClient
        from pytest_nonblocking.load.sync_clients import TestClients
        from webapp import app

        @app.get("/hanging")
        async def hanging():
            await asyncio.Event().wait()

        @pytest.fixture
        def broken(monkeypatch):
            def fault(*args):
                raise ZeroDivisionError("a fault of ours")
            monkeypatch.setattr(TestClients, "late_run", fault)

        @pytest.mark.nonblocking(timeout="0.3s")
        def test_it(broken):
            with TestClient(app) as client:
                client.get("/hanging")
        """
    )
    result = webapp.runpytest_subprocess(timeout=30)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["nonblocking: test_it does not finish, even alone"])


def test_copies_for_which_there_is_no_thread_fail_no_test(webapp):
    webapp.makeconftest(
        """
        import pytest
        from pytest_nonblocking.load import sync_tests

        @pytest.fixture(autouse=True)
        def few_threads(monkeypatch):
            left = iter(range(10))

            class Few(sync_tests.Thread):
                def start(self):
                    if next(left, None) is None:
                        raise RuntimeError("can't start new thread")
                    super().start()

            monkeypatch.setattr(sync_tests, "Thread", Few)
        """
    )
    webapp.makepyfile(SHARED.format(paths=["/healthy"]))
    result = webapp.runpytest("-v", "-W", "ignore")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*no thread could be started*"])
