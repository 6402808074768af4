"""Failures of one culprit are one text, in the terminal, in annotations and in Markdown."""

from __future__ import annotations

from pathlib import Path

import pytest
from reported import culprit, failing, record, report

from pytest_nonblocking.reporting import markdown_report
from pytest_nonblocking.reporting.annotations import commands
from pytest_nonblocking.reporting.columns import width, wrapped
from pytest_nonblocking.reporting.failures_shown import lines_of
from pytest_nonblocking.reporting.shared_culprits import Failure, headline, texts, whole

FIRST = failing("test_a.py::a")
CAUSE = "  cause    blocking-call: 50 ms off the CPU in one callback, limit max_blocked=5 ms"
SECOND = failing("test_a.py::b", message=f"nonblocking: GET /b\n{CAUSE}", target="GET /b")
OTHER = failing("test_a.py::c", culprit=culprit(line=90))


def failures(*records):
    return [Failure(one, one.message) for one in records]


def test_the_first_has_the_text_and_the_list_and_the_others_refer_to_it():
    one, two, three = texts(failures(FIRST, SECOND, OTHER))
    assert one.splitlines() == [
        *FIRST.message.splitlines(),
        "  tests    2 tests fail for this line:",
        "               test_a.py::a",
        "               test_a.py::b",
    ]
    assert two.splitlines() == [
        SECOND.message.splitlines()[0],
        CAUSE,
        "  where    shop/app.py:41: see test_a.py::a",
    ]
    assert three == OTHER.message


@pytest.mark.parametrize(
    "other",
    [
        failing("b", culprit=culprit(file="other.py")),
        failing("b", cause="cpu-on-loop"),
        failing("b", reasons=["timeout"]),
        failing("b", reasons=["scaling", "guard"]),
        failing("b", culprit=None),
    ],
    ids=["place", "cause", "time-out", "guard", "no place"],
)
def test_what_has_another_text_is_shown_whole(other):
    assert texts(failures(FIRST, other)) == [FIRST.message, other.message]


def test_two_measurements_of_one_test_are_both_shown():
    again = failing("test_a.py::a", message="nonblocking: GET /other")
    _, second, third = texts(failures(FIRST, again, SECOND))
    assert second == again.message
    assert "see test_a.py::a" in third


def test_many_tests_are_cut_short():
    many = [failing(f"test_a.py::t{n}") for n in range(25)]
    assert texts(failures(*many))[0].endswith("test_a.py::t19\n               and 5 more tests")


def test_one_failure_for_each_culprit():
    shown = whole(failures(FIRST, OTHER, SECOND))
    assert [one.record.nodeid for one in shown] == ["test_a.py::a", "test_a.py::c"]


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        (FIRST, "blocking-call at shop/app.py:41 (GET /export)"),
        (failing(culprit=None, target=""), "blocking-call"),
        (failing(reasons=["timeout"], target=""), "does not finish: blocking-call at shop/"),
    ],
)
def test_the_headline_begins_with_cause_and_place(found, shown):
    assert headline(found).startswith(shown)


# Annotations

ON_GITHUB = {"GITHUB_ACTIONS": "true"}


def test_an_annotation_shows_each_culprit_at_its_line():
    known = failing("test_a.py::k", accepted_by="baseline", culprit=culprit(line=7))
    found = commands([FIRST, SECOND, OTHER, known, record()], Path("/srv/app"), ON_GITHUB)
    assert [line.partition(",title=")[0] for line in found] == [
        "::error file=shop/app.py,line=41",
        "::error file=shop/app.py,line=90",
    ]
    assert ",title=blocking-call at shop/app.py%3A41 (GET /export)::nonblocking: " in found[0]
    assert "%0A               test_a.py::b" in found[0]
    assert not any("\n" in line for line in found)


def test_a_text_cannot_end_its_command():
    hostile = failing(message="100%\r\n::error::x\x1b[0m", target="a,b")
    (line,) = commands([hostile], Path("/srv/app"), ON_GITHUB)
    assert line.endswith("::100%25\\r%0A::error::x\\x1b[0m")
    assert "(a%2Cb)" in line


def test_paths_are_those_of_the_repository():
    environ = ON_GITHUB | {"GITHUB_WORKSPACE": str(Path("/srv").absolute())}
    (line,) = commands([FIRST], Path("/srv/app").absolute(), environ)
    assert line.startswith("::error file=app/shop/app.py,line=41,")


def test_a_failure_without_a_file_is_annotated_without_one(tmp_path):
    (tmp_path / "test_a.py").touch()
    found = [failing("scan::GET /a", culprit=None), failing("test_a.py::b", culprit=None)]
    of_scan, of_test = commands(found, tmp_path, ON_GITHUB)
    assert of_scan.startswith("::error title=blocking-call (GET /export)::")
    assert of_test.startswith("::error file=test_a.py,line=1,title=")


@pytest.mark.parametrize("environ", [{}, {"GITHUB_ACTIONS": ""}])
def test_elsewhere_there_are_no_annotations(environ):
    assert commands([FIRST], Path("/srv/app"), environ) == []


# Markdown


def test_markdown_has_one_text_for_each_culprit_the_worst_first():
    worse = failing("test_a.py::w", figure=figure(3.0), culprit=culprit(line=1))
    text = markdown_report.render(report(record(), FIRST, SECOND, worse))
    assert text.startswith(f"{markdown_report.MARK}\n")
    assert text.count("<details>") == 2
    rows = [line for line in text.splitlines() if line.startswith("| ❌")]
    assert "`test_a.py::w`" in rows[0]


def figure(value):
    return {"setting": "max_serial_fraction", "unit": "fraction", "value": value, "limit": 0.1}


def test_markdown_fits_into_a_comment():
    many = [
        failing(f"test_a.py::t{n}", culprit=culprit(line=n + 1), message="x" * 900)
        for n in range(100)
    ]
    text = markdown_report.render(report(*many))
    assert len(text) < 65_536
    assert " more failures: they are in the JSON report." in text


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("a_b*c", "`a_b*c`"),
        ("a`b", "``a`b``"),
        ("`a", "`` `a ``"),
        ("a|<b>", "<code>a&#124;&lt;b&gt;</code>"),
    ],
)
def test_names_are_readable_in_the_raw_text(raw, shown):
    assert f"| {shown} |" in markdown_report.render(report(record(f"{raw}")))


# The width of a terminal


def test_a_row_is_wrapped_under_its_text_and_words_stay_whole():
    text = "nonblocking: GET /a\n  fix      " + "make the handler def or await it " * 3
    lines = lines_of(f"{text}\n               {'x' * 60}", 40)
    assert all(width(line) <= 40 for line in lines[:-1])
    assert lines[2].startswith(" " * 11 + "def or") or lines[2].startswith(" " * 11)
    assert lines[2][11] != " "
    assert " ".join(" ".join(lines[1:-1]).split()) == " ".join(text.splitlines()[1].split())
    assert lines[-1] == " " * 15 + "x" * 60  # a path would not be found in two halves


def test_a_log_is_not_wrapped():
    text = "nonblocking: GET /a\n  fix      " + "word " * 60
    assert lines_of(text, None) == text.splitlines()
    assert wrapped("a b", 1, 0) == ["a", "b"]
