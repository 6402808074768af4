"""Measuring without a pytest session: what a script of the user's gets, on every loop."""

import asyncio
import subprocess
import sys
import time

import anyio
import pytest

from pytest_nonblocking import LoopSentinel, app_client, measure, virtual_user
from pytest_nonblocking.analysis import verdict
from pytest_nonblocking.load import scenario as of_plugin

SCRIPT = """
import sys, time

import anyio
from pytest_nonblocking import LoopSentinel, app_client, measure

async def app(scope, receive, send):
    if scope["path"] == "/report":
        time.sleep(0.03)
    await anyio.sleep(0.01)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})

async def main():
    async with app_client(app) as client:
        for path in ("/report", "/items"):
            outcome = await measure(lambda: client.get(path), concurrency=8)
            print(outcome.judgement.verdict, outcome.target, outcome.nodeid, outcome.notes)
            print(outcome.message)
    with LoopSentinel() as sentinel:
        time.sleep(0.03)
    print("blocked", sentinel.max_blocked > 0.02)
    print("plugin", "pytest_nonblocking.plugin" in sys.modules)

anyio.run(main, backend=BACKEND, backend_options=OPTIONS)
"""
LOOPS = {
    "asyncio": ("asyncio", {}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
    "trio": ("trio", {}),
}


@pytest.mark.parametrize("loop", LOOPS)
def test_a_script_measures_the_requests_of_an_app_on_its_own_loop(tmp_path, loop):
    pytest.importorskip(loop, reason=f"{loop} is not installed")
    backend, options = LOOPS[loop]
    text = SCRIPT.replace("BACKEND", repr(backend)).replace("OPTIONS", repr(options))
    (tmp_path / "load.py").write_text(text, "utf-8")
    done = subprocess.run(
        [sys.executable, "load.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "fail GET /report load.py::<lambda> ()"
    assert lines[1] == "nonblocking: GET /report blocks the event loop"
    assert "  where    load.py:9 in app" in lines
    assert lines[-4:] == [
        "pass GET /items load.py::<lambda> ()",
        "None",
        "blocked True",
        "plugin False",
    ]


async def pause():
    await asyncio.sleep(0.01)


async def block():
    time.sleep(0.03)


class Pause:
    """A scenario that is no function."""

    async def __call__(self):
        await pause()


def test_an_outcome_is_named_after_its_scenario():
    assert asyncio.run(measure(pause, concurrency=2)).nodeid.endswith("test_script.py::pause")
    assert asyncio.run(measure(Pause(), concurrency=2)).target == "Pause"


def test_settings_are_the_markers():
    allowed = asyncio.run(measure(block, concurrency=8, allow="blocking-call", max_lag="1s"))
    assert allowed.judgement.allowed == ("blocking-call",)
    assert allowed.limits["max_lag"].value == 1.0
    assert allowed.limits["max_lag"].origin == "measure()"
    assert allowed.limits["max_blocked"].origin == "default"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"max_lag": "long"}, r"^measure\(\): nonblocking setting max_lag is 'long', but must be"),
        ({"limit": 1}, r"^measure\(\): nonblocking has no setting 'limit'; valid settings: "),
        ({"report": "a.json"}, r"^measure\(\): 'report' applies to the whole run"),
        ({"app": "a:b", "mode": "off"}, r"^measure\(\): app, mode has no effect outside of a pyt"),
    ],
)
def test_a_wrong_setting_is_an_error_before_anything_runs(settings, said):
    ran = []

    async def body():
        ran.append(1)

    with pytest.raises(pytest.UsageError, match=said):
        asyncio.run(measure(body, **settings))
    assert not ran


def test_a_copy_that_fails_raises_its_own_exception_and_the_loop_is_left_as_it_was():
    async def body():
        await pause()
        assert virtual_user() < 3, "the fourth"

    async def main():
        before = asyncio.events.Handle._run
        with pytest.raises(AssertionError, match="the fourth") as failed:
            await measure(body, concurrency=8)
        assert asyncio.events.Handle._run is before
        if sys.version_info >= (3, 11):
            (note,) = failed.value.__notes__
            assert note.startswith("The scenario passed alone, but failed as copy 3 of 8")

    asyncio.run(main())


