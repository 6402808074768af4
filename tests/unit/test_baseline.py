"""Which known failures are accepted, from literal records."""

import json
from dataclasses import replace

import pytest
from reported import culprit, failing, finding, record

from pytest_nonblocking.gate.baseline import Baseline, known_of, load
from pytest_nonblocking.reporting.loading import BadFileError

EXPORT = failing()


@pytest.fixture
def known(tmp_path):
    return Baseline(tmp_path / "known.json", (known_of(EXPORT),))


def test_a_known_failure_is_accepted(known):
    assert known.objection(EXPORT) is None


@pytest.mark.parametrize(
    "other",
    [
        failing("test_shop.py::test_other"),
        failing(cause="cpu-on-loop"),
    ],
)
def test_another_failure_is_new(known, other):
    assert known.objection(other) == "not among the 1 known failures in known.json: new"


@pytest.mark.parametrize(
    "place",
    [
        culprit(line=99, code="sleep()"),
        culprit(function="Shop.export"),
        culprit(function="other"),
        culprit(file="shop/other.py"),
        culprit(file="pydantic/main.py", library=True, route="shop/app.py:40 in export"),
        None,
    ],
    ids=["line", "class", "function", "file", "library", "none"],
)
def test_a_known_failure_is_accepted_whatever_place_is_named(known, place):
    assert known.objection(failing(culprit=place)) is None
    assert replace(known, known=(known_of(failing(culprit=place)),)).objection(EXPORT) is None


def test_the_place_is_told_to_readers():
    assert known_of(EXPORT).where == "shop/app.py in export"
    in_library = culprit(file="pydantic/main.py", library=True, route="shop/other.py:40 in handler")
    assert known_of(failing(culprit=in_library)).where == "shop/other.py in handler"
    assert known_of(failing(culprit=None)).where is None


@pytest.mark.parametrize(("serial_ms", "accepted"), [(99.0, True), (101.0, False)])
def test_a_known_failure_that_got_worse_fails(known, serial_ms, accepted):
    objection = known.objection(failing(serial_ms=serial_ms))
    assert (objection is None) is accepted
    if not accepted:
        assert objection == (
            "known, but worse: each request adds 101 ms, 50 ms when it was accepted "
            "(limit 2 times that, worse_factor in known.json)"
        )


def test_without_scaling_the_longest_step_tells_what_is_worse(known):
    known = replace(known, known=(replace(known.known[0], serial_ms=None),))
    assert known.objection(failing(serial_ms=None, max_lag_ms=60.0)) is None
    assert "the longest step takes 120 ms" in known.objection(failing(max_lag_ms=120.0))


def guarded(*functions, reasons=("guard",), **changes):
    """A failure of the guard, for calls at one line."""
    found = finding(functions=list(functions))
    return failing(reasons=list(reasons), guard=[found], **changes)


def test_a_known_failure_of_the_guard_is_accepted_however_long_it_took(known):
    accepted = replace(known, known=(known_of(guarded("time.sleep")),))
    assert accepted.objection(guarded("time.sleep", serial_ms=5000.0)) is None
    measured = guarded("time.sleep", reasons=("blocked", "guard"), serial_ms=5000.0)
    assert "known, but worse" in accepted.objection(measured)


def test_a_new_call_of_a_known_failure_of_the_guard_fails(known):
    accepted = replace(known, known=(known_of(guarded("time.sleep", "os.system")),))
    assert accepted.objection(guarded("os.system")) is None
    assert accepted.objection(guarded("time.sleep", "socket.recv")) == (
        "known, but with new blocking calls: socket.recv in export, shop/app.py"
    )


def test_calls_count_only_where_the_guard_fails_for_them():
    assert known_of(EXPORT).calls == ()
    note = failing(reasons=["guard"], guard=[finding(accused=False)])
    assert known_of(note).calls == ()


def test_an_update_keeps_the_calls_of_several_measurements(known):
    both = [replace(one, accepted_by="baseline") for one in (guarded("a.b"), guarded("c.d"))]
    (entry,) = replace(known, known=()).updated(both).known
    assert entry.calls == ("a.b in export, shop/app.py", "c.d in export, shop/app.py")


def test_a_growth_of_less_than_a_millisecond_is_noise(known):
    known = replace(known, known=(replace(known.known[0], serial_ms=0.3),))
    assert known.objection(failing(serial_ms=1.2)) is None


def test_what_passes_now_is_fixed(known):
    assert known.fixed([record(EXPORT.nodeid)]) == [known.known[0]]


