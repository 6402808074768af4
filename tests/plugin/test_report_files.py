"""The files of --nonblocking-report, as a user asks for them."""

import json
import os
import re

import jsonschema
import pytest

from pytest_nonblocking.reporting import json_report

SUITE = """
import asyncio, time, pytest

@pytest.mark.nonblocking(concurrency=8)
@pytest.mark.parametrize("n", range(3))
async def test_healthy(n):
    await asyncio.sleep(0.01)

@pytest.mark.nonblocking(concurrency=8)
async def test_blocking():
    time.sleep(0.05)
"""
ENDINGS = ("json", "html", "md", "sarif")
FLAGS = [f"--nonblocking-report=out.{ending}" for ending in ENDINGS]


@pytest.fixture
def suite(pytester):
    pytest.importorskip(
        "pytest_nonblocking.reporting.html_report", reason="the extra html is not installed"
    )
    pytest.importorskip("sarif_pydantic", reason="the extra sarif is not installed")
    pytester.makepyfile(test_it=SUITE)
    return pytester


def texts(pytester):
    return {e: (pytester.path / f"out.{e}").read_text("utf-8") for e in ENDINGS}


@pytest.mark.parametrize("flags", [[], ["-qq"], ["-n1"], ["-p", "no:terminal"]], ids=" ".join)
def test_a_dash_prints_the_report_as_the_last_line(pytester, flags):
    if flags == ["-n1"]:
        pytest.importorskip("xdist", reason="pytest-xdist is not installed")
    pytester.makepyfile(test_it=SUITE)
    result = pytester.runpytest("--nonblocking-report=-", *flags)
    read = json.loads(result.outlines[-1])
    assert sorted(test["nodeid"] for test in read["tests"])[0] == "test_it.py::test_blocking"
    jsonschema.validate(read, json_report.schema())
    assert not (pytester.path / "-").exists()


def test_on_github_each_culprit_is_annotated_at_its_line(pytester, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    pytester.makepyfile(test_it=SUITE)
    result = pytester.runpytest("--color=yes")
    (line,) = (line for line in result.outlines if "::error" in line)
    assert line.startswith("::error file=test_it.py,line=10,title=blocking-call at test_it.py%3A10")


def test_annotations_and_sarif_name_a_file_by_its_path_in_the_repository(suite, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(suite.path))
    rootdir = suite.mkdir("sub")
    (suite.path / "test_it.py").rename(rootdir / "test_it.py")
    result = suite.runpytest("--rootdir=sub", "sub", *FLAGS)
    (line,) = (line for line in result.outlines if line.startswith("::error"))
    assert line.startswith("::error file=sub/test_it.py,line=10,")
    (shown,) = json.loads(texts(suite)["sarif"])["runs"][0]["results"]
    place = shown["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "sub/test_it.py", "uriBaseId": "%SRCROOT%"}


@pytest.mark.parametrize("flags", [[], ["-n1"]], ids=["plain", "xdist"])
def test_all_formats_at_once(suite, flags):
    if flags:
        pytest.importorskip("xdist", reason="pytest-xdist is not installed")
    suite.runpytest(*FLAGS, *flags).assert_outcomes(passed=3, failed=1)
    written = texts(suite)
    assert len(json.loads(written["json"])["tests"]) == 4
    (run,) = json.loads(written["sarif"])["runs"]
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == ("test_it.py", 10)
    # Beside busy neighbours a healthy test may be inconclusive.
    assert re.search(r"4 measured: .*1 fail", written["md"])
    for ending in ("html", "md"):
        assert written[ending].count("blocks the event loop") == 1
    assert sorted(p.name for p in suite.path.iterdir() if p.name.startswith((".out", "out"))) == [
        "out.html",
        "out.json",
        "out.md",
        "out.sarif",
    ]


def test_the_json_report_has_what_the_page_shows(suite):
    suite.runpytest(*FLAGS)
    test = json.loads(texts(suite)["json"])["tests"][-1]
    assert test["message"].startswith("nonblocking: test_blocking blocks the event loop")
    assert test["culprit"]["source"]["lines"][10 - test["culprit"]["source"]["first"]] == (
        "    time.sleep(0.05)"
    )
    assert test["stacks"][0]["frames"][0].endswith("(test_it.py:10)")
    timeline = test["timeline"]
    assert timeline["concurrency"] == 8
    ends = sorted(copy["end_ms"] for copy in timeline["copies"])
    assert ends[-1] == pytest.approx(timeline["makespan_ms"], rel=0.2)
    for copy in timeline["copies"]:
        ((start, length, blocked),) = copy["steps_ms"]
        assert length >= blocked >= 40
        assert start + length <= copy["end_ms"] + 1


@pytest.mark.parametrize(
    ("package", "ending", "extra"),
    [("pygal", "html", "html"), ("sarif_pydantic", "sarif", "sarif")],
)
def test_a_missing_extra_is_a_usage_error_that_names_it(suite, monkeypatch, package, ending, extra):
    from importlib import util

    real = util.find_spec
    monkeypatch.setattr(
        util, "find_spec", lambda name, *rest: None if name == package else real(name, *rest)
    )
    result = suite.runpytest(f"--nonblocking-report=out.{ending}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{package} is not installed: *pytest-nonblocking?{extra}?'"])


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_file_is_a_usage_error(suite):
    report = suite.path / "out.json"
    report.write_text("{}", encoding="utf-8")
    report.chmod(0o400)
    result = suite.runpytest("--nonblocking-report=out.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*cannot write*out.json: it is read-only"])


def test_a_report_that_fails_at_the_end_is_told_and_the_others_are_written(suite):
    suite.makeconftest(
        """
        import pathlib
        def pytest_runtestloop():
            pathlib.Path("reports").rmdir()
        """
    )
    suite.mkdir("reports")
    result = suite.runpytest("--nonblocking-report=reports/out.md", *FLAGS)
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["nonblocking: cannot write the report *reports?out.md: *"])
    assert len(texts(suite)) == 4


