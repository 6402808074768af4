"""The plugin undoes everything it did, on every path, and ends what hangs."""

import sys

import pytest

CHECKED = """
import asyncio, gc, signal, threading, time
import pytest
from asyncio import events

RUN = events.Handle._run
HANDLER = signal.getsignal(signal.SIGURG) if hasattr(signal, "SIGURG") else None

@pytest.fixture(autouse=True)
def nothing_left(request):
    callbacks, threads = list(gc.callbacks), set(threading.enumerate())
    yield
    assert events.Handle._run is RUN
    assert gc.callbacks == callbacks
    left = [t.name for t in set(threading.enumerate()) - threads if "nonblocking" in t.name]
    assert left == []
    if HANDLER is not None:
        assert signal.getsignal(signal.SIGURG) == HANDLER
"""

BODIES = {
    "pass": "await asyncio.sleep(0.01)",
    "fail": "time.sleep(0.05)",
    "exception": "raise ValueError",
    "skip": "pytest.skip('x')",
    "timeout": "await asyncio.Event().wait()",
}


@pytest.mark.parametrize("kind", BODIES)
def test_patches_and_threads_are_gone_after(pytester, kind):
    pytester.makeconftest(CHECKED)
    pytester.makepyfile(
        f"""
        import asyncio, time, pytest

        @pytest.mark.nonblocking(concurrency=8, timeout="0.3s")
        async def test_it():
            {BODIES[kind]}
        """
    )
    result = pytester.runpytest()
    outcomes = result.parseoutcomes()
    assert not {"error", "errors"} & set(outcomes), result.stdout.str()
    assert sum(outcomes.values()) == 1


def test_keyboard_interrupt_ends_the_run_and_leaves_no_patch(pytester):
    pytester.makeconftest(
        CHECKED
        + """
def pytest_unconfigure():
    print("PATCHED" if events.Handle._run is not RUN else "CLEAN")
"""
    )
    pytester.makepyfile(
        """
        import asyncio, pytest

        @pytest.mark.nonblocking
        async def test_it():
            await asyncio.sleep(0.01)
            raise KeyboardInterrupt
        """
    )
    result = pytester.runpytest_subprocess("-s")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert "CLEAN" in result.stdout.str()


def test_a_hang_ends_at_the_time_out_with_the_place_where_copies_wait(run_get):
    result = run_get("/hang", marker='(timeout="0.5s")')
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "nonblocking: GET /hang does not finish, even alone",
            "*0 of 1 copy finished within timeout=500 ms (from marker)",
            "*webapp.py:18 in app*",
            "*await asyncio.Event().wait()*",
        ]
    )


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals to interrupt a step")
def test_a_step_that_never_ends_is_interrupted_at_the_time_out(run_get):
    result = run_get("/stuck", marker='(timeout="0.5s")')
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*blocking-call*", "*webapp.py:20 in app*", "*time.sleep(3600)*"])


@pytest.mark.parametrize(
    "freeze",
    [
        "import freezegun; freezer = freezegun.freeze_time('2020-01-01', real_asyncio=True)",
        "import time_machine; freezer = time_machine.travel(0, tick=False)",
    ],
    ids=["freezegun", "time-machine"],
)
def test_frozen_clocks_neither_hang_nor_change_the_verdict(pytester, freeze):
    pytester.makepyfile(
        f"""
        import asyncio, time, pytest
        {freeze}
        real_sleep = time.sleep

        @pytest.fixture
        def frozen():
            freezer.start()
            yield
            freezer.stop()

        @pytest.mark.nonblocking(concurrency=8)
        async def test_blocking(frozen):
            real_sleep(0.05)

        @pytest.mark.nonblocking(concurrency=8)
        async def test_fine(frozen):
            await asyncio.sleep(0)
        """
    )
    result = pytester.runpytest_subprocess(timeout=60)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*test_blocking blocks the event loop"])


def test_a_patched_monotonic_clock_does_not_keep_a_hang_from_ending(pytester):
    pytester.makepyfile(
        """
        import asyncio, time, pytest

        @pytest.mark.nonblocking(concurrency=8, timeout="0.5s")
        async def test_it(monkeypatch):
            monkeypatch.setattr(time, "monotonic", lambda: 0.0)
            monkeypatch.setattr(time, "perf_counter_ns", lambda: 0)
            await asyncio.Event().wait()
        """
    )
    result = pytester.runpytest_subprocess(timeout=60)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*does not finish, even alone"])


