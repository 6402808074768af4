"""Apps that hang, block or break behind each transport: a clear failure, and the run goes on."""

import textwrap
from typing import NamedTuple

import pytest

APP = """
import asyncio, os, sys, threading, time
import anyio

async def never():
    await anyio.sleep(3600)

async def respond(send, status=200, body=b"ok"):
    await send({{"type": "http.response.start", "status": status, "headers": []}})
    await send({{"type": "http.response.body", "body": body}})

requests = []

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
{lifespan}
        return
    requests.append(scope)
    number = len(requests)
{request}
"""
"""The app; ``number`` counts its requests from 1."""

ANSWERS = """
await receive()
await send({"type": "lifespan.startup.complete"})
await receive()
await send({"type": "lifespan.shutdown.complete"})
"""
RESPONDS = "await respond(send)"

CONFTEST = """
import threading, warnings
import pytest
import pytest_nonblocking.tasks

pytest_nonblocking.tasks.GRACE = 1.0  # what is given up is given up soon

@pytest.fixture
def nonblocking_app():
    from webapp import app
    return app

@pytest.fixture
def anyio_backend():
    return "{loop}"
"""

COROUTINE = """
import pytest

{runner}
@pytest.mark.nonblocking(concurrency=4, timeout={timeout})
async def test_it(nonblocking_client):
    response = await nonblocking_client.get("/")
    assert response.status_code == 200
"""
AFTER = """
import gc, threading

def test_after():
    gc.collect()
    names = [thread.name for thread in threading.enumerate()]
    assert {left} == [name for name in names if "nonblocking" in name or "portal" in name]
"""

RUNNERS = {"asyncio": "@pytest.mark.asyncio", "trio": "@pytest.mark.anyio"}
INI = """
[pytest]
pythonpath = .
asyncio_default_fixture_loop_scope = function
filterwarnings =
    error
"""


class Fault(NamedTuple):
    """A broken app, and the lines that its test prints.

    ``stays`` says that the thread of a server cannot be ended.
    """

    lines: list[str]
    request: str = RESPONDS
    lifespan: str = ANSWERS
    timeout: float = 0.5
    stays: bool = False
    passes: bool = False


FINISHES_NOT = "nonblocking: GET / does not finish"
HELD = {
    "sleeps-for-ever-in-steps": Fault(
        [FINISHES_NOT, "*cause*blocking-call*", "*where*webapp.py:* in app"],
        "while True: time.sleep(0.2)",
    ),
    "computes-for-ever": Fault(
        [FINISHES_NOT, "*cause*cpu-on-loop*", "*where*webapp.py:* in app"], "while True: pass"
    ),
    "sleeps-for-ever-in-one-step": Fault(
        [
            FINISHES_NOT,
            "*cause*blocking-call*",
            "*where*webapp.py:* in app",
            "*thread of * cannot be interrupted in * app (*webapp.py:*); it stays until*",
        ],
        "time.sleep(3600)",
        stays=True,
    ),
    "long-steps": Fault(
        ["nonblocking: GET / blocks the event loop", "*cause*blocking-call*", "*in app"],
        "time.sleep(2.5 if number in (2, 3) else 0.1); await respond(send)",
        timeout=15,
    ),
}

LATE = "it waits in never (*webapp.py:*) → *sleep. Find what should end this wait*"
STARTS_NOT = "*AppStartupError: application startup failed: "
SHUTS_NOT = "*AppShutdownError: application shutdown failed: "
LIFESPANS = {
    "start-up-never-ends": Fault(
        [f"{STARTS_NOT}*start-up*not ended within 1 s (the least*0.5 s from marker); {LATE}"],
        lifespan="await receive(); await never()",
    ),
    "shutdown-never-ends": Fault(
        [f"{SHUTS_NOT}*shutdown*not ended within 1 s (the least*0.5 s from marker); {LATE}"],
        lifespan="""
await receive()
await send({"type": "lifespan.startup.complete"})
await receive()
await never()
""",
    ),
    "start-up-raises": Fault(
        [f"{STARTS_NOT}ValueError: no database"],
        lifespan="await receive(); raise ValueError('no database')",
    ),
    "start-up-fails": Fault(
        [f"{STARTS_NOT}no database"],
        lifespan="""
await receive()
await send({"type": "lifespan.startup.failed", "message": "no database"})
""",
    ),
    "shutdown-raises": Fault(
        [f"{SHUTS_NOT}ValueError: not flushed"],
        lifespan="""
await receive()
await send({"type": "lifespan.startup.complete"})
await receive()
raise ValueError("not flushed")
""",
    ),
    "shutdown-fails": Fault(
        [f"{SHUTS_NOT}not flushed"],
        lifespan="""
await receive()
await send({"type": "lifespan.startup.complete"})
await receive()
await send({"type": "lifespan.shutdown.failed", "message": "not flushed"})
""",
    ),
    "start-up-and-shutdown-block": Fault(
        [],
        lifespan="""
await receive()
time.sleep(0.1)
await send({"type": "lifespan.startup.complete"})
await receive()
time.sleep(0.1)
await send({"type": "lifespan.shutdown.complete"})
""",
        timeout=30,
        passes=True,
    ),
    "no-lifespan": Fault([], lifespan="raise RuntimeError('no lifespan')", timeout=30, passes=True),
    "lifespan-returns": Fault([], lifespan="return", timeout=30, passes=True),
}


@pytest.fixture
def measured(pytester):
    """Run a test of a broken app in a process of its own, and a healthy one after it."""

    def measured(fault, loop, transport):
        app = APP.format(
            lifespan=textwrap.indent(fault.lifespan, " " * 8),
            request=textwrap.indent(fault.request, " " * 4),
        )
        pytester.makeini(INI)
        pytester.makeconftest(CONFTEST.format(loop=loop))
        left = [f"pytest-nonblocking-{transport}"] if fault.stays else []
        test = COROUTINE.format(runner=RUNNERS[loop], timeout=fault.timeout)
        pytester.makepyfile(webapp=app, test_it=test, test_later=AFTER.format(left=left))
        flag = f"--nonblocking-transport={transport}"
        return pytester.runpytest_subprocess(flag, "-p", "no:logging", timeout=60)

    return measured


SERVERS = ["uvicorn", "hypercorn"]
PLACES = [("asyncio", "asgi"), ("trio", "asgi"), *[("asyncio", server) for server in SERVERS]]


@pytest.mark.parametrize("transport", SERVERS)
@pytest.mark.parametrize("kind", HELD)
def test_a_server_whose_loop_is_held_is_a_time_out_or_a_blocking_call(measured, kind, transport):
    pytest.importorskip(transport, reason=f"{transport} is not installed")
    fault = HELD[kind]
    result = measured(fault, "asyncio", transport)
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(fault.lines)


@pytest.mark.parametrize(("loop", "transport"), PLACES)
@pytest.mark.parametrize("kind", LIFESPANS)
def test_a_lifespan_neither_hangs_nor_fails_unnoticed(measured, kind, loop, transport):
    fault = LIFESPANS[kind]
    result = measured(fault, loop, transport)
    result.assert_outcomes(failed=not fault.passes, passed=1 + fault.passes)
    result.stdout.fnmatch_lines(fault.lines)
