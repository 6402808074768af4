"""Filters decide what a test without a verdict comes to, by the category of its warning."""

import subprocess
import sys

import pytest

UNDECIDED = """
import asyncio
import pytest

@pytest.fixture
def result(request, monkeypatch):
    import pytest_nonblocking.runner
    from pytest_nonblocking.analysis import verdict
    from pytest_nonblocking.model import Judgement

    def judge(evidence, limits):
        if request.param == "not-measured":
            raise ZeroDivisionError
        return Judgement(request.param)

    monkeypatch.setattr(verdict, "judge", judge)

@pytest.mark.asyncio
@pytest.mark.nonblocking(concurrency=2)
@pytest.mark.parametrize("result", ["inconclusive", "not-measured"], indirect=True)
async def test_it(result):
    await asyncio.sleep(0)
"""
PACKAGE = "pytest_nonblocking"


@pytest.fixture
def filtered(pytester):
    """Run a test whose verdict is inconclusive, and one that is not measured."""
    pytester.makepyfile(test_it=UNDECIDED)

    def run(*filters):
        lines = "".join(f"    {one}\n" for one in filters)
        pytester.makeini(f"[pytest]\nfilterwarnings =\n{lines}")
        return pytester.runpytest("-v")

    return run


def test_each_kind_has_a_category_of_its_own(filtered):
    result = filtered("default")
    result.assert_outcomes(passed=2, warnings=2)
    result.stdout.fnmatch_lines(
        ["*InconclusiveWarning: nonblocking: *", "*NotMeasuredWarning: nonblocking: *"]
    )


def test_an_inconclusive_test_has_a_letter_and_a_count_of_its_own(filtered, pytester):
    filtered("default")
    result = pytester.runpytest()
    result.stdout.fnmatch_lines(["test_it.py i. *", "*= 1 passed, 2 warnings, 1 inconclusive in *"])
    assert result.ret == pytest.ExitCode.OK


def test_where_all_warnings_are_errors_an_inconclusive_test_only_warns(filtered):
    result = filtered("error")
    result.assert_outcomes(passed=1, failed=1, warnings=1)
    result.stdout.fnmatch_lines(
        ["*test_it?inconclusive? INCONCLUSIVE*", "*test_it?not-measured? FAILED*"]
    )
    result.stdout.fnmatch_lines(["*InconclusiveWarning: nonblocking: * is inconclusive: *"])


@pytest.mark.parametrize("name", ["InconclusiveWarning", "PytestNonblockingWarning"])
def test_a_filter_that_names_the_category_fails_an_inconclusive_test(filtered, name):
    filtered("error", f"error::{PACKAGE}.{name}").assert_outcomes(failed=2)


def test_a_filter_may_ignore_what_was_not_measured(filtered):
    result = filtered("error", f"ignore::{PACKAGE}.PytestNonblockingWarning")
    result.assert_outcomes(passed=2, warnings=0)


def test_the_package_exports_its_categories():
    code = (
        "from pytest_nonblocking import *\n"
        "assert issubclass(InconclusiveWarning, PytestNonblockingWarning)\n"
        "assert issubclass(NotMeasuredWarning, PytestNonblockingWarning)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
