"""What a user sees: the summary, the table, and the progress of a long measurement."""

import re
import sys

import pytest

TESTS = """
import asyncio

import pytest


@pytest.mark.nonblocking(concurrency=8)
@pytest.mark.parametrize("path", ["/", "/blocking"], ids=["short", "a-very-" + "long-" * 30 + "id"])
async def test_it(nonblocking_client, path):
    await nonblocking_client.get(path)
"""
SUMMARY = "nonblocking: 2 measured: 1 pass, 1 fail"


@pytest.fixture
def suite(project):
    project.makepyfile(test_it=TESTS)
    return project


@pytest.mark.parametrize("flag", [None, "-q", "-v", "-vv", "--tb=short", "--tb=line", "--tb=no"])
def test_the_summary_is_one_line_with_every_style(suite, flag):
    result = suite.runpytest(*([flag] if flag else []))
    lines = [line for line in result.outlines if line.startswith("nonblocking: ")]
    assert lines.count(SUMMARY) == 1
    assert ("verdict  test" in result.stdout.str().replace("     ", "  ")) is (
        flag in ("-v", "-vv")
    )


def test_a_very_quiet_run_has_no_summary(suite):
    suite.runpytest("-qq").stdout.no_fnmatch_line("*measured*")


def test_a_log_has_whole_names_and_the_culprits_place(suite):
    result = suite.runpytest("-v")
    result.stdout.re_match_lines(
        [
            r"verdict +test +cause +judged +bounds +limit +ceiling +where$",
            r"pass +test_it\.py::test_it\[short\] +- +0\.\d\d +[\d.]+–[\d.]+ +\d\.\d\d +[\d-]+.*",
            rf"fail +test_it\.py::test_it\[a-very-{'long-' * 30}id\] +blocking-call +\d\.\d\d +"
            r"[\d.]+–[\d.]+ +0\.10 +\d+/s +webapp\.py:16$",
            SUMMARY,
        ],
        consecutive=True,
    )


def test_a_forced_short_summary_keeps_a_failure_to_one_line_in_ci(suite, monkeypatch):
    monkeypatch.setenv("CI", "true")
    result = suite.runpytest("--force-short-summary")
    (line,) = (line for line in result.outlines if line.startswith("FAILED"))
    assert result.outlines[result.outlines.index(line) + 1].startswith("=")


SHARED = """
import time
import pytest

def shared():
    time.sleep(0.03)

@pytest.mark.nonblocking(concurrency=8)
@pytest.mark.parametrize("name", ["a", "b", "c"])
async def test_it(name):
    shared()

def test_of_mine():
    pytest.fail("nonblocking: mine", pytrace=False)
"""


@pytest.mark.parametrize("flags", [[], ["-n2"]], ids=["plain", "xdist"])
def test_failures_of_one_culprit_are_one_text(pytester, flags):
    if flags:
        pytest.importorskip("xdist", reason="pytest-xdist is not installed")
    pytester.makepyfile(test_it=SHARED)
    result = pytester.runpytest("--junitxml=junit.xml", *flags)
    said = result.stdout.str()
    assert said.count("  where    test_it.py:5 in shared") == 1
    assert said.count("  where    test_it.py:5: see test_it.py::test_it[") == 2
    result.stdout.fnmatch_lines(["  tests    3 tests fail for this line:"])
    assert "nonblocking: mine" in said
    # Other readers have the whole text of each.
    junit = (pytester.path / "junit.xml").read_text("utf-8")
    assert "see test_it.py" not in junit
    assert junit.count("where    test_it.py:5") >= 3


def test_the_short_summary_leads_with_cause_and_place(pytester):
    pytester.makepyfile(test_it=SHARED)
    pytester.runpytest().stdout.fnmatch_lines(
        ["FAILED test_it.py::test_it?a? - blocking-call at test_it.py:5 (test_it?a?)"]
    )


@pytest.mark.parametrize("flag", ["--color=yes", "--color=no"])
def test_colours_are_those_of_pytest(suite, flag):
    said = suite.runpytest(flag).stdout.str()
    assert (f"\x1b[31m{SUMMARY}\x1b[0m" in said) is (flag == "--color=yes")
    assert ("\x1b" in said) is (flag == "--color=yes")


