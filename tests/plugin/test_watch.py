"""``--nonblocking-watch``: lag and blocking in the one run of every coroutine test."""

import pytest

TESTS = """
import pytest

@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/", "/blocking"])
async def test_it(nonblocking_client, path):
    runs.append(path)
    assert (await nonblocking_client.get(path)).status_code == 200

runs = []

def test_runs():
    assert runs == ["/", "/blocking"]
"""


def test_a_test_that_blocks_fails_in_its_one_run(project):
    project.makepyfile(TESTS)
    result = project.runpytest("--nonblocking-watch", "-v")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            "nonblocking: GET /blocking blocks the event loop",
            "*cause*blocking-call: * ms off the CPU in one callback, limit max_blocked=5 ms *",
            "*where*webapp.py:* in app",
            "nonblocking: 2 measured: 1 pass, 1 fail",
        ]
    )


def test_a_block_before_the_first_await_fails(project):
    project.makepyfile(
        """
        import asyncio, time, pytest

        @pytest.mark.asyncio
        async def test_it():
            time.sleep(0.05)
            await asyncio.sleep(0)
        """
    )
    result = project.runpytest("--nonblocking-watch")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*blocking-call: * ms off the CPU in one callback*"])


COMPUTES = """
import pytest

def build():
    return sum(number * number for number in range(3_000_000))

class Service:
    async def find(self):
        return build()

@pytest.mark.asyncio
async def test_it():
    {body}
"""


def test_what_a_test_computes_itself_is_none_of_the_apps(project):
    project.makepyfile(COMPUTES.format(body="build()"))
    project.runpytest("--nonblocking-watch").assert_outcomes(passed=1)


def test_what_a_coroutine_computes_that_a_test_awaits_fails_it(project):
    project.makepyfile(COMPUTES.format(body="await Service().find()"))
    result = project.runpytest("--nonblocking-watch")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*cpu-on-loop: * of CPU time in one callback*", "*where*in build*"]
    )


def test_mocks_among_the_fixtures_of_a_test_are_not_searched_for_an_app(project):
    project.makepyfile(
        """
        import asyncio, pytest
        from unittest import mock

        class Counting(mock.AsyncMock):
            made = 0

            def _get_child_mock(self, **more):
                Counting.made += 1
                return super()._get_child_mock(**more)

        @pytest.fixture
        def service():
            return Counting()

        @pytest.mark.asyncio
        async def test_it(service):
            await asyncio.sleep(0)

        def test_few_were_made():
            assert Counting.made < 5
        """
    )
    project.runpytest("--nonblocking-watch", "-p", "no:randomly").assert_outcomes(passed=2)


def test_a_test_that_leaves_a_cancel_scope_open_ends_as_without_the_plugin(pytester):
    pytester.makepyfile(
        """
        import anyio, pytest

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.mark.anyio
        async def test_passes():
            anyio.CancelScope().__enter__()

        @pytest.mark.anyio
        async def test_fails():
            anyio.CancelScope().__enter__()
            raise LookupError("its own failure")
        """
    )
    result = pytester.runpytest("--nonblocking-watch")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["E*LookupError: its own failure"])
    result.stdout.no_fnmatch_line("*RuntimeError*")


def test_the_ini_file_switches_it_on_and_the_limits_hold(project):
    project.makepyfile(TESTS)
    project.makeini(
        "[pytest]\npythonpath = .\nnonblocking_watch = true\nnonblocking_max_blocked = 80ms\n"
        "nonblocking_max_lag = 90ms\n"
    )
    project.runpytest().assert_outcomes(passed=3)


def test_without_it_nothing_is_watched(project):
    project.makepyfile(TESTS)
    result = project.runpytest()
    result.assert_outcomes(passed=3)
    result.stdout.no_fnmatch_line("*measured*")


def test_error_when_the_ini_value_is_neither_true_nor_false(project):
    project.makepyfile(TESTS)
    result = project.runpytest("-o", "nonblocking_watch=perhaps")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*nonblocking setting watch is 'perhaps', but must be true or*"])


def test_report_and_off_hold_for_watched_tests_too(project):
    project.makepyfile(TESTS)
    result = project.runpytest("--nonblocking-watch", "--nonblocking-mode=report")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["nonblocking: 2 measured: 1 pass, 1 fail"])
    result = project.runpytest("--nonblocking-watch", "--nonblocking-mode=off")
    result.assert_outcomes(passed=3)
    result.stdout.no_fnmatch_line("*measured*")


def test_a_marked_test_and_one_that_measures_itself_are_left_as_they_are(project):
    project.makepyfile(
        """
        import pytest, time

        @pytest.mark.nonblocking(max_blocked="80ms", max_lag="90ms", allow="blocking-call")
        async def test_marked(nonblocking_client):
            await nonblocking_client.get("/blocking")

        @pytest.mark.asyncio
        async def test_measuring(nonblocking_client, loop_sentinel):
            with loop_sentinel:
                time.sleep(0.05)
            assert loop_sentinel.max_blocked > 0.04
        """
    )
    result = project.runpytest("--nonblocking-watch")
    result.assert_outcomes(passed=2)


def test_the_first_import_of_a_module_is_no_fault(project):
    project.makepyfile(
        slow_to_import="import time\ntime.sleep(0.05)\n",
        test_it="""
        import pytest

        @pytest.mark.asyncio
        async def test_it():
            import slow_to_import
        """,
    )
    project.runpytest("--nonblocking-watch").assert_outcomes(passed=1)


@pytest.mark.parametrize(("strict", "outcome"), [(True, {"failed": 2}), (False, {"xpassed": 2})])
def test_a_test_that_is_expected_to_fail_and_succeeds_keeps_its_result(project, strict, outcome):
    project.makepyfile(
        f"""
        import asyncio, time, pytest

        @pytest.mark.asyncio
        @pytest.mark.xfail(strict={strict})
        async def test_it():
            time.sleep(0.05)

        @pytest.mark.asyncio
        @pytest.mark.xfail(raises=ValueError, strict={strict})
        async def test_raises():
            time.sleep(0.05)
        """
    )
    project.runpytest().assert_outcomes(**outcome)
    result = project.runpytest("--nonblocking-watch")
    result.assert_outcomes(**outcome)
    assert ("[XPASS(strict)]" in result.stdout.str()) is strict
    result.stdout.fnmatch_lines(["nonblocking: 2 measured: 2 fail*"])
