"""Faults around a test: what other plugins, its fixtures and its process do to the measurement.

Each entry is a pytest of its own under a hard time limit; the next test finds nothing left behind.
"""

import sys
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.faults(every=2)

CONFTEST = """
import os, signal, threading, time
import pytest
from asyncio import events

def state():
    return events.Handle._run, [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGURG)]

BEFORE = state()

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("no lifespan")
    {handler}
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body", "body": b"ok"}})

@pytest.fixture
def nonblocking_app():
    return app

{fixture}
"""
TESTS = """
import asyncio, threading, time
import pytest
from conftest import BEFORE, state

@pytest.mark.asyncio(loop_scope="{scope}")
@pytest.mark.nonblocking(concurrency=4, timeout="{timeout}")
async def test_it({fixtures}):
    {body}

@pytest.mark.asyncio(loop_scope="{scope}")
async def test_after():
    pass

def test_nothing_is_left():
    time.sleep(0.1)
    assert state() == BEFORE
    assert not [t.name for t in threading.enumerate() if "nonblocking" in t.name]
"""
GET = 'assert (await nonblocking_client.get("/")).status_code == 200'


class Fault(NamedTuple):
    """What surrounds a test, and what it prints."""

    outcomes: dict[str, int]
    lines: list[str]
    body: str = GET
    fixtures: str = "nonblocking_client"
    handler: str = "pass"
    fixture: str = ""
    flags: tuple[str, ...] = ()
    scope: str = "function"
    timeout: str = "10s"
    needs: str = "pytest"