# Slow for its limit: progress is shown after {after} seconds.
SLOW = """
import asyncio

import pytest
from pytest_nonblocking.reporting import progress

progress._AFTER = {after}

@pytest.mark.nonblocking(concurrency=8, timeout="30s")
async def test_slow():
    print("said by the test")
    await asyncio.sleep({seconds})

def test_next():
    pass
"""
PROGRESS = r"\[\d+ copies done, running 8 at once, about \d+ s left\]"


@pytest.fixture
def seen(project, monkeypatch):
    """Run a measurement that lasts ``seconds`` times 5 or more on a pseudo-terminal.

    Returns what the terminal was sent.
    """
    if sys.platform == "win32":
        pytest.skip("needs a pseudo-terminal")
    pytest.importorskip("pexpect", reason="pexpect is not installed")
    monkeypatch.setenv("TERM", "xterm")

    def seen(flags="", seconds=0.04, after=0.1):
        project.makepyfile(test_slow=SLOW.format(seconds=seconds, after=after))
        child = project.spawn_pytest(f"-p no:cacheprovider {flags}", expect_timeout=60)
        child.setwinsize(24, 120)
        said = child.read().decode()
        child.wait()
        assert child.exitstatus == 0, said
        return said

    return seen


def on_screen(said):
    """Return the lines that are left on a screen, on which a backspace moves to the left."""
    lines = []
    for sent in re.sub(r"\x1b\[\d*(;\d+)*m", "", said).split("\n"):
        line, column = [], 0
        for character in sent:
            if character == "\b":
                column -= 1
            elif character == "\r":
                column = 0
            else:
                line[column : column + 1] = character
                column += 1
            assert column >= 0
        lines.append("".join(line).rstrip())
    return lines


@pytest.mark.parametrize("flags", ["", "-v"])
def test_a_long_measurement_shows_its_progress_and_leaves_pytests_line_as_it_was(seen, flags):
    said = seen(flags)
    assert re.search(PROGRESS, said)
    lines = on_screen(said)
    assert not [line for line in lines if "copies done" in line]
    if flags:
        (line,) = (line for line in lines if "::test_slow PASSED" in line)
        assert re.fullmatch(r"test_slow\.py::test_slow PASSED +\[ 50%\]", line)
    else:
        assert [line for line in lines if re.fullmatch(r"test_slow\.py \.\. +\[100%\]", line)]
    assert "said by the test" not in said


def test_progress_does_not_touch_the_letter_before_it(project, seen):
    said = seen().replace("\x1b[32m", "").replace("\x1b[0m", "")
    assert "test_slow.py  [" in said


@pytest.mark.parametrize("columns", [60, 80])
def test_a_failure_is_wrapped_at_the_width_of_the_terminal(project, monkeypatch, columns):
    if sys.platform == "win32":
        pytest.skip("needs a pseudo-terminal")
    pytest.importorskip("pexpect", reason="pexpect is not installed")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    project.makepyfile(test_it=SHARED)
    child = project.spawn_pytest("-p no:cacheprovider --color=no", expect_timeout=60)
    lines = [line.rstrip() for line in child.read().decode().split("\n")]
    child.wait()
    ours = lines[lines.index("nonblocking: test_it[a] blocks the event loop") :]
    ours = ours[: next(n for n, line in enumerate(ours) if line.startswith("____"))]
    assert max(map(len, ours)) <= columns
    fix = next(n for n, line in enumerate(ours) if line.startswith("  fix      await asyncio"))
    assert columns == 80 or ours[fix + 1].startswith(" " * 11 + "any")


@pytest.mark.parametrize(
    "flags", ["-q", "-s", "--capture=sys", "-o log_cli=true", "-n 1"], ids=lambda flags: flags
)
def test_no_progress_where_it_would_be_mixed_with_other_output(seen, flags):
    if flags == "-n 1":
        pytest.importorskip("xdist", reason="xdist is not installed")
    assert "copies done" not in seen(flags)


@pytest.mark.parametrize(("name", "value"), [("CI", "true"), ("TERM", "dumb")])
def test_no_progress_on_a_terminal_that_is_a_log(seen, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert "copies done" not in seen()


def test_a_short_measurement_shows_nothing(seen):
    assert "\b" not in seen(seconds=0.01, after=1)


def test_a_log_has_no_control_characters(project):
    project.makepyfile(test_slow=SLOW.format(seconds=0.04, after=0.1))
    said = project.runpytest("-v").stdout.str()
    assert not re.search(r"[\x00-\x08\x0b-\x1f]|copies done", said)
