"""Apps that hang, block or break behind each transport: a clear failure, and the run goes on.

The tests of one table share a pytest for each transport: after each of them a healthy test looks
for what it left behind. What nothing can end comes last, or has a pytest of its own.
"""

import re
import sys
import textwrap
from typing import NamedTuple

import pytest
from inner_runs import IMPATIENT

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

CONFTEST = f"""
import threading, warnings
import pytest
{IMPATIENT}
@pytest.fixture
def anyio_backend():
    return "{{loop}}"
"""
NAMES_APP = """
import pytest

@pytest.fixture
def nonblocking_app():
    from app_{name} import app
    return {app}
{extra}
"""

COROUTINE = """
{runner}
@pytest.mark.nonblocking(concurrency=4, timeout={timeout})
async def test_{name}(nonblocking_client):
    response = await nonblocking_client.get("/")
    assert response.status_code == 200
"""
SHARED = """
from starlette.testclient import TestClient
from app_{name} import app

@pytest.fixture
def client():
    with TestClient(app, backend="{loop}") as client:
        yield client

@pytest.mark.nonblocking(concurrency=4, timeout={timeout})
def test_{name}(client):
    client.get("/")
"""
OWN = """
from starlette.testclient import TestClient
from app_{name} import app

@pytest.mark.nonblocking(concurrency=4, timeout={timeout})
def test_{name}():
    with TestClient(app, backend="{loop}") as client:
        client.get("/")
"""
CLIENTS = {"shared": SHARED, "own": OWN}
AFTER = """
def test_after():
    import gc, threading
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
        [FINISHES_NOT, "*cause*blocking-call*", "*where*app_*.py:* in app"],
        "while True: time.sleep(0.2)",
    ),
    "computes-for-ever": Fault(
        [FINISHES_NOT, "*cause*cpu-on-loop*", "*where*app_*.py:* in app"], "while True: pass"
    ),
    "awaits-for-ever": Fault([f"{FINISHES_NOT}*", "*cause*serialised-wait*"], "await never()"),
    "blocks-in-a-task-of-its-own": Fault(
        [FINISHES_NOT, "*cause*blocking-call*", "*where*app_*.py:* in *sleeps"],
        """
async def sleeps():
    while True:
        time.sleep(0.2)
