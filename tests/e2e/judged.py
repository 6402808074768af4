"""What the plugin says of a measured scenario, and what it must say."""

from pathlib import Path


def said(outcome):
    """Return what a user reads first: the verdict, its cause, and the culprit's file and line."""
    print(outcome.judgement, *outcome.notes, sep="\n")  # pytest shows it where a test fails
    culprit = outcome.culprit
    where = culprit and (Path(culprit.file), culprit.line)
    return outcome.judgement.word, outcome.judgement.cause, where


PASS = ("pass", None, None)


def fail(file, mark="# culprit", cause="blocking-call"):
    """Return what must be said where the one line of ``file`` with ``mark`` is at fault."""
    lines = Path(file).read_text("utf-8").splitlines()
    (number,) = (n for n, line in enumerate(lines, start=1) if line.endswith(mark))
    return "fail", cause, (Path(file), number)
