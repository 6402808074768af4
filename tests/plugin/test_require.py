"""A gate that measured nothing says so, and can be made to fail."""

import pytest

SUITE = """
import asyncio, pytest

@pytest.mark.nonblocking(concurrency=8)
@pytest.mark.parametrize("n", range(2))
async def test_it(n):
    await asyncio.sleep(0.01)

def test_unmarked():
    pass
"""


@pytest.fixture
def suite(pytester):
    pytester.makepyfile(test_it=SUITE)
    return pytester


@pytest.mark.parametrize(("number", "status"), [(2, 0), (3, 1)])
def test_fewer_verdicts_than_required_fail_the_run(suite, number, status):
    result = suite.runpytest(f"--nonblocking-require={number}")
    result.assert_outcomes(passed=3)
    assert result.ret == status
    shown = "nonblocking: 2 measurements produced a verdict, but require=3 from --nonblocking*"
    if status:
        result.stdout.fnmatch_lines([shown])
    else:
        result.stdout.no_fnmatch_line("*require=*")


def test_the_ini_file_can_require_it(suite):
    suite.makeini("[pytest]\nnonblocking_require = 3\n")
    result = suite.runpytest()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*require=3 from tox.ini*"])


@pytest.mark.parametrize("flag", ["--nonblocking-mode=off", "-kunmarked"])
def test_a_run_that_measured_nothing_fails(suite, flag):
    assert suite.runpytest("--nonblocking-require=1", flag).ret == pytest.ExitCode.TESTS_FAILED


def test_the_workers_of_xdist_count_together(suite):
    pytest.importorskip("xdist", reason="pytest-xdist is not installed")
    assert suite.runpytest("-n2", "--nonblocking-require=2").ret == 0
    assert suite.runpytest("-n2", "--nonblocking-require=3").ret == 1


def test_nothing_is_required_where_tests_are_only_listed(suite):
    assert suite.runpytest("--nonblocking-require=9", "--collect-only").ret == 0


def test_another_exit_status_stays(suite):
    suite.makepyfile(test_it="this is no Python")
    result = suite.runpytest("--nonblocking-require=1")
    assert result.ret == pytest.ExitCode.INTERRUPTED


def test_marked_tests_that_were_not_measured_are_told(suite):
    result = suite.runpytest("--nonblocking-mode=off")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["nonblocking: 2 marked tests, none measured: mode=off from --nonblocking-mode"]
    )


def test_a_skipped_test_is_told_as_not_measured(pytester):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.skip(reason="later")
        @pytest.mark.nonblocking
        async def test_it(): ...
        """
    )
    result = pytester.runpytest()
    result.stdout.fnmatch_lines(["nonblocking: 1 marked test, none measured: each was skipped*"])


def test_a_run_without_marked_tests_says_nothing(pytester):
    pytester.makepyfile("def test_it(): pass")
    pytester.runpytest().stdout.no_fnmatch_line("*nonblocking:*")


@pytest.mark.parametrize("number", ["-1", "some", "1.5"])
def test_a_bad_number_is_a_usage_error(suite, number):
    result = suite.runpytest(f"--nonblocking-require={number}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*must be an integer of at least 0"])


@pytest.mark.parametrize("status", ["--collect-only", "missing.py"])
def test_an_earlier_report_stays_where_no_test_ran(suite, status):
    report = suite.path / "out.json"
    report.write_text("earlier", encoding="utf-8")
    suite.runpytest("--nonblocking-report=out.json", status)
    assert report.read_text("utf-8") == "earlier"
