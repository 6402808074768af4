"""A time-out comes on every kind of loop, whatever becomes of what samples the loop."""

import sys

import pytest

LOOPS = {
    "asyncio": (("asyncio", {}), "asgi"),
    "asyncio-debug": (("asyncio", {"debug": True}), "asgi"),
    "uvloop": (("asyncio", {"use_uvloop": True}), "asgi"),
    "trio": (("trio", {}), "asgi"),
    "uvicorn": (("asyncio", {}), "uvicorn"),
}
APP = """
import anyio

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("no lifespan here")
    if scope["path"] == "/hang":
        await anyio.sleep_forever()
    await anyio.sleep(0.005)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
"""
TESTS = """
import pytest
from webapp import app

@pytest.fixture
def nonblocking_app():
    return app

@pytest.fixture
def anyio_backend():
    return {backend}

@pytest.fixture
def dead_watchdog(monkeypatch, nonblocking):
    def fault(*args, **kwargs):
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr("pytest_nonblocking.sentinel.watchdog.Watchdog._look", fault)

pytestmark = [pytest.mark.anyio, pytest.mark.nonblocking(concurrency=4, timeout="0.5s")]

async def test_hangs(dead_watchdog, nonblocking_client):
    await nonblocking_client.get("/hang")

async def test_answers(dead_watchdog, nonblocking_client):
    assert (await nonblocking_client.get("/")).status_code == 200

# It looks once in half of the smaller limit.
@pytest.mark.nonblocking(concurrency=4, timeout="0.5s", max_lag="400s", max_blocked="400s")
async def test_hangs_unseen(nonblocking_client):
    await nonblocking_client.get("/hang")
"""


@pytest.mark.parametrize("kind", LOOPS)
def test_a_hang_ends_however_the_watchdog_fares_and_a_dead_one_leaves_no_verdict(pytester, kind):
    backend, transport = LOOPS[kind]
    for name in ("uvloop", "trio", "uvicorn"):
        if name in kind:
            pytest.importorskip(name, reason=f"{name} is not installed")
    pytester.makepyfile(webapp=APP, test_it=TESTS.format(backend=backend))
    flags = "-v", "-W", "always", f"--nonblocking-transport={transport}"
    result = pytester.runpytest_subprocess(*flags, timeout=60)
    result.assert_outcomes(passed=1, failed=2, warnings=1)
    never = "nonblocking: GET /hang does not finish, even alone"
    result.stdout.fnmatch_lines(["_* test_hangs _*", never, "_* test_hangs_unseen _*", never])
    result.stdout.fnmatch_lines(["*is not-measured*ZeroDivisionError: a fault of ours*"])


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_body_that_waits_for_too_long_is_named_on_either_loop(pytester, backend):
    pytest.importorskip(backend, reason=f"{backend} is not installed")
    pytester.makepyfile(
        f"""
        import anyio, pytest

        @pytest.fixture
        def anyio_backend():
            return "{backend}"

        @pytest.mark.anyio
        @pytest.mark.nonblocking(timeout="0.5s")
        async def test_it():
            await anyio.sleep(30)
        """
    )
    result = pytester.runpytest_subprocess(timeout=60)
    result.stdout.fnmatch_lines(["  where    *.py:* in test_it", "*await anyio.sleep(30)*"])


# Code that Python can neither cancel nor interrupt

UNBREAKABLE = """
import ctypes, time, pytest
from webapp import app

class Until(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))

def hold_the_gil():
    until = time.monotonic() + 2
    while time.monotonic() < until:
        ctypes.PyDLL(None).usleep(700_000)

def wait_for_a_mutex():
    libc = ctypes.CDLL(None)
    mutex = ctypes.create_string_buffer(64)
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_timedlock(mutex, ctypes.byref(Until(int(time.time()) + 3, 0)))

@pytest.fixture
def soon(monkeypatch):
    monkeypatch.setattr("pytest_nonblocking.load.burst._GRACE", 0.5)

@pytest.mark.nonblocking(concurrency=4, timeout="0.3s")
async def test_it(soon, nonblocking):
    {name}()

def test_after():
    import faulthandler, gc
    assert not [one for one in gc.get_referents(faulthandler) if hasattr(one, "fileno")]
"""


@pytest.mark.skipif(sys.platform != "linux", reason="calls functions of Linux's C library")
@pytest.mark.parametrize("name", ["hold_the_gil", "wait_for_a_mutex"])
@pytest.mark.parametrize("flags", [(), ("-o", "faulthandler_timeout=50")], ids=["ours", "theirs"])
def test_the_stacks_are_printed_where_nothing_can_end_a_run(pytester, name, flags):
    pytester.makepyfile(webapp=APP, test_it=UNBREAKABLE.replace("{name}", name))
    result = pytester.runpytest_subprocess(*flags, timeout=60)
    result.assert_outcomes(failed=1, passed=1)
    shown = result.stderr.str()
    assert ("Timeout (0:00:00.8" in shown) is (not flags)
    assert (f"in {name}" in shown) is (not flags)
    if name == "wait_for_a_mutex" and not flags:
        assert "nonblocking: a run still goes on 0.5 s after its timeout (0.3 s)" in shown
