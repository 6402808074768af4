"""The table at the end of a run, in columns of a terminal."""

from __future__ import annotations

from dataclasses import replace

import pytest
from reported import culprit, failing, record

from pytest_nonblocking.reporting.columns import fitted, width
from pytest_nonblocking.reporting.terminal import table

GOOD = record("test_a.py::test_good", serial_fraction=0.0, ceiling_rps=350.2)
BAD = failing("test_a.py::test_bad[long-id]", ceiling_rps=19.8, culprit=culprit(file="app.py"))
LONG = replace(
    BAD,
    nodeid="tests/" + "deep/" * 30 + "test_x.py::test_long",
    culprit=culprit(file="lib/" * 30, line=7),
)


@pytest.mark.parametrize(("text", "columns"), [("abc", 3), ("注文", 4), ("e\u0301", 1), ("", 0)])
def test_the_width_is_that_of_a_terminal(text, columns):
    assert width(text) == columns


@pytest.mark.parametrize(
    ("text", "columns", "shown"),
    [
        ("abc", 5, "abc  "),
        ("abc", 3, "abc"),
        ("abcdef", 3, "…ef"),
        ("注文", 6, "注文  "),
        ("の注文", 4, "…文 "),
        ("の注文", 5, "…注文"),
    ],
)
def test_what_is_too_long_keeps_its_end(text, columns, shown):
    assert fitted(text, columns) == shown


def test_without_a_width_nothing_is_cut():
    lines = table([GOOD, BAD, LONG], None)
    assert LONG.nodeid in lines[3]
    assert lines[3].endswith(LONG.culprit.file + ":7")


@pytest.mark.parametrize("columns", [80, 100, 300])
def test_lines_are_aligned_and_fit(columns):
    lines = table([GOOD, BAD, LONG], columns)
    assert len({width(line) for line in lines}) == 1
    assert width(lines[0]) <= columns
    start = lines[0].index("cause")
    assert lines[2][start:].startswith("blocking-call")
    assert "test_long" in lines[3]
    assert "app.py:41" in lines[2]


def test_few_short_rows_take_no_more_than_they_need():
    assert table([GOOD], 200) == [
        "verdict  test                  cause  judged     bounds  limit  ceiling  where",
        "pass     test_a.py::test_good  -        0.00  0.00–0.00   0.10    350/s       ",
    ]


def test_wide_characters_keep_the_columns_aligned():
    lines = table([GOOD, replace(GOOD, nodeid="test_a.py::test_注文")], 200)
    assert width(lines[1]) == width(lines[2])
    assert width(lines[1].partition("0.00")[0]) == width(lines[2].partition("0.00")[0])
