"""The laboratory's labels are complete, and its score counts what it says."""

import sys
from collections import Counter
from pathlib import Path

import pytest

TRUTH = Path(__file__).resolve().parents[2] / "benchmarks" / "truth"


@pytest.fixture(scope="module", autouse=True)
def laboratory():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TRUTH))
        yield
    for name in [
        n for n in sys.modules if n.partition(".")[0] in ("corpus", "score", "conditions")
    ]:
        del sys.modules[name]


def test_every_cause_and_enough_decoys_are_labelled():
    from corpus import cases

    causes = Counter(case.cause for case in cases())
    assert sum(causes.values()) >= 60
    assert causes[None] >= 25
    assert set(causes) == {
        None,
        "blocking-call",
        "cpu-on-loop",
        "gil-contention",
        "thread-pool",
        "serialised-wait",
    }


def test_every_mark_of_a_culprit_names_a_case():
    from corpus import cases
    from corpus.labels import names_in

    names = {case.name for case in cases()}
    marked = {
        name
        for file in (TRUTH / "corpus").glob("*.py")
        for line in file.read_text("utf-8").splitlines()
        for name in names_in(line)
    }
    assert marked - {"NAME"} <= names


def record(verdict="fail", cause="blocking-call", file="corpus/blocking.py", code="x()"):
    culprit = {"file": file, "line": 1, "function": "f", "code": code} if file else None
    return {
        "verdict": verdict,
        "cause": cause,
        "culprit": culprit,
        "reasons": [],
        "notes": [],
        "levels": [{"concurrency": 1, "latency_ms": {"p50": 20.0}}],
        "wall_s": 0.2,
    }


@pytest.mark.parametrize(
    ("found", "truth", "wrong"),
    [
        (record(code="f()  # culprit: a, it"), "blocking-call", ""),
        (record(code="f()  # culprit: a"), "blocking-call", "wrong line"),
        (record(file="corpus/other.py", code="f()  # culprit: it"), "blocking-call", "wrong line"),
        (record(file=None), "blocking-call", "wrong line"),
        (record(), "cpu-on-loop", "wrong cause"),
        (record("pass", None), "blocking-call", "wrong pass"),
        (record("pass", None), None, ""),
        (record(), None, "wrong fail"),
        (record("inconclusive", None), None, "inconclusive"),
        (record("not-measured", None), "blocking-call", "not-measured"),
    ],
)
def test_a_verdict_is_compared_with_its_label(found, truth, wrong):
    import score

    label = score.Label(truth, "blocking.py", has_line=True)
    finding = score.judge(found, "it", label)
    assert finding.wrong == wrong
    assert finding.cost == 10
