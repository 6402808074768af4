"""Faults in a test's body or in its app, on every loop: a clear outcome, and never a hang.

Each entry is a pytest of its own under a hard time limit; `make test` runs a part of them.
"""

import re
import signal
import subprocess
import sys
import time

import pytest
from inner_runs import IMPATIENT

LOOPS = {
    "asyncio": '("asyncio", {})',
    "uvloop": '("asyncio", {"use_uvloop": True})',
    "trio": '("trio", {})',
}
LIMIT = 90
HEAD = """
import asyncio, pathlib, sys, time
import anyio, pytest

pytestmark = pytest.mark.anyio

@pytest.fixture
def anyio_backend():
    return {backend}

{body}

def test_next():
    pathlib.Path("next").touch()
"""


@pytest.fixture(params=LOOPS)
def write(request, pytester):
    """Write a test module for one loop, with a test after those that it is given."""
    if request.param != "asyncio":
        pytest.importorskip(request.param, reason=f"{request.param} is not installed")

    def write(body):
        pytester.makeconftest(IMPATIENT)
        pytester.makepyfile(test_it=HEAD.format(backend=LOOPS[request.param], body=body))
        return pytester

    return write


IGNORES = """
async def swallows():
    while True:
        try:
            await anyio.sleep(100)
        except BaseException:
            pass

async def shields():
    with anyio.CancelScope(shield=True):
        await anyio.sleep(100)

async def has_children():
    async with anyio.create_task_group() as group:
        group.start_soon(swallows)
        group.start_soon(shields)

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("no lifespan")
    await swallows()

@pytest.fixture
def nonblocking_app():
    return app
"""
FAULTS = {
    "swallowed": ("", "await swallows()", "at *swallows"),
    "shielded": ("", "await shields()", "does not finish"),
    "in its children": ("", "await has_children()", "task* ignored *"),
    "in a later copy": (
        "virtual_user",
        "virtual_user() == 2 and await swallows()",
        "1 task ignored",
    ),
    "in a handler": ("nonblocking_client", 'await nonblocking_client.get("/")', "does not finish"),
}


@pytest.mark.faults(every=2)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_cancellation_that_is_ignored_is_a_failure_and_the_run_goes_on(write, fault):
    fixture, body, shown = FAULTS[fault]
    project = write(
        f"""{IGNORES}
@pytest.mark.nonblocking(concurrency=4, timeout="1s")
async def test_it({fixture}):
    await anyio.sleep(0.001)
    {body}
"""
    )
    result = project.runpytest_subprocess("-v", timeout=LIMIT)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*does not finish*"])
    result.stdout.fnmatch_lines([f"*{shown}*"])


OUTCOMES = """
class Own(BaseException):
    pass

def group(kind):
    raise kind("several", [ValueError("one"), KeyError("two")])

def own():
    raise Own("mine")

ENDS = {
    "exit": lambda: sys.exit(3),
    "skip": lambda: pytest.skip("why"),
    "fail": lambda: pytest.fail("why"),
    "xfail": lambda: pytest.xfail("why"),
    "group": lambda: group(ExceptionGroup),
    "own": own,
}
"""
ENDING = """
{marker}
@pytest.mark.parametrize("kind", ENDS)
async def test_{name}(kind{fixtures}):
    await anyio.sleep(0.001)
    if {when}:
        ENDS[kind]()
"""
WHEN = {"always": "True", "in_one_copy": "virtual_user() == 2"}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="needs exception groups")
def test_a_body_ends_as_it_does_without_us(write):
    def endings(*flags, when, **keywords):
        tests = (ENDING.format(name=name, when=when[name], **keywords) for name in WHEN)
        project = write("\n".join((OUTCOMES, *tests)))
        result = project.runpytest_subprocess("-v", "--tb=no", *flags, timeout=LIMIT)
        return re.findall(r"^test_it\.py::(\S+) ([A-Z]+)", result.stdout.str(), re.MULTILINE)

    marker = "@pytest.mark.nonblocking(concurrency=4)"
    with_us = endings(marker=marker, fixtures=", virtual_user", when=WHEN)
    always = dict.fromkeys(WHEN, "True")
    assert with_us == endings("-p", "no:nonblocking", marker="", fixtures="", when=always)
    assert len(with_us) == 2 * 6 + 1