NO_THREADS = """
@pytest.fixture
def no_threads(monkeypatch):
    def start(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
"""
OTHER_THREADS = """
@pytest.fixture
def other_threads(monkeypatch):
    def refuse(*arguments, **more):
        raise AssertionError("a thread of the test's own")

    monkeypatch.setattr(threading, "Thread", refuse)
    monkeypatch.setattr(threading, "Timer", refuse)
    monkeypatch.setattr(threading, "excepthook", None)  # with which no thread can be made
"""
HANDLES_SIGURG = """
@pytest.fixture
def handles_sigurg():
    calls = []
    handler = lambda *_: calls.append(1)
    before = signal.signal(signal.SIGURG, handler)
    yield
    assert calls == [1]  # the app's own, and none of ours
    assert signal.signal(signal.SIGURG, before) is handler

@pytest.fixture
def dumps_at_sigurg(tmp_path):
    import faulthandler
    with open(tmp_path / "stacks", "w+") as file:
        faulthandler.register(signal.SIGURG, file, all_threads=False)
        yield
        faulthandler.unregister(signal.SIGURG)
        file.seek(0)
        assert file.read().count("most recent call first") == 1
"""
URGENT = """
    signal.raise_signal(signal.SIGURG)
    while True:
        time.sleep(0.05)
"""
NAMES = """
anyio.CancelScope anyio.Event anyio.lowlevel.checkpoint asyncio.all_tasks asyncio.Condition
asyncio.create_task asyncio.current_task asyncio.ensure_future asyncio.Event asyncio.gather
asyncio.get_running_loop asyncio.Lock asyncio.new_event_loop asyncio.Queue asyncio.run
asyncio.run_coroutine_threadsafe asyncio.Semaphore asyncio.shield asyncio.sleep asyncio.to_thread
asyncio.wait asyncio.wait_for gc.collect gc.disable gc.enable gc.freeze gc.get_referents
gc.isenabled httpx.AsyncClient importlib.metadata.entry_points json.dumps json.JSONDecoder
json.JSONEncoder json.loads linecache.getline linecache.getlines math.ceil math.comb math.sqrt
os.close os.cpu_count os.getpid os.listdir os.open os.read os.readlink os.sched_getaffinity
os.waitid platform.platform random.random statistics.mean statistics.median subprocess.Popen
sys._current_frames sys.getprofile sys.getswitchinterval sys.gettrace threading.Condition
threading.enumerate threading.Event threading.get_native_id threading.Lock threading.Semaphore
threading.Thread threading.Timer time.monotonic_ns time.perf_counter_ns time.process_time_ns
time.sleep time.thread_time_ns
"""
OTHER_NAMES = f"""
NAMES = {NAMES.split()}

@pytest.fixture
def other_names(monkeypatch):
    import importlib, httpx

    for name in NAMES:
        module, _, function = name.rpartition(".")

        def refuse(*arguments, name=name, **more):
            raise AssertionError(f"{{name}} is the test's own")

        monkeypatch.setattr(importlib.import_module(module), function, refuse, raising=False)
    yield
    monkeypatch.undo()
"""
FILES = """
@pytest.fixture
def no_files(monkeypatch):
    import builtins, io

    def refuse(*arguments, **more):
        raise AssertionError("open is the test's own")

    monkeypatch.setattr(builtins, "open", refuse)
    monkeypatch.setattr(io, "open", refuse)
    yield
    monkeypatch.undo()
"""
CHANGES_ITS_PROCESS = """
    import asyncio, gc, shutil, sys, tempfile, warnings
    asyncio.set_event_loop(None)
    gc.disable()
    gc.freeze()
    gc.callbacks.clear()
    os.chdir(folder := tempfile.mkdtemp())
    shutil.rmtree(folder)
    os.environ.clear()
    sys.setprofile(lambda *_: None)
    sys.setswitchinterval(1.0)
    sys.stdout = sys.stderr = threading.excepthook = sys.unraisablehook = None
    warnings.simplefilter("error")
"""
MEASURES_ONLY = ("--nonblocking-mode=report",)  # a fork takes milliseconds of the loop
BY_SIGNAL = ("--timeout=3", "--timeout-method=signal", "-o", "timeout_func_only=true")
MEASURED = "nonblocking: 1 measured: 1 [pi]*"
"""Passed, or inconclusive on a busy machine."""
FAULTS = {
    "pytest-timeout-ends-a-wait": Fault(
        {"failed": 1, "passed": 2},
        ["*Timeout (>3.0s) from pytest-timeout*"],
        "await asyncio.Event().wait()",
        "",
        flags=BY_SIGNAL,
        timeout="60s",
        needs="pytest_timeout",
    ),
    "pytest-timeout-ends-a-block": Fault(
        {"failed": 1, "passed": 2},
        ["*Timeout (>3.0s) from pytest-timeout*"],
        handler="time.sleep(60)",
        flags=BY_SIGNAL,
        timeout="60s",
        needs="pytest_timeout",
    ),
    "no-thread-can-be-started": Fault(
        {"passed": 3, "warnings": 1},
        ["*is not-measured: no thread could be started for the measurement (can't start new*"],
        fixtures="nonblocking_client, no_threads",
        fixture=NO_THREADS,
    ),
    "threads-are-patched": Fault(
        {"passed": 3},
        [MEASURED],
        fixtures="nonblocking_client, other_threads",
        fixture=OTHER_THREADS,
    ),
    "names-of-libraries-are-patched": Fault(
        {"passed": 3},
        [MEASURED],
        fixtures="other_names, nonblocking_client",
        fixture=OTHER_NAMES,
    ),
    "no-file-can-be-opened": Fault(
        {"passed": 3},
        [MEASURED],
        fixtures="no_files, nonblocking_client",
        fixture=FILES,
    ),
    "the-app-changes-its-process": Fault(
        {"passed": 3},
        [MEASURED],
        handler=CHANGES_ITS_PROCESS,
        flags=MEASURES_ONLY,
    ),
    "a-child-that-is-forked-leaves-its-copy": Fault(
        {"passed": 3},
        [MEASURED],
        """
    import os, sys
    child = os.fork()
    if not child:
        sys.exit(3)
    for _ in range(600):
        if (ended := os.waitpid(child, os.WNOHANG))[0]:
            break
        await asyncio.sleep(0.005)
    assert os.waitstatus_to_exitcode(ended[1]) == 3
""",
        "",
        flags=MEASURES_ONLY,
    ),
    **{
        f"{who}-handles-sigurg": Fault(
            {"failed": 1, "passed": 2},
            ["nonblocking: GET / does not finish*"],
            fixtures=f"{fixture}, nonblocking_client",
            fixture=HANDLES_SIGURG,
            handler=URGENT,
            timeout="0.5s",
        )
        for who, fixture in (("the-app", "handles_sigurg"), ("faulthandler", "dumps_at_sigurg"))
    },
    "a-shared-loop-goes-on-without-what-spins": Fault(
        {"failed": 1, "passed": 2},
        ["nonblocking: test_it does not finish*"],
        """
    while True:
        try:
            for _ in range(100):
                await asyncio.sleep(0)
            await asyncio.sleep(0.05)  # so that a busy machine does not take most of the time
        except BaseException:
            pass
""",
        "",
        scope="session",
        timeout="0.5s",
    ),
}
for _kind in ("names-of-libraries-are-patched", "no-file-can-be-opened"):
    FAULTS[f"{_kind}-and-the-app-blocks"] = FAULTS[_kind]._replace(
        outcomes={"passed": 2, "failed": 1},
        lines=["nonblocking: 1 measured: 1 fail"],
        handler="import select; select.select([], [], [], 0.05)",
    )


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("kind", FAULTS)
def test_what_surrounds_a_test_neither_breaks_nor_outlives_it(pytester, kind):
    fault = FAULTS[kind]
    pytest.importorskip(fault.needs, reason=f"{fault.needs} is not installed")
    pytester.makeconftest(CONFTEST.format(handler=fault.handler, fixture=fault.fixture))
    pytester.makepyfile(test_it=TESTS.format(**fault._asdict()))
    pytester.makeini("[pytest]\npythonpath = .\n")
    flags = ("-p", "no:randomly", "--nonblocking-inconclusive=warn", "-W", INCONCLUSIVE)
    result = pytester.runpytest_subprocess(*flags, *fault.flags, timeout=90)
    result.assert_outcomes(**fault.outcomes)
    result.stdout.fnmatch_lines(fault.lines)