def test_what_fails_alone_has_no_note():
    async def body():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as failed:
        asyncio.run(measure(body))
    assert not hasattr(failed.value, "__notes__")


def test_a_fault_of_the_measurement_is_no_fault_of_the_scenario(monkeypatch):
    ran = []

    async def body():
        ran.append(1)

    async def broken(*args, **kwargs):
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr(of_plugin, "measure", broken)
    outcome = asyncio.run(measure(body))
    assert outcome.judgement.verdict == "not-measured"
    assert "ZeroDivisionError: a fault of ours" in outcome.notes[0]
    assert ran == [1]


def test_a_fault_of_the_judgement_is_not_measured(monkeypatch):
    def broken(*args):
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr(verdict, "judge", broken)
    outcome = asyncio.run(measure(pause, concurrency=2))
    assert outcome.judgement.verdict == "not-measured"
    assert "ZeroDivisionError: a fault of ours" in outcome.notes[0]


def test_a_measurement_within_a_sentinel_counts_for_both():
    async def main():
        with LoopSentinel() as sentinel:
            outcome = await measure(block, concurrency=2)
        return outcome, sentinel

    outcome, sentinel = asyncio.run(main())
    assert outcome.judgement.verdict == "fail"
    assert sentinel.max_blocked > 0.02


def test_two_measurements_at_once_are_an_error_since_each_would_measure_the_other():
    async def main():
        both = measure(pause, concurrency=2), measure(pause, concurrency=2)
        first, second = await asyncio.gather(*both, return_exceptions=True)
        assert first.judgement.verdict == "pass"
        assert isinstance(second, RuntimeError)
        assert "another measurement runs on this event loop" in str(second)
        return await measure(pause, concurrency=2)

    assert asyncio.run(main()).judgement.verdict == "pass"


def test_a_scenario_measures_no_scenario_of_its_own():
    async def main():
        with pytest.raises(RuntimeError, match="await it before the next"):
            await measure(lambda: measure(pause))
        return await measure(pause, concurrency=2)

    assert asyncio.run(main()).judgement.verdict == "pass"


class App:
    """An app that records its lifespan, and fails at the message ``broken``."""

    def __init__(self, broken=""):
        self.events = []
        self._broken = broken

    async def __call__(self, scope, receive, send):
        assert scope["type"] == "lifespan"
        for kind in ("startup", "shutdown"):
            await receive()
            await anyio.sleep(0.02)
            self.events.append(kind)
            if kind == self._broken:
                await send({"type": f"lifespan.{kind}.failed", "message": "no database"})
                return
            await send({"type": f"lifespan.{kind}.complete"})


def test_the_lifespan_spans_the_block_even_if_it_is_cancelled():
    app = App()

    async def main():
        with anyio.move_on_after(0.1):
            async with app_client(app):
                app.events.append("block")
                await anyio.sleep(1)

    asyncio.run(main())
    assert app.events == ["startup", "block", "shutdown"]


@pytest.mark.parametrize("broken", ["startup", "shutdown"])
def test_a_lifespan_that_fails_is_an_error(broken):
    async def main():
        async with app_client(App(broken)):
            pass

    with pytest.raises(RuntimeError, match="no database"):
        asyncio.run(main())


def test_what_is_no_app_is_an_error():
    async def main():
        async with app_client(42):
            pass

    with pytest.raises(TypeError, match=r"the app is 42, .* or give `app_client` one"):
        asyncio.run(main())


def test_after_the_block_its_client_is_not_looked_at():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def main():
        async with app_client(app) as client:
            inside = await measure(lambda: client.get("/items"), concurrency=2)
        return inside, await measure(pause, concurrency=2)

    inside, after = asyncio.run(main())
    assert [one.path for one in inside.evidence.sent] == ["/items"]
    assert after.target == "pause"
    assert inside.packages == {__name__}
    assert after.packages == set()
