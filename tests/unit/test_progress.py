"""What is left of a measurement, from literal evidence."""

from __future__ import annotations

import pytest

from pytest_nonblocking.model import Budget, Evidence, Limits, Run
from pytest_nonblocking.reporting.progress import progress_text, rounds_left, seconds_left

LIMITS = Limits(
    concurrency=50,
    max_serial_fraction=0.1,
    max_lag=0.02,
    max_blocked=0.005,
    cpu_allowance=0.005,
    allow=(),
    timeout=30.0,
)


def evidence(*sizes, alone=1.0, each=0.5):
    """Return runs of ``sizes`` copies that take ``each`` seconds for each further copy."""
    runs = [Run(n, alone + (n - 1) * each, (), Budget()) for n in sizes]
    return Evidence(
        singles=tuple(r for r in runs if r.concurrency == 1),
        bursts=tuple(r for r in runs if r.concurrency > 1),
    )


@pytest.mark.parametrize(
    ("done", "level", "left"),
    [
        ((), 1, [1, 1, 1, 8, 50]),
        ((1, 1), 1, [1, 8, 50]),
        ((1, 1, 1), 8, [8, 50]),
        ((1, 1, 1, 8), 1, [1, 1]),  # a wait is to convict
        ((1, 1, 1, 1, 8, 50), 1, [1]),
        ((1, 1, 1, 8), 8, [8, 8]),
        ((1, 1, 1, 8, 8, 8), 8, [8]),
        ((1, 1, 1, 8), 50, [50]),
        ((1, 1, 1, 8, 50), 50, [50, 50]),
    ],
)
def test_the_rounds_that_are_left(done, level, left):
    assert rounds_left(evidence(*done), level, LIMITS) == left


def test_nothing_is_promised_before_the_first_round():
    assert seconds_left(evidence(), 1, LIMITS) is None
    assert progress_text(evidence(), 1, LIMITS) == " [0 copies done, running 1 alone]"


@pytest.mark.parametrize(
    ("done", "level", "each", "seconds"),
    [
        ((1,), 1, 0.0, 4.0),  # two alone, then two bursts that are taken to be as long
        ((1, 1, 1, 8), 50, 0.5, 25.5),  # the slope of the small burst goes on
        ((1, 1, 1, 8, 50), 50, 0.5, 51.0),  # two more of what is known
        ((1, 1, 1, 8), 50, -0.1, 0.3),  # a burst faster than a single run promises no less
    ],
)
def test_the_time_that_is_left(done, level, each, seconds):
    assert seconds_left(evidence(*done, each=each), level, LIMITS) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("room", "shown"),
    [
        (80, " [11 copies done, running 8 at once, about 9 s left]"),
        (40, " [running 8 at once, about 9 s left]"),
        (20, " [9 s left]"),
        (8, ""),
    ],
)
def test_the_text_tells_what_fits(room, shown):
    assert progress_text(evidence(1, 1, 1, 8), 8, LIMITS, room) == shown