INCONCLUSIVE = "ignore::pytest_nonblocking.categories.InconclusiveWarning"
IN_A_THREAD = """
import threading
import pytest

thread = threading.Thread(target=lambda: pytest.main(["-p", "no:randomly", "tests"]))
thread.start()
thread.join()
"""


@pytest.mark.parametrize("step", ["time.sleep(0.1)", "pass"], ids=["sleeps", "computes"])
def test_a_callback_that_never_ends_is_interrupted_where_pytest_runs_in_a_thread(pytester, step):
    pytester.makepyfile(
        **{
            "run": IN_A_THREAD,
            "tests/test_it": f"""
                import time, pytest

                @pytest.mark.nonblocking(concurrency=4, timeout="0.5s")
                async def test_it():
                    while True:
                        {step}

                def test_after():
                    pass
                """,
        }
    )
    result = pytester.run(sys.executable, "run.py", timeout=60)
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["nonblocking: test_it does not finish"])


# By kind: the plain test's marker, and what keeps it from ending in its second run.
OWN_LOOPS = {
    "waits": "await asyncio.Event().wait()",
    "blocks": "time.sleep(600)",
}


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("kind", OWN_LOOPS)
def test_a_plain_test_that_hangs_in_a_loop_of_its_own_is_a_time_out_in_each_run(pytester, kind):
    pytester.makepyfile(
        f"""
        import asyncio, signal, time, pytest

        runs = []

        async def work():
            runs.append(1)
            await asyncio.sleep(0.001)
            if len(runs) == 3:
                {OWN_LOOPS[kind]}

        @pytest.mark.nonblocking(timeout="1s")
        def test_it():
            asyncio.run(work())

        def test_after():
            assert signal.getsignal(signal.SIGURG) == signal.SIG_DFL
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:randomly", timeout=60)
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["nonblocking: test_it does not finish*"])


def test_a_test_on_trio_whose_fixture_patches_open_is_measured(pytester):
    pytester.makepyfile(
        "import pytest, time"
        + FILES
        + """

@pytest.fixture
def anyio_backend():
    return "trio"

@pytest.mark.anyio
@pytest.mark.nonblocking(concurrency=4)
async def test_it(no_files):
    time.sleep(0.05)
"""
    )
    result = pytester.runpytest_subprocess("-p", "no:randomly", timeout=60)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["nonblocking: 1 measured: 1 fail"])
