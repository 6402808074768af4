"""Apps that hang, block or break behind each transport: a clear failure, and the run goes on."""

import sys
import textwrap
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.faults(every=3)

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
    return {app}

@pytest.fixture
def anyio_backend():
    return "{loop}"
{extra}
"""

COROUTINE = """
import pytest

{runner}
@pytest.mark.nonblocking(concurrency=4, timeout={timeout})
async def test_it(nonblocking_client):
    response = await nonblocking_client.get("/")
    assert response.status_code == 200
"""
SHARED = """
import pytest
from starlette.testclient import TestClient
from webapp import app

@pytest.fixture
def client():
    with TestClient(app, backend="{loop}") as client:
        yield client

@pytest.mark.nonblocking(concurrency=4, timeout={timeout})
def test_it(client):
    client.get("/")
"""
OWN = """
import pytest
from starlette.testclient import TestClient
from webapp import app

@pytest.mark.nonblocking(concurrency=4, timeout={timeout})
def test_it():
    with TestClient(app, backend="{loop}") as client:
        client.get("/")
"""
CLIENTS = {"shared": SHARED, "own": OWN}
AFTER = """
import gc, threading

def test_after():
    gc.collect()
    names = [thread.name for thread in threading.enumerate()]
    left = [name for name in names if "nonblocking" in name or "portal" in name]
    assert len(left) == len({left}), names
    assert all(word in name for word, name in zip({left}, left))
"""

RUNNERS = {"asyncio": "@pytest.mark.asyncio", "trio": "@pytest.mark.anyio"}
INI = """
[pytest]
pythonpath = .
asyncio_default_fixture_loop_scope = function
filterwarnings =
    error
    ignore:Using `httpx` with
"""


class Fault(NamedTuple):
    """A broken app, and the lines that its test prints.

    ``stays`` are parts of the names of the threads that nothing can end.
    """

    lines: list[str]
    request: str = RESPONDS
    lifespan: str = ANSWERS
    timeout: float = 0.5
    stays: tuple[str, ...] = ()
    passes: bool = False
    app: str = "app"
    extra: str = ""


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
            "*thread of * cannot be interrupted in app (*webapp.py:*); it stays until*",
        ],
        "time.sleep(3600)",
        stays=("pytest-nonblocking-",),
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
    "shutdown-ignores-its-cancellation": Fault(
        [f"{SHUTS_NOT}*shutdown*not ended within 1 s (the least*; it waits in never (*webapp.py:*"],
        lifespan="""
await receive()
await send({"type": "lifespan.startup.complete"})
while True:
    try:
        await never()
    except BaseException:
        pass
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

