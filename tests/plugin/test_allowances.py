"""Causes that are accepted: with a reason, and shown where nobody needs them."""

import pytest

QUEUE = """
import asyncio, time, pytest

LOCK = []

@pytest.mark.nonblocking(concurrency=8{marker})
async def test_it():
    if not LOCK:
        LOCK.append(asyncio.Lock())
    async with LOCK[0]:
        await asyncio.sleep(0.02)
"""
REASON = "one writer at a time, by design: see the docs"
NOTE = f"*note: serialised-wait found and accepted by allow (from {{}}): {REASON}"


def test_a_marker_gives_the_reason(pytester):
    marker = f', allow={{"serialised-wait": "{REASON}"}}'
    pytester.makepyfile(QUEUE.format(marker=marker))
    result = pytester.runpytest("-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([NOTE.format("marker")])


def test_a_flag_gives_the_reason(pytester):
    pytester.makepyfile(QUEUE.format(marker=""))
    result = pytester.runpytest("-v", f"--nonblocking-allow=serialised-wait: {REASON}")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([NOTE.format("--nonblocking-allow")])


@pytest.mark.parametrize(
    "written",
    [
        f"nonblocking_allow = ['serialised-wait: {REASON}', 'thread-pool']",
        f"nonblocking_allow = '''\nserialised-wait: {REASON}\nthread-pool\n'''",
    ],
)
def test_an_ini_file_gives_the_reason(pytester, written):
    pytester.makepyfile(QUEUE.format(marker=""))
    pytester.makepyprojecttoml(f"[tool.pytest.ini_options]\n{written}\n")
    result = pytester.runpytest("-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([NOTE.format("pyproject.toml")])


def test_names_alone_are_enough(pytester):
    pytester.makepyfile(QUEUE.format(marker=""))
    pytester.runpytest("--nonblocking-allow=thread-pool, serialised-wait").assert_outcomes(passed=1)


def test_an_accepted_blocking_call_is_told(pytester):
    pytester.makepyfile(
        """
        import time, pytest

        @pytest.mark.nonblocking(concurrency=8, allow={"blocking-call": "start-up only"})
        async def test_it():
            time.sleep(0.05)
        """
    )
    result = pytester.runpytest("-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*note: blocking-call found and accepted*: start-up only"])
    result.stdout.no_fnmatch_line("*is unused*")


def test_an_allowance_that_a_test_does_not_need_is_told(pytester):
    pytester.makepyfile(QUEUE.format(marker=', allow=["serialised-wait", "thread-pool"]'))
    result = pytester.runpytest()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["nonblocking: allow=thread-pool from marker is unused in *test_it: remove it"]
    )
    result.stdout.no_fnmatch_line("*allow=serialised-wait*")


def test_an_allowance_of_all_tests_is_told_where_none_needs_it(pytester):
    pytester.makepyfile(QUEUE.format(marker=""))
    result = pytester.runpytest("--nonblocking-allow=serialised-wait,gil-contention")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["nonblocking: allow=gil-contention from --nonblocking-allow is unused in every*"]
    )


@pytest.mark.parametrize(
    "bad",
    [
        '"locks"',
        '{"locks": "x"}',
        '{"thread-pool": 3}',
        '{"thread-pool": None}',
        '"thread-pool, locks: why"',
        "7",
    ],
)
def test_a_bad_allowance_is_a_usage_error(pytester, bad):
    pytester.makepyfile(QUEUE.format(marker=f", allow={bad}"))
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*must be one or more of blocking-call*each with an optional reason*"]
    )
