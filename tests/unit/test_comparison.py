"""What got worse between two reports, from literal figures."""

import pytest
from reported import culprit, failing, record, report

from pytest_nonblocking.gate.comparison import compare


def kinds(before, after, **slower):
    return [change.kind for change in compare(report(*before), report(*after, **slower))]


def test_the_same_report_has_no_difference():
    assert kinds([record(), failing()], [record(), failing()]) == []


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (record("t"), failing("t"), "worse"),
        (failing("t"), record("t"), "better"),
        (record("t"), record("t", verdict="inconclusive"), "unclear"),
        (failing("t"), failing("t", cause="cpu-on-loop"), "worse"),
        (failing("t"), failing("t", culprit=culprit(function="other")), "worse"),
        (record("t", serial_ms=1.0), record("t", serial_ms=4.1), "worse"),
        (record("t", serial_ms=4.1), record("t", serial_ms=1.0), "better"),
        (failing("t", serial_ms=20.0), failing("t", serial_ms=41.0), "worse"),
    ],
)
def test_a_difference(before, after, kind):
    assert kinds([before], [after]) == [kind]


@pytest.mark.parametrize(
    ("kind", "was", "now"),
    [(record, 1.0, 3.9), (record, 0.2, 2.1), (failing, 20.0, 39.0), (failing, 1.0, 2.9)],
)
def test_noise_is_no_difference(kind, was, now):
    assert kinds([kind(serial_ms=was)], [kind(serial_ms=now)]) == []


def test_a_slower_machine_is_no_difference():
    before, after = [failing(serial_ms=4.0)], [failing(serial_ms=11.0)]
    assert kinds(before, after) == ["worse"]
    assert kinds(before, after, machine_factor=2.0) == []


def test_a_line_that_has_moved_is_no_difference():
    assert kinds([failing()], [failing(culprit=culprit(line=77))]) == []


def test_tests_come_and_go():
    assert kinds([record("a")], [record("b"), failing("c")]) == ["new", "worse", "gone"]


def test_each_measurement_of_a_test_is_compared_with_its_own():
    before = [record("t", serial_ms=1.0), record("t", serial_ms=9.0)]
    assert kinds(before, before) == []