GONE = """
import pathlib
def pytest_runtestloop():
    pathlib.Path("reports").rmdir()
"""


@pytest.mark.parametrize(
    ("flags", "shown"),
    [
        (["--nonblocking-report=reports/out.md"], "cannot write the report *out.md: *"),
        (
            ["--nonblocking-baseline=reports/b.json", "--nonblocking-update-baseline"],
            "cannot write the baseline b.json: *",
        ),
    ],
    ids=["report", "baseline"],
)
@pytest.mark.parametrize("quiet", [[], ["-qq"]], ids=["", "quiet"])
def test_a_run_whose_file_could_not_be_written_fails_and_says_so(pytester, flags, shown, quiet):
    pytester.makeconftest(GONE)
    pytester.makepyfile("def test_it(): pass")
    pytester.mkdir("reports")
    result = pytester.runpytest(*flags, *quiet)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"nonblocking: {shown}"])


def asked_for(pytester, name="out.json"):
    """Run one test for which a report is asked for."""
    pytester.makepyfile(test_it="def test_it(): pass")
    return pytester.runpytest(f"--nonblocking-report={name}")


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
@pytest.mark.parametrize("earlier", ["", "earlier"], ids=["new", "written-before"])
def test_a_symbolic_link_is_followed(pytester, earlier):
    target = pytester.mkdir("kept") / "target.json"
    if earlier:
        target.write_text(earlier, encoding="utf-8")
    link = pytester.path / "out.json"
    link.symlink_to(target)
    assert asked_for(pytester).ret == 0
    assert link.is_symlink()
    assert json.loads(target.read_text("utf-8"))["tests"] == []
    assert [path.name for path in target.parent.iterdir()] == ["target.json"]


def directory(path):
    path.mkdir()


def pipe(path):
    os.mkfifo(path)


def device(path):
    path.symlink_to("/dev/full")


def circle(path):
    path.symlink_to(path)


def nowhere(path):
    path.symlink_to(path.parent / "missing" / "out.json")


@pytest.mark.skipif(os.name == "nt", reason="there are no such files")
@pytest.mark.parametrize(
    ("make", "shown"),
    [
        (directory, "it is a directory"),
        (pipe, "it is a device, a pipe or a socket"),
        (device, "it is a device, a pipe or a socket"),
        (circle, "Too many levels of symbolic links"),
        (nowhere, "No such file or directory"),
    ],
)
def test_a_path_that_cannot_hold_a_report_is_a_usage_error_and_stays(pytester, make, shown):
    report = pytester.path / "out.json"
    make(report)
    before = report.lstat()
    result = asked_for(pytester)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--nonblocking-report: cannot write *out.json: {shown}"])
    assert report.lstat().st_ino == before.st_ino


def test_a_name_that_is_too_long_is_a_usage_error(pytester):
    assert asked_for(pytester, f"{'x' * 250}.json").ret == pytest.ExitCode.OK
    result = asked_for(pytester, f"{'x' * 300}.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*cannot write *xxx.json: File name too long"])


def test_a_full_disk_leaves_the_earlier_report(pytester):
    pytester.makeconftest(
        """
        import errno, pathlib
        real = pathlib.Path.write_text

        def full(path, text, **how):
            real(path, text[:10], **how)
            if path.name.startswith(".nonblocking-"):
                raise OSError(errno.ENOSPC, "No space left on device")

        def pytest_runtestloop():
            pathlib.Path.write_text = full

        def pytest_unconfigure():
            pathlib.Path.write_text = real
        """
    )
    report = pytester.path / "out.json"
    report.write_text("earlier", encoding="utf-8")
    result = asked_for(pytester)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["nonblocking: cannot write the report *No space left on device*"])
    assert report.read_text("utf-8") == "earlier"
    assert not list(pytester.path.glob(".nonblocking-*"))


@pytest.mark.parametrize(
    ("flags", "shown"),
    [
        (["--nonblocking-report=out.json", "--nonblocking-report=./out.json"], "a second report"),
        (
            ["--nonblocking-report=out.json", "--nonblocking-baseline=out.json"],
            "the baseline",
        ),
        (
            [
                "--nonblocking-report=out.json",
                "--nonblocking-baseline=link.json",
                "--nonblocking-update-baseline",
            ],
            "the baseline",
        ),
    ],
    ids=["two-reports", "baseline", "new-baseline-by-a-link"],
)
def test_a_path_given_twice_is_a_usage_error_and_no_test_runs(pytester, flags, shown):
    if os.name != "nt":  # links need a privilege there
        (pytester.path / "link.json").symlink_to(pytester.path / "out.json")
    elif "link" in str(flags):
        pytest.skip("links need a privilege on Windows")
    pytester.makepyfile(test_it="def test_it(): raise SystemExit('it ran')")
    result = pytester.runpytest(*flags)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            f"*--nonblocking-report: cannot write *out.json: {shown} has the same path; give each "
            "a file of its own"
        ]
    )
    assert not (pytester.path / "out.json").exists()


@pytest.mark.skipif(os.name == "nt", reason="permissions are POSIX's")
@pytest.mark.parametrize("mode", [0o600, 0o664])
def test_a_report_that_is_replaced_keeps_its_permissions(pytester, mode):
    report = pytester.path / "out.json"
    report.write_text("earlier", encoding="utf-8")
    report.chmod(mode)
    assert asked_for(pytester).ret == pytest.ExitCode.OK
    assert json.loads(report.read_text("utf-8"))["tests"] == []
    assert report.stat().st_mode & 0o777 == mode