@pytest.mark.parametrize(
    "records",
    [
        [],
        [EXPORT],
        [record()],
        [record(EXPORT.nodeid, verdict="inconclusive")],
        [record(EXPORT.nodeid), record(EXPORT.nodeid, verdict="not-measured")],
    ],
    ids=["not-run", "fails", "another-test", "inconclusive", "in-part"],
)
def test_what_was_not_seen_to_pass_is_not_fixed(known, records):
    assert known.fixed(records) == []


def test_an_update_adds_the_new_drops_the_fixed_and_keeps_what_was_not_run(known):
    not_run = known_of(failing("test_shop.py::test_not_run"))
    new = failing("test_shop.py::test_a", accepted_by="baseline")
    before = replace(known, known=(*known.known, not_run))
    updated = before.updated([record(EXPORT.nodeid), new])
    assert updated.known == (known_of(new), not_run)


def test_an_update_leaves_out_a_fail_that_no_test_failed_for(known):
    looked_at = failing("test_shop.py::test_that_measures_and_expects_a_fail")
    assert known.updated([looked_at]).known == known.known


def test_an_update_of_an_older_file_leaves_one_entry_a_test_and_cause(known):
    places = [replace(known.known[0], where=f"shop/app.py in {name}") for name in ("a", "b")]
    older = replace(known, known=tuple(places))
    older.write()
    assert load(known.path).objection(EXPORT) is None
    (kept,) = load(known.path).updated([failing(accepted_by="baseline")]).known
    assert kept.where == "shop/app.py in export"
    (kept,) = load(known.path).updated([]).known
    assert kept.cause == "blocking-call"


def test_an_update_keeps_the_worst_of_several_measurements(known):
    runs = [failing(serial_ms=ms, accepted_by="baseline") for ms in (40.0, 70.0, 60.0)]
    (kept,) = known.updated(runs).known
    assert kept.serial_ms == 70.0


def test_the_file_is_read_as_it_was_written(known):
    known.write()
    assert load(known.path) == known


def test_the_file_is_the_same_in_whatever_order_the_tests_ran(known):
    runs = [failing(f"test_{name}.py::t", accepted_by="baseline") for name in "cab"]
    assert known.updated(runs).text() == known.updated(runs[::-1]).text()


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"[]", "has no schema_version"),
        (b'{"schema_version": "1"}', "schema_version is '1'"),
        (b'{"schema_version": 2}', "has schema_version 2, this pytest-nonblocking reads up to 1"),
        (b'{"schema_version": 1, "tests": []}', "it has no 'worse_factor'"),
        (
            b'{"schema_version": 1, "worse_factor": 2, "failures": [1]}',
            "failures[0] must be an object, not 1",
        ),
        (
            b'{"schema_version": 1, "worse_factor": 0.5, "failures": []}',
            "worse_factor must be 1 or more, not 0.5",
        ),
        (
            b'{"schema_version": 1, "worse_factor": 2, "failures": [{"test": 1}]}',
            "failures[0].test must be a string, not 1",
        ),
        (
            b'{"schema_version": 1, "worse_factor": NaN, "failures": []}',
            "worse_factor must be a number, not nan",
        ),
        (
            b'{"schema_version": 1, "worse_factor": true, "failures": []}',
            "worse_factor must be a number, not True",
        ),
        (b'{"schema_version": true}', "its schema_version is True"),
    ],
)
def test_a_bad_file_is_named_with_the_reason(tmp_path, content, shown):
    path = tmp_path / "known.json"
    path.write_bytes(content)
    with pytest.raises(BadFileError) as error:
        load(path)
    assert str(path) in str(error.value)
    assert shown in str(error.value)
    assert path.read_bytes() == content


@pytest.mark.parametrize("name", ["test", "cause", "where", "serial_ms", "max_lag_ms"])
@pytest.mark.parametrize("value", [..., True, float("nan"), float("inf"), [], {}, "\ud800"])
def test_a_field_of_an_entry_that_is_missing_or_no_value_is_named(known, name, value):
    known.write()
    content = json.loads(known.path.read_text("utf-8"))
    content["failures"][0][name] = value
    if value is ...:
        del content["failures"][0][name]
    known.path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(BadFileError) as error:
        load(known.path)
    assert name in str(error.value) or "surrogates not allowed" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_field_that_is_not_known_is_left_to_whoever_wrote_it(known):
    known.write()
    content = json.loads(known.path.read_text("utf-8"))
    content["failures"][0]["ticket"] = "SHOP-1"
    known.path.write_text(json.dumps(content), encoding="utf-8")
    assert load(known.path) == known