asyncio.create_task(sleeps())
await respond(send)
""",
    ),
    "long-steps": Fault(
        ["nonblocking: GET / blocks the event loop", "*cause*blocking-call*", "*in app"],
        # longer than the plugin waits for the answer of a loop that it knows to be free
        "time.sleep(0.8 if number in (2, 3) else 0.1); await respond(send)",
        timeout=15,
    ),
    "sleeps-for-ever-in-one-step": Fault(
        [
            FINISHES_NOT,
            "*cause*blocking-call*",
            "*where*app_*.py:* in app",
            "*thread of * cannot be interrupted in app (*app_*.py:*); it stays until*",
        ],
        "time.sleep(3600)",
        stays=("pytest-nonblocking-",),
    ),
}

LATE = "it waits in never (*app_*.py:*) → *sleep. Find what should end this wait*"
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
        [f"{SHUTS_NOT}*shutdown*not ended within 1 s (the least*; it waits in never (*app_*.py:*"],
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


SERVES = """
await receive()
await send({"type": "lifespan.startup.complete"})
"""
RAISED = {
    "exits": ("raise SystemExit(3)", "SystemExit: 3"),
    "own": ("raise type('Own', (BaseException,), {})('mine')", "Own: mine"),
    "cancelled": ("raise asyncio.CancelledError", "CancelledError"),
    "unreadable": (
        "raise type('Unreadable', (Exception,), {'__str__': lambda error: 1 / 0})",
        "Unreadable: its __str__ raises ZeroDivisionError",
    ),
}
LIFESPANS |= {
    f"{phase}-{kind}": Fault([f"{said}{reason}"], lifespan=f"{before}await receive(); {raises}")
    for kind, (raises, reason) in RAISED.items()
    for phase, said, before in (
        ("start-up", STARTS_NOT, ""),
        ("shutdown", SHUTS_NOT, SERVES),
    )
}

BLOCKS = {"computes": "while True: pass", "sleeps": "time.sleep(3600)"}
BLOCKING_LIFESPANS = {
    f"{phase}-{kind}": Fault(
        [f"{said}*{phase}*not ended within 1 s (the least*; it waits in app (*app_*.py:*"],
        lifespan=f"{before}await receive()\n{blocks}",
    )
    for kind, blocks in BLOCKS.items()
    for phase, said, before in (("start-up", STARTS_NOT, ""), ("shutdown", SHUTS_NOT, SERVES))
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


class Measured:
    """What one pytest printed of the tests of a table, by the kind of fault."""

    HEADING = re.compile(r"_{3,} (?:ERROR at \w+ of )?(\w+) _{3,}")
    OUTCOME = re.compile(r"(PASSED|FAILED|ERROR) test_(\w+)\.py::(\w+)")
    UNDECIDED = re.compile(r"test_(\w+)\.py::(\w+) INCONCLUSIVE")

    def __init__(self, result):
        self.shown = result.stdout.str() + result.stderr.str()
        self._lines, self._outcomes, name = {}, {}, None
        for line in result.outlines:
            if heading := self.HEADING.fullmatch(line):
                name = heading[1]
            elif line.startswith("==="):
                name = None
            self._lines.setdefault(name, []).append(line)
            if outcome := self.OUTCOME.match(line):
                self._outcomes.setdefault(outcome[2], set()).add((outcome[3], outcome[1]))
            elif outcome := self.UNDECIDED.match(line):  # which -rA does not list
                self._outcomes.setdefault(outcome[1], set()).add((outcome[2], "PASSED"))

    def assert_outcomes(self, kind, *words):
        """The test of ``kind`` ended as ``words`` say, and the healthy one after it passed."""
        name = identifier(kind)
        ended = {(f"test_{name}", word) for word in words}
        assert self._outcomes.get(name) == ended | {("test_after", "PASSED")}, self.shown

    def assert_lines(self, kind, lines):
        """The failure of ``kind`` has ``lines``, in which ``app_*.py`` stands for its own app."""
        name = identifier(kind)
        found = pytest.LineMatcher(self._lines.get(f"test_{name}", []))
        found.fnmatch_lines([line.replace("app_*.py", f"app_{name}.py") for line in lines])


def identifier(kind):
    return kind.replace("-", "_")


@pytest.fixture
def measured(pytester):
    """Run a test of each broken app behind one transport, and a healthy test after each."""

    def files(kind, fault, loop, transport):
        app = APP.format(
            lifespan=textwrap.indent(fault.lifespan, " " * 8),
            request=textwrap.indent(fault.request, " " * 4),
        )
        names = {"name": identifier(kind), "runner": RUNNERS[loop], "loop": loop}
        test = CLIENTS.get(transport, COROUTINE).format(timeout=fault.timeout, **names)
        fixtures = NAMES_APP.format(app=fault.app, extra=fault.extra, **names)
        yield f"app_{names['name']}", app
        yield f"test_{names['name']}", fixtures + test + AFTER.format(left=fault.stays)

    def measured(faults, loop, transport):
        pytester.makeini(INI)
        pytester.makeconftest(CONFTEST.format(loop=loop))
        written = [file for one in faults.items() for file in files(*one, loop, transport)]
        pytester.makepyfile(**dict(written))
        flags = [] if transport in CLIENTS else [f"--nonblocking-transport={transport}"]
        flags += ["-p", "no:logging", "--tb=short", "-rA", "-v"]
        tests = [f"{name}.py" for name, _ in written if name.startswith("test_")]
        return Measured(pytester.runpytest_subprocess(*flags, *tests, timeout=120))

    return measured


SERVERS = ["uvicorn", "hypercorn"]
PLACES = [("asyncio", "asgi"), ("trio", "asgi"), *[("asyncio", server) for server in SERVERS]]


def needs(transport):
    if transport in SERVERS:
        pytest.importorskip(transport, reason=f"{transport} is not installed")


@pytest.mark.parametrize("transport", SERVERS)
def test_a_server_whose_loop_is_held_is_a_time_out_or_a_blocking_call(measured, transport):
    needs(transport)
    result = measured(HELD, "asyncio", transport)
    for kind, fault in HELD.items():
        result.assert_outcomes(kind, "FAILED")
        result.assert_lines(kind, fault.lines)
    # Nothing is logged of the requests that the plugin ends, and no shutdown waits for them.
    assert "Traceback" not in result.shown
    assert "the shutdown of the app's lifespan" not in result.shown


@pytest.mark.parametrize(("loop", "transport"), PLACES)
def test_a_lifespan_neither_hangs_nor_fails_unnoticed(measured, loop, transport):
    needs(transport)
    # trio's Cancelled cannot be raised by hand.
    faults = {k: f for k, f in LIFESPANS.items() if not (loop == "trio" and "cancelled" in k)}
    result = measured(faults, loop, transport)
    for kind, fault in faults.items():
        result.assert_outcomes(kind, "PASSED" if fault.passes else "FAILED")
        result.assert_lines(kind, fault.lines)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals to interrupt C")
@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_a_lifespan_that_holds_the_loop_of_the_test_is_interrupted(measured, loop):
    result = measured(BLOCKING_LIFESPANS, loop, "asgi")
    for kind, fault in BLOCKING_LIFESPANS.items():
        result.assert_outcomes(kind, "FAILED")
        result.assert_lines(kind, fault.lines)


@pytest.mark.parametrize(("loop", "transport"), PLACES)
def test_an_app_that_breaks_the_protocol_fails_its_test(measured, loop, transport):
    needs(transport)
    # trio's Cancelled cannot be raised by hand.
    faults = {k: f for k, f in BROKEN.items() if (k, loop) != ("cancels-itself", "trio")}
    result = measured(faults, loop, transport)
    for kind, fault in faults.items():
        result.assert_outcomes(kind, "FAILED")
        in_process, behind_a_server = fault.lines[0], fault.lines[-1]
        result.assert_lines(kind, [in_process if transport == "asgi" else behind_a_server])
        if transport == "uvicorn" and kind in ("raises", "exits", "cancels-itself"):
            result.assert_lines(kind, ["Exception in ASGI application", "Traceback *"])
    assert "internal error" not in result.shown


@pytest.mark.parametrize("transport", SERVERS)
def test_a_server_that_dies_in_a_burst_fails_the_test(measured, transport):
    needs(transport)
    faults = {kind: Fault([], request, timeout=5) for kind, request in DYING.items()}
    result = measured(faults, "asyncio", transport)
    for kind in faults:
        result.assert_outcomes(kind, "FAILED")
        if (kind, transport) != ("exits-in-the-burst", "uvicorn"):  # uvicorn answers: status 500
            result.assert_lines(kind, [f"*{transport} ended during the test: *"])
    assert "internal error" not in result.shown


def test_a_client_whose_loop_ends_in_a_burst_is_not_measured_and_says_why(measured):
    pytest.importorskip("starlette", reason="starlette is not installed")
    faults = {kind: Fault([], request, timeout=5) for kind, request in DYING.items()}
    result = measured(faults, "asyncio", "shared")
    # Not what it leaves: the client's own threads wait for answers that no loop gives any more.
    for kind in faults:  # all warnings are errors here
        result.assert_lines(kind, ["*is not-measured: the event loop of the test's client ended*"])
    assert "internal error" not in result.shown


CANNOT_START = """
@pytest.fixture(autouse=True)
def broken(monkeypatch):
    from pytest_nonblocking.asgi import servers

    async def cannot(*arguments):
        raise OSError("the address is in use")

    for name in servers.SERVERS:
        monkeypatch.setitem(servers.SERVERS, name, cannot)
