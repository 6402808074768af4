"""The generated laboratory: labels follow from compositions, and cases from their seeds."""

import ast
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
    for name in [n for n in sys.modules if n.partition(".")[0] == "generated"]:
        del sys.modules[name]


def composed(*steps, mounted=False):
    from generated.truth import Composition, Step

    return Composition(tuple(Step(*step) for step in steps), mounted)


@pytest.mark.parametrize(
    ("steps", "cause", "culprit"),
    [
        ([("sleep", 20)], None, None),
        ([("upstream", 20), ("cpu", 2)], None, None),
        ([("block", 20)], "blocking-call", 0),
        ([("sleep", 10), ("block", 3)], "blocking-call", 1),
        ([("sleep", 40), ("block", 0.4)], None, None),
        ([("cpu", 12)], "cpu-on-loop", 0),
        ([("cpu", 2), ("sleep", 30), ("cpu-json", 40)], "cpu-on-loop", 2),
        ([("cpu-slices", 24, "handler", 0, 0, 8)], "cpu-on-loop", 0),
        ([("lock", 20, "handler", 0, 1)], "serialised-wait", 0),
        ([("lock", 5, "middleware", 0, 1), ("lock", 32, "handler", 0, 1)], "serialised-wait", 1),
        ([("semaphore", 30, "handler", 0, 4)], "serialised-wait", 0),
        ([("semaphore", 30, "handler", 0, 60)], None, None),
        ([("lock-hash", 15, "handler", 0, 1)], "serialised-wait", 0),
        ([("def-lock", 20, "handler", 0, 1)], "serialised-wait", 0),
        ([("def-lock-hash", 15, "handler", 0, 1)], "serialised-wait", 0),
        ([("executor", 20, "handler", 0, 2)], "thread-pool", 0),
        ([("limiter", 30, "dependency", 2, 3)], "thread-pool", 0),
        ([("executor-hash", 20, "handler", 0, 1)], "thread-pool", 0),
        ([("thread-hash", 20)], None, None),
        ([("process", 20)], None, None),
        ([("def-sleep", 20)], None, None),
        ([("thread-python", 20)], "gil-contention", 0),
        ([("def-python", 20), ("sleep", 10)], "gil-contention", 0),
        ([("sleep", 20), ("background-sleep", 40)], None, None),
        ([("sleep", 20), ("background-python", 20)], "gil-contention", 1),
    ],
)
def test_a_label_follows_from_the_composition(steps, cause, culprit):
    from generated.truth import Label, label

    assert label(composed(*steps)) == Label(cause, culprit)


@pytest.mark.parametrize(
    "steps",
    [
        [("block", 5)],  # the limit of one wait
        [("cpu", 20)],  # the limit of one step
        [("sleep", 15), ("block", 1)],
        [("cpu", 12), ("sleep", 2), ("cpu", 12)],  # whose line?
        [("cpu", 9), ("cpu", 9)],  # one step of the loop or two
        [("block", 10), ("lock", 15, "handler", 0, 1)],
        [("lock", 15, "handler", 0, 1), ("lock", 15, "handler", 0, 1)],
        [("semaphore", 30, "handler", 0, 10)],
        [("cpu", 10), ("thread-python", 10)],
        [("thread-hash", 30), ("lock", 12, "handler", 0, 1)],  # the cores are as busy as the lock
        [("thread-hash", 30), ("block-socket", 1)],  # no core is left for the service
    ],
)
def test_what_is_near_a_limit_or_has_two_causes_has_no_label(steps):
    from generated.truth import Unclear, label

    with pytest.raises(Unclear):
        label(composed(*steps))


def test_the_serial_demand_is_the_largest_on_any_resource():
    from generated.truth import demand

    def serial(*steps):
        return demand(composed(*steps), framework=0.0).serial(24, 2)

    assert serial(("sleep", 20)) == (0, 0)
    assert serial(("cpu", 6), ("block", 4)) == (10, 10)
    assert serial(("lock", 20, "handler", 0, 1), ("sleep", 30)) == (20, 20)
    assert serial(("lock", 20, "handler", 0, 1), ("cpu", 2)) == (20, 22)
    assert serial(("semaphore", 23, "handler", 0, 4)) == (5, 5)
    least, most = serial(("process", 20))
    assert least == pytest.approx(10.1)
    assert most == pytest.approx(10.2)


def test_a_request_alone_takes_the_sum_of_its_steps():
    from generated.truth import demand

    asked = demand(composed(("sleep", 20), ("cpu", 4), ("background-sleep", 9)), framework=0.5)
    assert (asked.alone, asked.after) == (24.5, 9)


def test_a_seed_gives_the_same_files_always():
    from generated.compose import case
    from generated.render import culprit_file, sources

    for seed in range(60):
        once, again = case(seed), case(seed)
        files = sources(once)
        assert files == sources(again)
        marked = [name for name, text in files.items() if f"# culprit: {once.name}\n" in text]
        assert marked == ([culprit_file(once)] if once.label.cause else [])
        for text in files.values():
            ast.parse(text)


def test_cases_are_balanced():
    from generated.compose import case
    from generated.primitives import CAUSES, PRIMITIVES

    cases = [case(seed) for seed in range(300)]
    causes = Counter(found.label.cause for found in cases)
    assert 120 <= causes[None] <= 180
    assert min(causes[cause] for cause in CAUSES) >= 15
    kinds = Counter(step.kind for found in cases for step in found.composition.steps)
    assert set(kinds) == set(PRIMITIVES)
    places = Counter(step.place for found in cases for step in found.composition.steps)
    assert min(places.values()) >= 10
    assert {s.depth for found in cases for s in found.composition.steps} == {0, 1, 2, 3}


def test_the_first_seed_is_the_same_on_any_machine():
    from generated.compose import case
    from generated.truth import Label

    found = case(3)
    assert [(s.kind, s.ms, s.width) for s in found.composition.steps] == [("semaphore", 20.0, 2)]
    assert found.label == Label("serialised-wait", 0)
    assert case(3).composition == found.composition


@pytest.mark.parametrize(
    ("slope", "loop_cpu", "alone", "objects"),
    [
        (20.5, 0.4, 21.0, False),
        (10.0, 0.4, 21.0, True),
        (20.5, 4.0, 21.0, True),
        (20.5, 0.4, 40.0, True),
    ],
)
def test_a_plain_driver_confirms_a_label_or_does_not(slope, loop_cpu, alone, objects):
    from generated.compose import Case
    from generated.truth import Label
    from generated.validate import objections

    lock = Case(1, composed(("lock", 20, "handler", 0, 1)), Label("serialised-wait", 0))
    measured = {"slope": slope, "loop_cpu": loop_cpu, "alone": alone, "speed": [1.0, 1.2]}
    assert bool(objections(measured, lock, 2)) == objects
    assert objections({"error": "it hung"}, lock, 2) == ["it hung"]


def test_long_pieces_of_work_have_a_rate_of_their_own():
    from generated.machine import Rate

    rate = Rate(((1, 1000.0), (5, 4000.0)))
    assert [0.5 * rate, 1 * rate, 3 * rate, 5 * rate, 10 * rate] == [500, 1000, 2500, 4000, 8000]
