"""The fixtures, with and without the marker."""

import re

import pytest


def test_the_app_setting_is_imported(project):
    project.makeconftest("")
    project.makepyfile(
        """
        async def get(client):
            assert (await client.get("/")).status_code == 200

        def test_it(nonblocking_client):
            import asyncio
            asyncio.run(get(nonblocking_client))
        """
    )
    project.runpytest("--nonblocking-app=webapp:app").assert_outcomes(passed=1)


def test_error_when_no_app_is_given(pytester):
    pytester.makepyfile("def test_it(nonblocking_client): pass")
    result = pytester.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*nonblocking: no application is configured. Define a fixture*"])


def test_error_when_the_app_cannot_be_imported(pytester):
    pytester.makepyfile(
        broken="import json\nimport does_not_exist", faulty="def made():\n    return 1 / 0"
    )
    pytester.makepyfile("def test_it(nonblocking_client): pass")
    for target, shown in [
        (
            "nowhere:app",
            "*importing 'nowhere' raised ModuleNotFoundError: No module named 'nowhere'",
        ),
        ("broken:app", "*importing 'broken' raised ModuleNotFoundError: *exist' (*broken.py:2)"),
        ("faulty:made()", "*the factory raised ZeroDivisionError: division by zero (*faulty.py:2)"),
        ("os:app", "*'os' has no 'app'"),
        ("os:sep", "*it is a str, not an ASGI application"),
    ]:
        result = pytester.runpytest("-o", "pythonpath=.", f"--nonblocking-app={target}")
        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines([shown])
        result.stdout.no_fnmatch_line("*another exception occurred*")


def test_the_lifespan_spans_the_body_on_the_tests_loop(pytester):
    pytester.makepyfile(
        """
        import asyncio, contextlib, pytest
        from fastapi import FastAPI, Request
        events = []

        @contextlib.asynccontextmanager
        async def lifespan(app):
            events.append("up")
            yield {"loop": asyncio.get_running_loop()}
            events.append("down")

        app = FastAPI(lifespan=lifespan)

        @app.get("/")
        async def root(request: Request):
            return request.state.loop is asyncio.get_running_loop()

        @pytest.fixture
        def nonblocking_app():
            return app

        @pytest.mark.asyncio
        async def test_unmarked(nonblocking_client):
            assert (await nonblocking_client.get("/")).json() is True
            assert events == ["up"]

        @pytest.mark.nonblocking(concurrency=8)
        async def test_marked(nonblocking_client):
            assert (await nonblocking_client.get("/")).json() is True

        def test_events():
            assert events == ["up", "down"] * 2
        """
    )
    pytester.runpytest().assert_outcomes(passed=3)


def test_a_failed_start_up_is_reported_as_what_it_is(pytester):
    pytester.makepyfile(
        """
        import contextlib, pytest
        from fastapi import FastAPI

        @contextlib.asynccontextmanager
        async def lifespan(app):
            raise OSError("the database is down")
            yield

        @pytest.fixture
        def nonblocking_app():
            return FastAPI(lifespan=lifespan)

        @pytest.mark.nonblocking
        async def test_it(nonblocking_client):
            await nonblocking_client.get("/")
        """
    )
    result = pytester.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*AppStartupError: application startup failed:*"])
    result.stdout.fnmatch_lines(["*the database is down*"])


TOLD = """
import asyncio, contextlib, pytest

async def app(scope, receive, send):
    assert scope["type"] == "lifespan"
    await receive()
    if FAILS == "start-up":
        raise OSError("the database is down")
    await send({"type": "lifespan.startup.complete"})
    await receive()
    raise OSError("the flush failed")

@pytest.fixture
def nonblocking_app():
    return app

def cancel_all():
    for task in asyncio.all_tasks():
        task.cancel()

@pytest.mark.asyncio
@pytest.mark.nonblocking(concurrency=2)
async def test_it(FIXTURE):
    await asyncio.sleep(0.001)
    BODY
    await asyncio.sleep(0.001)
"""


@pytest.mark.parametrize(
    ("fixture", "fails", "body", "shown"),
    [
        (
            "nonblocking_client",
            "start-up",
            "pass",
            "E*AppStartupError: application startup failed: OSError: the database is down",
        ),
        (
            "nonblocking_client",
            "shutdown",
            "pass",
            "E*AppShutdownError: application shutdown failed: OSError: the flush failed",
        ),
        (
            "virtual_user",
            "",
            "asyncio.current_task().cancel()",
            "E*RuntimeError: the test body cancelled itself",
        ),
        ("virtual_user", "", "cancel_all()", "E*CancelledError"),
    ],
    ids=["start-up", "shutdown", "cancelled itself", "cancelled burst"],
)
def test_a_failure_that_we_raise_shows_its_reason_and_none_of_our_source(
    pytester, fixture, fails, body, shown
):
    module = TOLD.replace("FAILS", repr(fails)).replace("FIXTURE", fixture).replace("BODY", body)
    pytester.makepyfile(module)
    result = pytester.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([shown])
    failure = result.stdout.str().partition("= FAILURES =")[2]
    assert not re.search(r"pytest_nonblocking/\S+:\d+|runners\.py", failure), failure
    if fails:
        result.stdout.fnmatch_lines([">*raise OSError(*"])
    assert "lifespan.py:" in pytester.runpytest("--full-trace").stdout.str() or not fails


def test_a_handler_that_raises_reaches_the_test(run_get):
    result = run_get("/boom")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*ValueError: the handler is broken"])


def test_nonblocking_measures_several_things_in_one_test(pytester):
    pytester.makepyfile(
        """
        import asyncio, time, pytest

        @pytest.mark.asyncio
        async def test_it(nonblocking):
            async def blocking():
                time.sleep(0.05)

            async def fine():
                await asyncio.sleep(0.01)

            bad = await nonblocking.measure(blocking, concurrency=8)
            good = await nonblocking.measure(fine, concurrency=8)
            assert (bad.judgement.verdict, bad.judgement.cause) == ("fail", "blocking-call")
            assert bad.culprit.code == "time.sleep(0.05)"
            assert good.judgement.verdict == "pass"
            nonblocking.check(good)
            with pytest.raises(pytest.fail.Exception, match="blocks the event loop"):
                nonblocking.check(bad)
            with pytest.raises(pytest.UsageError, match="no setting 'speed'"):
                await nonblocking.measure(fine, speed=1)
        """
    )
    pytester.runpytest().assert_outcomes(passed=1)


def test_loop_sentinel_is_a_context_manager_around_any_code(pytester):
    pytester.makepyfile(
        """
        import asyncio, time, pytest

        @pytest.mark.asyncio
        async def test_it(loop_sentinel):
            with loop_sentinel:
                await asyncio.sleep(0.01)
            assert loop_sentinel.max_blocked < 0.04
            with loop_sentinel:
                time.sleep(0.05)
                await asyncio.sleep(0)
            assert loop_sentinel.max_blocked > 0.04
            assert loop_sentinel.max_lag >= loop_sentinel.max_blocked
            assert loop_sentinel.budget.blocked > 0.04
            assert not loop_sentinel.running
        """
    )
    pytester.runpytest().assert_outcomes(passed=1)


def test_the_live_sentinel_can_be_read_in_a_measured_test(pytester):
    pytester.makepyfile(
        """
        import asyncio, pytest

        @pytest.mark.nonblocking(concurrency=8)
        async def test_it(loop_sentinel):
            await asyncio.sleep(0.01)
            assert loop_sentinel.running
            assert loop_sentinel.budget.wall > 0
        """
    )
    pytester.runpytest().assert_outcomes(passed=1)