@pytest.mark.parametrize(
    "target",
    [
        "pytest_nonblocking.sentinel.probes.probe.Probe._tick",
        "pytest_nonblocking.sentinel.watchdog.Watchdog._look",
        "pytest_nonblocking.analysis.verdict.judge",
        "pytest_nonblocking.analysis.attribution.find",
    ],
)
def test_a_fault_of_the_plugin_ends_as_not_measured(pytester, target):
    pytester.makepyfile(
        f"""
        import asyncio, pytest
        runs = []

        @pytest.fixture
        def broken(monkeypatch):
            import pytest_nonblocking.runner

            def fault(*args, **kwargs):
                raise ZeroDivisionError("a fault of ours")

            monkeypatch.setattr("{target}", fault)

        @pytest.mark.nonblocking(concurrency=8)
        async def test_it(broken):
            runs.append(1)
            await asyncio.sleep(0.02)

        def test_ran():
            assert runs
        """
    )
    result = pytester.runpytest("-v", "-W", "always")
    result.assert_outcomes(passed=2, warnings=1)
    result.stdout.fnmatch_lines(["*not-measured*", "*ZeroDivisionError: a fault of ours*"])


@pytest.mark.parametrize("raises", ["raise ValueError('its own')", "pytest.fail('its own')"])
def test_a_fault_after_the_failure_of_a_test_does_not_let_it_pass(pytester, raises):
    pytester.makepyfile(
        f"""
        import pytest
        from pytest_nonblocking.sentinel.system.thread_state import Witness

        def fault(self):
            raise OSError("a descriptor that the test has closed")

        @pytest.mark.nonblocking
        async def test_it(monkeypatch):
            monkeypatch.setattr(Witness, "close", fault)
            {raises}
        """
    )
    result = pytester.runpytest_subprocess("-W", "ignore")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*its own"])


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ("asyncio.sleep(0.02)", "*not-measured*ZeroDivisionError: a fault of ours*"),
        ("asyncio.Event().wait()", "*does not finish, even alone"),
    ],
)
def test_a_fault_of_the_watching_thread_hangs_nobody(pytester, body, shown):
    # Beside a child process, of which it learns whether it is busy; and where the body hangs.
    pytester.makepyfile(
        f"""
        import asyncio, subprocess, sys, pytest
        from pytest_nonblocking.sentinel.watchdog import Watchdog

        @pytest.fixture
        def broken(monkeypatch):
            def fault(*args, **kwargs):
                raise ZeroDivisionError("a fault of ours")
            monkeypatch.setattr(Watchdog, "_look", fault)

        @pytest.fixture
        def child():
            child = subprocess.Popen(
                [sys.executable, "-c", "input()"], stdin=subprocess.PIPE
            )
            yield
            child.communicate(b"end")

        @pytest.mark.nonblocking(concurrency=8, timeout="0.5s")
        async def test_it(broken, child):
            await {body}
        """
    )
    result = pytester.runpytest_subprocess("-v", "-W", "always", timeout=30)
    result.stdout.fnmatch_lines([shown])


def test_an_unknown_event_loop_is_not_measured_and_named(pytester):
    pytester.makepyfile(
        """
        import asyncio, pytest
        from pytest_nonblocking.sentinel import UnsupportedLoopError
        from pytest_nonblocking.sentinel.probes.asyncio_loop import AsyncioProbe

        @pytest.fixture
        def other_loop(monkeypatch):
            def refuse(*args):
                raise UnsupportedLoopError("otherloop.Loop")
            monkeypatch.setattr(AsyncioProbe, "__init__", refuse)

        @pytest.mark.nonblocking
        async def test_it(other_loop):
            await asyncio.sleep(0)
        """
    )
    result = pytester.runpytest("-v", "-W", "always")
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["*the event loop is otherloop.Loop*"])


def test_a_free_threaded_interpreter_is_not_measured(pytester):
    pytester.makepyfile(
        """
        import asyncio, sys, pytest

        @pytest.fixture
        def free_threaded(monkeypatch):
            monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)

        @pytest.mark.nonblocking
        async def test_it(free_threaded):
            await asyncio.sleep(0)
        """
    )
    result = pytester.runpytest("-v", "-W", "always")
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(
        ["*in a free-threaded interpreter, * use an interpreter with the GIL*"]
    )
