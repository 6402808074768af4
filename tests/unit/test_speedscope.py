"""The stacks of a report in speedscope's format: what the viewer takes, and draws."""

import json

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reported import failing, record, report

from pytest_nonblocking.reporting import speedscope

NUMBER, INDEX = {"type": "number"}, {"type": "integer", "minimum": 0}
PROFILE = {
    "type": "object",
    "required": ["type", "name", "unit", "startValue", "endValue"],
    "properties": {
        "type": {"enum": ["sampled", "evented"]},
        "name": {"type": "string"},
        "unit": {"enum": ["none", "milliseconds"]},
        "startValue": NUMBER,
        "endValue": NUMBER,
        "samples": {"type": "array", "items": {"type": "array", "items": INDEX}},
        "weights": {"type": "array", "items": NUMBER},
        "events": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "frame", "at"],
                "properties": {"type": {"enum": ["O", "C"]}, "frame": INDEX, "at": NUMBER},
            },
        },
    },
    "oneOf": [{"required": ["samples", "weights"]}, {"required": ["events"]}],
}
FRAME = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"type": "string"}, "file": {"type": "string"}, "line": INDEX},
}
# What the viewer needs of the format that it documents.
NEEDED = {
    "type": "object",
    "required": ["$schema", "profiles", "shared"],
    "properties": {
        "$schema": {"const": "https://www.speedscope.app/file-format-schema.json"},
        "profiles": {"type": "array", "items": PROFILE, "minItems": 1},
        "shared": {
            "type": "object",
            "required": ["frames"],
            "properties": {"frames": {"type": "array", "items": FRAME}},
        },
    },
}
MS = st.floats(0, 1000, allow_nan=False).map(lambda ms: round(ms, 2))
STEPS = st.lists(st.lists(st.tuples(MS, MS, MS), max_size=5), min_size=1, max_size=5)


def written(*tests):
    """Return the file, once it is what the viewer takes."""
    found = speedscope.profiled(report(*tests))
    content = json.loads(speedscope.render(found, "pytest-nonblocking 1.0", "stacks.json"))
    jsonschema.validate(content, NEEDED)
    return content


def named(content, numbers):
    return [content["shared"]["frames"][number]["name"] for number in numbers]


def timeline(*copies, makespan=400.0):
    shown = [{"end_ms": None, "steps_ms": steps} for steps in copies]
    return {"concurrency": max(1, len(copies)), "makespan_ms": makespan, "copies": shown}


def events(content, profile):
    names = named(content, [event["frame"] for event in profile["events"]])
    return [(e["type"], name, e["at"]) for e, name in zip(profile["events"], names, strict=True)]


def test_each_stack_weighs_as_often_as_it_was_seen():
    content = written(failing())
    profile = content["profiles"][0]
    assert [named(content, stack) for stack in profile["samples"]] == [
        ["export", "sleep"],
        ["export"],
    ]
    assert profile["weights"] == [20, 4]
    assert (profile["unit"], profile["startValue"], profile["endValue"]) == ("none", 0, 24)


def test_a_frame_has_its_file_and_its_line():
    assert written(failing(timeline=None))["shared"]["frames"] == [
        {"name": "export", "file": "shop/app.py", "line": 41},
        {"name": "sleep", "file": "time", "line": 1},
        {"name": "export", "file": "shop/app.py", "line": 42},
    ]


@pytest.mark.parametrize(
    ("text", "frame"),
    [
        ("f (C:/a (1)/b.py:3)", {"name": "f", "file": "C:/a (1)/b.py", "line": 3}),
        ("<lambda> (注文.py:7)", {"name": "<lambda>", "file": "注文.py", "line": 7}),
        ("no place", {"name": "no place"}),
    ],
)
def test_odd_frames_are_kept(text, frame):
    stacks = [{"frames": [text], "count": 1}]
    assert written(failing(stacks=stacks, timeline=None))["shared"]["frames"] == [frame]


def test_measurements_share_their_frames():
    content = written(failing("t::a"), failing("t::b"))
    first, _, second, _ = content["profiles"]
    assert first["samples"] == second["samples"]


def test_callbacks_of_all_copies_stand_one_after_another_with_the_blocked_time_at_the_end():
    shown = timeline([[0.0, 50.0, 49.0]], [[50.0, 30.0, 0.0]])
    content = written(failing(stacks=[], timeline=shown))
    (profile,) = content["profiles"]
    assert profile["name"] == "test_shop.py::test_export: callbacks in a burst of 2"
    assert (profile["unit"], profile["endValue"]) == ("milliseconds", 400.0)
    assert events(content, profile) == [
        ("O", "copy 0", 0.0),
        ("O", "blocked", 1.0),
        ("C", "blocked", 50.0),
        ("C", "copy 0", 50.0),
        ("O", "copy 1", 50.0),
        ("C", "copy 1", 80.0),
    ]


@settings(deadline=None)
@given(STEPS)
def test_every_event_closes_what_was_opened_last_and_none_goes_back_in_time(copies):
    content = written(failing(stacks=[], timeline=timeline([[0.0, 1.0, 0.0]], *copies)))
    (profile,) = content["profiles"]
    open_now, last = [], 0.0
    for kind, name, at in events(content, profile):
        assert at >= last
        last = at
        if kind == "O":
            open_now.append(name)
        else:
            assert open_now.pop() == name
    assert not open_now
    assert last <= profile["endValue"]


def test_the_viewer_opens_the_first_failure():
    seen = {"stacks": [{"frames": ["f (a.py:1)"], "count": 1}]}
    content = written(record("t::healthy", **seen), record("t::b", **seen), failing("t::slow"))
    profile = content["profiles"][content["activeProfileIndex"]]
    assert profile["name"] == "t::slow: blocking-call"
    assert written(record("t::healthy", **seen))["activeProfileIndex"] == 0


def test_a_measurement_without_stacks_and_long_callbacks_is_left_out():
    idle = record("t::idle", timeline=timeline([], []))
    found = speedscope.profiled(report(record(), idle, failing()))
    assert [one.nodeid for one in found] == ["test_shop.py::test_export"]


def test_the_schema_refuses_what_is_no_profile():
    content = written(failing())
    del content["profiles"][0]["weights"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, NEEDED)
