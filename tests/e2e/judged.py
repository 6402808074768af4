"""What the plugin says of a measured scenario, and what it must say."""

from pathlib import Path

import pytest

from pytest_nonblocking.analysis.noise import pressed

PRESSED = 0.3
"""Share of the time in which tasks wait for a processor from which a machine is busy: two busy
processes on two cores show 0.01, four of them 1.0."""


def said(outcome):
    """Return what a user reads first: the verdict, its cause, and the culprit's file and line.

    Beside busy neighbours a verdict may be inconclusive, never wrong: such a test is skipped, and
    how often that is so stands in docs/truth.md.
    """
    print(outcome.judgement, *outcome.notes, sep="\n")  # pytest shows it where a test fails
    busiest = max(map(pressed, outcome.evidence.bursts), default=0.0)
    if outcome.judgement.verdict == "inconclusive" and busiest > PRESSED:
        near = outcome.judgement.near
        pytest.skip(f"inconclusive, tasks waited for a processor {busiest:.0%} of the time: {near}")
    culprit = outcome.culprit
    where = culprit and (Path(culprit.file), culprit.line)
    return outcome.judgement.verdict, outcome.judgement.cause, where


PASS = ("pass", None, None)


def fail(file, mark="# culprit", cause="blocking-call"):
    """Return what must be said where the one line of ``file`` with ``mark`` is at fault."""
    lines = Path(file).read_text("utf-8").splitlines()
    (number,) = (n for n, line in enumerate(lines, start=1) if line.endswith(mark))
    return "fail", cause, (Path(file), number)
