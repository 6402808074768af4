"""The laboratory's labels are complete, and its score counts what it says."""

import sys
from collections import Counter
from pathlib import Path

import pytest

TRUTH = Path(__file__).resolve().parents[2] / "benchmarks" / "truth"


@pytest.fixture(scope="module", autouse=True)
def laboratory():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TRUTH.parent))
        patch.syspath_prepend(str(TRUTH))
        yield
    ours = ("corpus", "score", "conditions", "guard", "generated", "shop", "slow_service")
    for name in [n for n in sys.modules if n.partition(".")[0] in ours]:
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


def found_at(line, category="sleep", file="/app/seed_1/main.py"):
    return {"file": file, "line": line, "category": category, "functions": ["f"]}


@pytest.mark.parametrize(
    ("findings", "found", "missed", "alarms"),
    [
        ([], 0, 1, 0),
        ([found_at(4)], 1, 0, 0),
        ([found_at(4, "file")], 0, 1, 0),
        ([found_at(4), found_at(4, "file")], 1, 0, 0),
        ([found_at(6), found_at(6)], 0, 1, 1),
        ([found_at(4, file="/app/seed_1/drivers.py")], 0, 1, 1),
    ],
    ids=["nothing", "its line", "other call", "both", "other line, twice", "other file"],
)
def test_calls_are_counted_by_the_places_where_a_handler_blocks(findings, found, missed, alarms):
    from guard import Blocks, Tally, Truth

    places = [Blocks("seed_1/main.py", range(3, 6), "sleep")]
    tally = Tally(Truth({"seed-1": places}, is_complete=True), {"seed-1": findings})
    assert (tally.found["sleep"], tally.missed["sleep"]) == (found, missed)
    assert sum(tally.alarms.values()) == alarms
    assert not tally.healthy


@pytest.mark.parametrize("is_complete", [True, False])
def test_a_handler_without_places_is_accused_by_any_call(is_complete):
    from guard import Tally, Truth

    tally = Tally(Truth({"a": [], "b": []}, is_complete), {"a": [found_at(1)], "b": []})
    assert (tally.healthy, tally.accused) == (["a", "b"], {"a"})


def test_other_lines_of_a_handler_with_one_known_place_are_no_false_alarms():
    from guard import Blocks, Tally, Truth

    truth = Truth({"a": [Blocks("a.py", range(3, 4), "sleep")]}, is_complete=False)
    assert not Tally(truth, {"a": [found_at(9)]}).alarms