"""


@pytest.mark.parametrize("transport", ["asgi", *SERVERS])
def test_what_cannot_be_started_or_called_is_an_error_in_words(measured, transport):
    needs(transport)
    faults = {"no-callable": Fault([], app="42")}
    if transport in SERVERS:
        faults["no-server"] = Fault([], extra=CANNOT_START)
    result = measured(faults, "asyncio", transport)
    result.assert_outcomes("no-callable", "ERROR")
    result.assert_lines(
        "no-callable",
        ["E*TypeError: nonblocking: the app is 42, which is not callable; have the fixture *"],
    )
    if transport in SERVERS:
        failed = f"application startup failed: {transport} ended: OSError('the address is in use')"
        result.assert_outcomes("no-server", "FAILED")
        result.assert_lines("no-server", [f"E*{failed}"])


# In plain tests, by the name of the fault: what the app does, and the cause that is named.
HANGS = {
    "awaits": ("await anyio.Event().wait()", "serialised-wait"),
    "sleeps-in-steps": ("while True: time.sleep(0.2)", "blocking-call"),
    "computes": ("while True: pass", "cpu-on-loop"),
}
HANGS_WHEN = {
    "shared": {"first": "True", "later": "number > 3"},
    "own": {"first": "True", "later": "number > 2"},
}
REQUEST = """
if {when}:
    {hangs}