@pytest.mark.parametrize(
    ("ends", "status"), [('pytest.exit("enough", 7)', 7), ("raise KeyboardInterrupt", 2)]
)
def test_a_body_that_ends_the_session_ends_it(write, ends, status):
    project = write(
        f"""
@pytest.mark.nonblocking(concurrency=4)
async def test_it(virtual_user):
    await anyio.sleep(0.001)
    if virtual_user() == 2:
        {ends}
"""
    )
    result = project.runpytest_subprocess(timeout=LIMIT)
    assert result.ret == status
    assert not (project.path / "next").exists()


BREAKS_TASKS = """
class Factory:
    left = {count}

    def __call__(self, loop, coroutine, **keywords):
        self.left -= 1
        if self.left < 0:
            raise ZeroDivisionError("no more tasks")
        return asyncio.Task(coroutine, loop=loop, **keywords)

FACTORY = Factory()

@pytest.mark.nonblocking(concurrency=4)
async def test_it():
    await anyio.sleep(0.001)
    if asyncio.get_running_loop().get_task_factory() is None:
        asyncio.get_running_loop().set_task_factory(FACTORY)
"""


@pytest.mark.parametrize("count", [0, 4])
def test_a_task_factory_that_raises_is_named_as_what_ended_the_measurement(pytester, count):
    body = BREAKS_TASKS.format(count=count)
    pytester.makepyfile(HEAD.format(backend=LOOPS["asyncio"], body=body))
    result = pytester.runpytest_subprocess("-W", "always", timeout=LIMIT)
    result.stdout.fnmatch_lines(
        [
            "*test_it is not-measured: the loop's task factory raised ZeroDivisionError: no more "
            "tasks*",
            "nonblocking: 1 measured: 1 not-measured",
        ]
    )
    assert "report it" not in result.stdout.str()
    assert "_copy' was never awaited" not in result.stdout.str()


PRESSED = """
import atexit, signal
from asyncio import events

CALLS = []

def state():
    return events.Handle._run, signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGURG)

def leave(before=state()):
    assert state() == before
    pathlib.Path("undone").touch()

atexit.register(leave)

async def work():
    CALLS.append(1)
    number = len(CALLS)
    await anyio.sleep(0.001)
    if number >= {call}:
        pathlib.Path("reached").touch()
        {waits}

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("no lifespan")
    await work()
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body", "body": b"ok"}})

@pytest.fixture
def nonblocking_app():
    return app

@pytest.mark.nonblocking(concurrency=10)
async def test_it({fixture}):
    {body}
"""
TRANSPORTS = {
    "body": ("", "await work()", ()),
    "asgi": ("nonblocking_client", 'await nonblocking_client.get("/")', ()),
    "uvicorn": (
        "nonblocking_client",
        'await nonblocking_client.get("/")',
        ("--nonblocking-transport=uvicorn",),
    ),
}
PHASES = {"warm-up": 1, "single run": 3, "burst": 12}


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.faults(every=7)
@pytest.mark.parametrize("presses", [1, 4])  # a key that is held down sends several
# Each later call blocks too: a burst of 8 for longer than LIMIT, unless each is interrupted.
@pytest.mark.parametrize("waits", ["await anyio.sleep(600)", "time.sleep(12)"])
@pytest.mark.parametrize(("transport", "phase"), [
    ("body", "burst"), ("asgi", "warm-up"), ("asgi", "single run"), ("asgi", "burst"),
    ("uvicorn", "burst"),
])  # fmt: skip
def test_control_c_ends_the_run(write, request, transport, phase, waits, presses):
    if transport == "uvicorn":
        pytest.importorskip("uvicorn", reason="uvicorn is not installed")
        if "trio" in request.node.name:
            pytest.skip("a server's loop is asyncio's")
    fixture, body, flags = TRANSPORTS[transport]
    project = write(PRESSED.format(call=PHASES[phase], waits=waits, fixture=fixture, body=body))
    command = [sys.executable, "-m", "pytest"]
    run = project.popen(
        [*command, "-s", "--nonblocking-report=report.json", *flags],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    end = time.monotonic() + LIMIT
    while not (project.path / "reached").exists() and time.monotonic() < end:
        time.sleep(0.05)
    for _ in range(presses):
        run.send_signal(signal.SIGINT)
        time.sleep(0.05)
    said, _ = run.communicate(timeout=LIMIT)
    assert run.returncode == pytest.ExitCode.INTERRUPTED, said.decode()
    assert b"Traceback" not in said, said.decode()
    assert (project.path / "undone").exists()
    assert b"nonblocking: 1 measured: 1 not-measured" in said
    assert not (project.path / "next").exists()
    assert '"not-measured"' in (project.path / "report.json").read_text("utf-8")