BROKEN = {
    "raises": Fault(["*ValueError: broken*", "E*assert 500 == 200"], "raise ValueError('broken')"),
    "sends-nothing": Fault(["*before sending a response", "E*assert 500 == 200"], "return"),
    "sends-the-body-first": Fault(
        ["*http.response.body*", "E*assert 500 == 200"],
        "await send({'type': 'http.response.body', 'body': b''})",
    ),
    "starts-twice": Fault(
        ["*RuntimeError: http.response.start was sent twice", "*RemoteProtocolError*"],
        "await send({'type': 'http.response.start', 'status': 200}); await respond(send)",
    ),
    "breaks-in-the-middle": Fault(
        ["*ValueError: broken*", "*RemoteProtocolError*"],
        """
await send({"type": "http.response.start", "status": 200, "headers": []})
await send({"type": "http.response.body", "body": b"half", "more_body": True})
raise ValueError("broken")
""",
    ),
    "sends-what-does-not-exist": Fault(
        ["*unexpected event 'no.such'*", "E*assert 500 == 200"], "await send({'type': 'no.such'})"
    ),
    "exits": Fault(["*SystemExit: 3*", "E*assert 500 == 200"], "sys.exit(3)"),
    "raises-a-base-exception": Fault(
        ["*BaseException: broken*", "E*assert 500 == 200"], "raise BaseException('broken')"
    ),
    "cancels-itself": Fault(
        ["*cancelled itself*", "E*assert 500 == 200"], "raise asyncio.CancelledError"
    ),
}
DYING = {
    "exits-in-the-burst": "number == 8 and sys.exit(3); await respond(send)",
    "stops-the-loop": "number == 8 and asyncio.get_running_loop().stop(); await anyio.sleep(0.01);"
    " await respond(send)",
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
        pytester.makeconftest(CONFTEST.format(loop=loop, app=fault.app, extra=fault.extra))
        test = CLIENTS.get(transport, COROUTINE).format(
            runner=RUNNERS[loop], timeout=fault.timeout, loop=loop
        )
        pytester.makepyfile(webapp=app, test_it=test, test_later=AFTER.format(left=fault.stays))
        flags = [] if transport in CLIENTS else [f"--nonblocking-transport={transport}"]
        return pytester.runpytest_subprocess(
            *flags, "-p", "no:logging", "-p", "no:hypothesispytest", "--tb=short", timeout=60
        )

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


@pytest.mark.parametrize(("loop", "transport"), PLACES)
@pytest.mark.parametrize("kind", BROKEN)
def test_an_app_that_breaks_the_protocol_fails_its_test(measured, kind, loop, transport):
    if kind == "cancels-itself" and loop == "trio":
        pytest.skip("trio's Cancelled cannot be raised by hand")
    result = measured(BROKEN[kind], loop, transport)
    result.assert_outcomes(failed=1, passed=1)
    shown = result.stdout.str() + result.stderr.str()
    in_process, behind_a_server = BROKEN[kind].lines[0], BROKEN[kind].lines[-1]
    result.stdout.fnmatch_lines([in_process if transport == "asgi" else behind_a_server])
    assert "internal error" not in shown


@pytest.mark.parametrize("transport", SERVERS)
@pytest.mark.parametrize("kind", DYING)
def test_a_server_that_dies_in_a_burst_fails_the_test(measured, kind, transport):
    result = measured(Fault([], DYING[kind], timeout=5), "asyncio", transport)
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.no_fnmatch_line("*internal error*")
    if (kind, transport) != ("exits-in-the-burst", "uvicorn"):  # uvicorn answers with status 500
        result.stdout.fnmatch_lines([f"*{transport} ended during the test: *"])


@pytest.mark.parametrize("transport", ["asgi", *SERVERS])
def test_an_app_that_cannot_be_called_is_an_error_in_words(measured, pytester, transport):
    result = measured(Fault([], app="42"), "asyncio", transport)
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines(
        ["E*TypeError: nonblocking: the app is 42, which is not callable; have the fixture *"]
    )


@pytest.mark.parametrize("transport", SERVERS)
def test_a_server_that_does_not_start_fails_the_test(measured, transport):
    broken = f"""
from pytest_nonblocking.asgi import servers

async def cannot(*arguments):
    raise OSError("the address is in use")

servers.SERVERS["{transport}"] = cannot
"""
    result = measured(Fault([], extra=broken), "asyncio", transport)
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [f"E*application startup failed: {transport} ended: OSError('the address is in use')"]
    )


HANGS = {
    "awaits": ("await anyio.Event().wait()", "serialised-wait"),
    "sleeps-in-steps": ("while True: time.sleep(0.2)", "blocking-call"),
    "computes": ("while True: pass", "cpu-on-loop"),
}
WHEN = {"first": "True", "later": "number > 3"}


@pytest.mark.parametrize(
    ("loop", "client", "when"),
    [
        ("asyncio", "shared", "first"),
        ("asyncio", "shared", "later"),
        ("asyncio", "own", "first"),
        ("asyncio", "own", "later"),
        ("trio", "shared", "first"),
    ],
)
@pytest.mark.parametrize("kind", HANGS)
def test_a_plain_test_that_hangs_is_a_time_out_and_the_run_goes_on(
    measured, kind, loop, client, when
):
    pytest.importorskip("starlette", reason="starlette is not installed")
    hangs, cause = HANGS[kind]
    request = f"""
if {"number > 2" if (client, when) == ("own", "later") else WHEN[when]}:
    {hangs}
await respond(send)
"""
    result = measured(Fault([], request, timeout=2), loop, client)
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "nonblocking: GET / does not finish*",
            "*of * finished (timeout 2 s from marker)",
            f"*cause*{cause}*",
            "*where*webapp.py:*",
        ]
    )


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals to end the teardown")
@pytest.mark.parametrize("when", WHEN)
def test_a_plain_test_whose_loop_cannot_be_freed_ends_with_its_teardown(measured, when):
    pytest.importorskip("starlette", reason="starlette is not installed")
    request = f"""
if {WHEN[when]}:
    time.sleep(3600)
await respond(send)
"""
    # A copy's thread waits for the loop's.
    stays = {"first": ("portal",), "later": ("portal", "copy")}[when]
    result = measured(Fault([], request, timeout=2, stays=stays), "asyncio", "shared")
    result.assert_outcomes(failed=1, errors=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "E*TimeoutError: the loop of a test client is held by app (*webapp.py:*), which cannot "
            "be interrupted; its thread stays until the process ends",
            "nonblocking: GET / does not finish",
            "*cause*blocking-call*",
        ]
    )


def test_a_lifespan_that_blocks_in_a_plain_test_is_not_charged_to_its_verdict(measured):
    pytest.importorskip("starlette", reason="starlette is not installed")
    fault = LIFESPANS["start-up-and-shutdown-block"]
    result = measured(fault, "asyncio", "own")
    result.stdout.no_fnmatch_line("*blocks the event loop*")