await respond(send)
"""


@pytest.mark.parametrize(
    ("loop", "client"), [("asyncio", "shared"), ("asyncio", "own"), ("trio", "shared")]
)
def test_a_plain_test_that_hangs_is_a_time_out_and_the_run_goes_on(measured, loop, client):
    pytest.importorskip("starlette", reason="starlette is not installed")
    faults = {
        f"{kind}-{when}": Fault(
            [
                "nonblocking: GET / does not finish*",
                "*of * finished within timeout=1 s (from marker)",
                f"*cause*{cause}*",
                "*where*app_*.py:*",
            ],
            REQUEST.format(when=condition, hangs=hangs),
            timeout=1,
        )
        for kind, (hangs, cause) in HANGS.items()
        for when, condition in HANGS_WHEN[client].items()
        if (loop, when) != ("trio", "later")
    }
    result = measured(faults, loop, client)
    for kind, fault in faults.items():
        result.assert_outcomes(kind, "FAILED")
        result.assert_lines(kind, fault.lines)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals to end the teardown")
@pytest.mark.parametrize("when", ["first", "later"])
def test_a_plain_test_whose_loop_cannot_be_freed_ends_with_its_teardown(measured, when):
    pytest.importorskip("starlette", reason="starlette is not installed")
    request = REQUEST.format(when=HANGS_WHEN["shared"][when], hangs="time.sleep(3600)")
    # A copy's thread waits for the loop's.
    stays = {"first": ("portal",), "later": ("portal", "copy")}[when]
    result = measured({when: Fault([], request, timeout=1, stays=stays)}, "asyncio", "shared")
    result.assert_outcomes(when, "FAILED", "ERROR")
    result.assert_lines(
        when,
        [
            "E*TimeoutError: the loop of a test client is held by app (*app_*.py:*), which cannot "
            "be interrupted; its thread stays until the process ends",
            "nonblocking: GET / does not finish",
            "*cause*blocking-call*",
        ],
    )


def test_a_lifespan_that_blocks_in_a_plain_test_is_not_charged_to_its_verdict(measured):
    pytest.importorskip("starlette", reason="starlette is not installed")
    kind = "start-up-and-shutdown-block"
    result = measured({kind: LIFESPANS[kind]}, "asyncio", "own")
    assert "blocks the event loop" not in result.shown
