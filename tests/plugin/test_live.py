"""``transport``: the app behind a real server, in a thread of its own."""

import pytest
from inner_runs import IMPATIENT

pytest.importorskip("uvicorn", reason="uvicorn is not installed: there is no server to start")

LIFESPAN = """
import asyncio, contextlib, threading, time
from fastapi import FastAPI, Request

events = []


@contextlib.asynccontextmanager
async def lifespan(app):
    events.append(threading.current_thread().name)
    if "broken" in events:
        raise RuntimeError("no database")
    yield {"loop": asyncio.get_running_loop()}
    events.append("down")


app = FastAPI(lifespan=lifespan)


@app.get("/")
async def root(request: Request):
    await asyncio.sleep(0.02)
    return request.state.loop is asyncio.get_running_loop()


@app.get("/blocking")
async def blocking():
    time.sleep(0.05)


@app.get("/hang")
async def hang():
    await asyncio.Event().wait()


@app.get("/stuck")
async def stuck():
    time.sleep(2)
"""

TESTS = """
import pytest, webapp

@pytest.fixture
def nonblocking_app():
    return webapp.app

@pytest.mark.nonblocking(concurrency=20{marker})
@pytest.mark.parametrize("path", {paths})
async def test_it(nonblocking_client, path):
    assert (await nonblocking_client.get(path)).status_code == 200
"""


@pytest.fixture
def live(pytester):
    """Return how to run a test of some paths behind a server.

    In this process, unless ``alone``: for what stays in a process, or is looked for all over it.
    """
    pytester.makepyfile(webapp=LIFESPAN)
    pytester.makeini("[pytest]\npythonpath = .\nasyncio_default_fixture_loop_scope = function\n")

    def run(paths, *flags, server="uvicorn", marker="", more="", alone=False):
        pytest.importorskip(server, reason=f"{server} is not installed")
        marker = f', transport="{server}"{marker}'
        pytester.makepyfile(test_it=TESTS.format(paths=paths, marker=marker) + more)
        if alone:
            return pytester.runpytest_subprocess(*flags, timeout=90)
        return pytester.runpytest(*flags)

    return run


@pytest.mark.parametrize("server", ["uvicorn", "hypercorn"])
def test_the_same_verdicts_as_in_process(live, server):
    result = live(["/", "/blocking"], "-v", server=server)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "nonblocking: GET /blocking blocks the event loop",
            "*cause*blocking-call: * ms off the CPU in one callback, limit max_blocked=5 ms *",
            "*where*webapp.py:27 in blocking",
            "nonblocking: 2 measured: *1 fail*",  # on a busy machine the other is inconclusive
        ]
    )


def test_the_lifespan_is_the_servers_and_no_thread_is_left(live):
    more = """
def test_after():
    import threading
    assert webapp.events == ["pytest-nonblocking-uvicorn", "down"]
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith("pytest-nonblocking")]

@pytest.mark.asyncio
async def test_without_the_marker(nonblocking_client):
    assert (await nonblocking_client.get("/")).json() is True
    assert nonblocking_client.base_url.host == "127.0.0.1"
"""
    live(["/"], "--nonblocking-transport=uvicorn", more=more).assert_outcomes(passed=3)


def test_a_failed_start_up_is_reported_as_what_it_is(live):
    more = "\nwebapp.events.append('broken')\n"
    for server in ("uvicorn", "hypercorn"):
        result = live(["/"], server=server, more=more)
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(["*AppStartupError: application startup failed: *"])
        result.stdout.fnmatch_lines(["*no database*"])


@pytest.mark.parametrize(
    ("path", "shown"),
    [("/hang", "*does not finish, even alone"), ("/stuck", "*does not finish")],
)
def test_a_handler_that_does_not_end_is_a_time_out_and_not_a_hang(pytester, live, path, shown):
    pytester.makeconftest(IMPATIENT)
    result = live([path], marker=', timeout="1s"', alone=True)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([shown, f"*where*webapp.py:* in {path[1:]}"])


def test_the_port_of_a_test_that_is_never_run_is_closed(live):
    more = """
@pytest.fixture
def broken(nonblocking_client):
    raise RuntimeError("set-up is broken")

@pytest.mark.nonblocking(transport="uvicorn")
async def test_never(nonblocking_client, broken):
    pass

def test_after():
    import gc, socket
    sockets = [one for one in gc.get_objects() if type(one) is socket.socket]
    sockets = [one for one in sockets if one.fileno() != -1 and one.family == socket.AF_INET]
    assert sockets == []
"""
    result = live(["/"], more=more, alone=True)
    result.assert_outcomes(passed=2, errors=1)


def test_the_users_logging_is_left_as_it_is(live):
    more = """
def test_logging():
    import logging
    assert logging.getLogger("uvicorn").handlers == []
    assert logging.getLogger("uvicorn").propagate
"""
    live(["/"], more=more).assert_outcomes(passed=2)


def test_error_when_the_server_is_unknown_or_not_installed(pytester):
    pytester.makepyfile("def test_it(): pass")
    result = pytester.runpytest("--nonblocking-transport=gunicorn")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*must be one of asgi, uvicorn, hypercorn"])
    pytester.makepyfile(
        sitecustomize="""
        import importlib.util, sys
        find = importlib.util.find_spec
        importlib.util.find_spec = lambda name, *a: None if name == "hypercorn" else find(name, *a)
        """
    )
    pytester.syspathinsert()
    result = pytester.runpytest_subprocess("--nonblocking-transport=hypercorn")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*must be asgi while hypercorn is not installed (pip install *"])
