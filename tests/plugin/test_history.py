"""The file of --nonblocking-history: each run adds a line, and reports show the earlier ones."""

import json

import pytest

SUITE = """
import asyncio, pytest

@pytest.mark.nonblocking(concurrency=4)
async def test_healthy():
    await asyncio.sleep(0.01)

def test_plain():
    pass
"""
FLAG = "--nonblocking-history=past.jsonl"


@pytest.fixture
def suite(pytester):
    pytester.makepyfile(test_it=SUITE)
    return pytester


def lines(suite):
    return (suite.path / "past.jsonl").read_text("utf-8").splitlines()


@pytest.mark.parametrize("flags", [[], ["-n1"]], ids=["plain", "xdist"])
def test_each_run_adds_a_line_and_reports_hold_the_earlier_ones(suite, flags):
    if flags:
        pytest.importorskip("xdist", reason="pytest-xdist is not installed")
    for more in (flags, [], flags):
        suite.runpytest(FLAG, "--nonblocking-report=out.json", *more)
    written = [json.loads(line) for line in lines(suite)]
    assert [[test["nodeid"] for test in line["tests"]] for line in written] == [
        ["test_it.py::test_healthy"]
    ] * 3
    (test,) = json.loads((suite.path / "out.json").read_text("utf-8"))["tests"]
    assert [one["started"] for one in test["history"]] == [line["started"] for line in written[:2]]


def test_it_needs_no_report(suite):
    suite.runpytest(FLAG).assert_outcomes(passed=2)
    assert len(lines(suite)) == 1


def test_a_run_that_measures_nothing_adds_nothing(suite):
    suite.runpytest(FLAG, "-k", "plain").assert_outcomes(passed=1)
    assert not (suite.path / "past.jsonl").exists()


def test_a_line_without_its_end_is_left_alone(suite):
    suite.runpytest(FLAG)
    path = suite.path / "past.jsonl"
    path.write_text(path.read_text("utf-8").rstrip("\n"), encoding="utf-8")
    suite.runpytest(FLAG)
    assert len([json.loads(line) for line in lines(suite)]) == 2


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "Expecting property name"),
        ("[]", "it has no schema_version"),
        ('{"schema_version": 0}', "its schema_version is 0"),
        ('{"schema_version": 1}', "it has no 'started'"),
    ],
)
def test_a_line_that_cannot_be_read_is_a_usage_error_that_names_it(suite, text, why):
    (suite.path / "past.jsonl").write_text(f"\n{text}\n", encoding="utf-8")
    result = suite.runpytest(FLAG)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--nonblocking-history: *past.jsonl, line 2, is no line of a *"])
    assert why in result.stderr.str()
    assert lines(suite) == ["", text]


def test_a_line_of_a_newer_version_asks_for_that_version(suite):
    (suite.path / "past.jsonl").write_text('{"schema_version": 9}\n', encoding="utf-8")
    result = suite.runpytest(FLAG)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*past.jsonl, line 1, has schema_version 9, * reads up to 1: upgrade pytest-nonblocking"]
    )


def test_a_folder_and_a_shared_path_are_usage_errors(suite):
    suite.mkdir("folder")
    result = suite.runpytest("--nonblocking-history=folder")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--nonblocking-history: cannot write *folder: it is a directory"])
    result = suite.runpytest("--nonblocking-history=o.json", "--nonblocking-report=o.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*cannot write *o.json: the history has the same path*"])
