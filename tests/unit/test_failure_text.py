"""The text of a failure and its notes, from literal evidence."""

from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from pytest_nonblocking.model import (
    Budget,
    Culprit,
    Evidence,
    Frame,
    Judgement,
    Limit,
    Limits,
    Outcome,
    Run,
)
from pytest_nonblocking.reporting import json_report
from pytest_nonblocking.reporting.advice import notes_for
from pytest_nonblocking.reporting.failure import failure_text

ROOT = Path(__file__).parent
HANDLER = Frame(str(ROOT / "shop.py"), 3, "handler", "shop")
LIMITS = {
    name: Limit(value, "default")
    for name, value in {
        **{name: getattr(Limits(), name) for name in Limits.__slots__},
        "allow": {},
    }.items()
}
JUDGED = Judgement(
    "fail",
    reasons=("scaling",),
    cause="cpu-on-loop",
    causes=(("cpu-on-loop", 1.0),),
    serial=0.02,
    serial_fraction=1.0,
    excess=0.02,
)


def run(concurrency, makespan=0.02, **facts):
    return Run(concurrency, makespan, (makespan,), Budget(cpu=makespan), **facts)


def culprit(**facts):
    place = {"file": str(ROOT / "shop.py"), "line": 4, "function": "handler", "code": "one()"}
    return Culprit(**place | {"calls": (), "samples": 9, "of": 10} | facts)


LIBRARY = culprit(
    file="/v/site-packages/pydantic/main.py",
    line=9,
    function="dump_json",
    calls=("fastapi.serialize_response", "pydantic.dump_json"),
    library=True,
    route=HANDLER,
)


def outcome(judgement=JUDGED, found=None, evidence=None):
    measured = Evidence(singles=(run(1),) * 3, bursts=(run(8, 0.16),))
    return Outcome("test_shop.py::t", "GET /a", judgement, evidence or measured, LIMITS, found)


def rows(*args, **kwargs):
    """Return the rows of a failure's text by their labels, the headline as \"\"."""
    text = failure_text(outcome(*args, **kwargs), ROOT).splitlines()
    told = {"": text[0]}
    for row in text[1:]:
        label, content = row[2:10].strip(), row[11:]
        told[label] = told.get(label, "") + content if label else told.get(label, "")
    return text, told


# Causes


def test_the_other_causes_are_told_with_their_shares():
    causes = (
        ("cpu-on-loop", 0.42),
        ("blocking-call", 0.33),
        ("serialised-wait", 0.16),
        ("gil-contention", 0.09),
    )
    text, told = rows(replace(JUDGED, causes=causes))
    assert told["others"] == "blocking-call 33 %, serialised-wait 16 %"
    labels = [row[2:10].strip() for row in text]
    assert labels.index("others") == labels.index("cause") + 1


@pytest.mark.parametrize("share", [0.0, 0.09])
def test_a_small_share_is_no_other_cause(share):
    causes = (("cpu-on-loop", 1 - share), ("blocking-call", share))
    assert "others" not in rows(replace(JUDGED, causes=causes))[1]


# Places


def test_a_line_of_the_users_is_told_with_its_calls():
    text, told = rows(found=culprit(calls=("json.dumps",)))
    assert told["where"] == "shop.py:4 in handler"
    assert "               one()      → json.dumps" in text
    assert "           9 of 10 samples, 0 of 0 runs" in text


@pytest.mark.parametrize(
    ("counted", "told"),
    [("copies", "9 of 10 copies wait there"), ("threads", "9 of 10 looks at worker threads")],
)
def test_what_is_counted_is_said(counted, told):
    assert f"           {told}" in rows(found=culprit(counted=counted))[0]


def test_a_library_is_told_as_one_with_the_path_from_the_handler_to_it():
    text, told = rows(found=LIBRARY)
    assert told["where"] == "in a library: pydantic/main.py:9 in dump_json"
    path = "handler shop.py:3 in handler → fastapi.serialize_response → pydantic.dump_json"
    assert f"               {path}" in text


def test_a_library_without_a_known_handler_is_told_with_the_calls_that_lead_there():
    text, _ = rows(found=replace(LIBRARY, route=None))
    assert "               fastapi.serialize_response → pydantic.dump_json" in text


def test_a_handler_in_which_no_line_is_agreed_on_is_told_by_its_definition():
    text, told = rows(found=culprit(line=3, code="async def handler():", route=HANDLER))
    assert told["where"] == "shop.py:3 in handler: most samples agree on no line of yours"
    assert "               async def handler():" in text
    assert "samples," not in "".join(text)


@pytest.mark.parametrize(
    ("found", "library", "route", "file"),
    [
        (culprit(), False, None, "shop.py"),
        (culprit(route=HANDLER), False, "shop.py:3 in handler", "shop.py"),
        (LIBRARY, True, "shop.py:3 in handler", "pydantic/main.py"),
    ],
)
def test_the_report_tells_of_a_place_whether_it_is_a_librarys(found, library, route, file):
    told = json_report.record(outcome(found=found), ROOT)
    assert (told["culprit"]["library"], told["culprit"]["route"]) == (library, route)
    assert told["culprit"]["file"] == file
    jsonschema.validate(json_report.document([told]), json_report.schema())


# What hangs


def late(**facts):
    hang = Run(facts.pop("concurrency", 1), 0.5, (), Budget(), timed_out=True, **facts)
    kind = "singles" if hang.concurrency == 1 else "bursts"
    judgement = Judgement("fail", reasons=("timeout",), cause="serialised-wait")
    return judgement, culprit(), Evidence(**{kind: (hang,)})


def test_a_lone_request_that_hangs_queues_behind_nobody():
    text, told = rows(*late())
    assert text[0] == "nonblocking: GET /a does not finish, even alone"
    assert "it hangs alone: no other request was running" in told["cause"]
    assert told["where"] == "shop.py:4 in handler"
    assert "enlarge the pool" not in told["fix"]
    assert "time-out" in told["fix"]


@pytest.mark.parametrize(
    "facts", [{"concurrency": 8}, {"stuck": (HANDLER,)}], ids=["burst", "stuck"]
)
def test_any_other_time_out_is_told_as_before(facts):
    text, told = rows(*late(**facts))
    assert text[0] == "nonblocking: GET /a does not finish"
    assert "alone" not in told["cause"]


# Background work


def notes(background, makespan=0.02, in_bursts=0.0):
    evidence = Evidence(
        singles=tuple(run(1, makespan, background=each) for each in background),
        bursts=(run(8, 0.16, background=in_bursts),),
    )
    return notes_for(Judgement("pass"), evidence, LIMITS)


def test_work_after_the_response_is_told_by_the_lone_runs():
    (note,) = notes([0.030, 0.031, 0.029])
    assert note.startswith("work went on for 30 ms after the response (background tasks)")


@pytest.mark.parametrize(
    ("background", "makespan"),
    [
        ([0.0001] * 3, 0.02),
        ([0.0049] * 3, 0.02),  # a moment
        ([0.009] * 3, 0.1),  # little beside the request
        ([0.0001, 0.0001, 0.030], 0.02),  # once
        ([], 0.02),
    ],
)
def test_what_any_app_needs_to_return_is_no_background_work(background, makespan):
    assert notes(background, makespan, in_bursts=0.05) == ()
