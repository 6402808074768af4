"""What the page says of a measurement, and how it groups and orders failures."""

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reported import culprit, failing, finding, record, report

from pytest_nonblocking.reporting.record import Copy, Limit, Stack, Timeline

pytest.importorskip(
    "pytest_nonblocking.reporting.html_report", reason="the extra html is not installed"
)
from pytest_nonblocking.reporting.page import figures, stacks, timeline
from pytest_nonblocking.reporting.page.measured import grouped, measured

LIMITS = {
    "max_serial_fraction": {"value": 0.1, "from": "default"},
    "max_lag": {"value": 0.02, "from": "marker"},
    "max_blocked": {"value": 0.005, "from": "default"},
}
TWO_ALLOWED = "thread-pool: small, gil-contention"
ALL_THREE = {
    "judged": {"fraction": 0.9, "low": 0.8, "high": 1.0, "limit": 0.1},
    "limits": LIMITS,
}


def shown(*tests, **kw):
    return measured(report(*tests, **kw))


def titles(*tests):
    return [group.title for group in grouped(shown(*tests))]


def test_one_line_that_blocks_three_routes_is_one_card():
    routes = [failing(f"test_{n}.py::t", target=f"GET /{n}") for n in range(3)]
    (group,) = grouped(shown(*routes))
    assert group.title == "shop/app.py:41 blocks the event loop"
    assert len(group.tests) == 3


def test_the_card_of_one_request_is_named_after_it():
    assert titles(failing()) == ["GET /export blocks the event loop"]


@pytest.mark.parametrize(("alone_ms", "takes"), [(48.9, "48.9 ms"), (None, "50 ms")])
def test_a_single_run_takes_as_long_on_the_page_as_in_the_text(alone_ms, takes):
    # A report of an earlier version has no such figure, and shows how long the run took.
    (test,) = shown(failing(alone_ms=alone_ms))
    assert f"One alone takes {takes}, 8 at once 400 ms." in test.facts


def test_a_library_that_two_handlers_call_is_two_cards():
    handlers = [
        failing(f"t{n}", culprit=culprit(library=True, route=f"shop/app.py:{n} in export"))
        for n in (1, 2)
    ]
    assert len(titles(*handlers)) == 2


def test_failures_without_a_place_are_not_put_together():
    assert len(titles(failing("a", culprit=None), failing("b", culprit=None))) == 2


def test_what_the_guard_alone_fails_is_put_at_its_first_accused_line():
    noted = finding(line=1, accused=False)
    guarded = failing(reasons=["guard"], culprit=None, guard=[noted, finding(line=7)])
    (test,) = shown(guarded)
    assert str(test.place) == "shop/app.py:7"
    assert test.fix == "await asyncio.sleep(…)"


def test_the_worst_come_first_and_known_failures_after_new_ones():
    tests = [
        record("pass"),
        record("unclear", verdict="inconclusive"),
        failing("known", accepted_by="baseline", max_lag_ms=900.0, limits=LIMITS),
        failing("bad", max_lag_ms=30.0, limits=LIMITS, judged=None),
        failing("worse", max_lag_ms=300.0, limits=LIMITS, judged=None),
        failing("never ends", reasons=["timeout"], limits=LIMITS),
        record("unmeasured", verdict="not-measured", levels=[]),
    ]
    assert [test.record.nodeid for test in shown(*tests)] == [
        "never ends",
        "worse",
        "bad",
        "known",
        "unclear",
        "unmeasured",
        "pass",
    ]


def test_each_figure_has_its_limit_with_unit_and_origin_and_the_setting_that_moves_it():
    (test,) = shown(failing(**ALL_THREE))
    assert [(one.text, one.limit_text, one.setting) for one in test.figures] == [
        ("0.90 (0.80–1.00)", "0.10 (default)", "max_serial_fraction"),
        ("50 ms", "20 ms (from marker)", "max_lag"),
        ("49 ms", "5 ms (default)", "max_blocked"),
    ]
    assert test.decisive.setting == "max_blocked"  # the farthest over its limit


@pytest.mark.parametrize(
    ("cause", "limit"),
    [
        ("cpu-on-loop", "20 ms (from marker) × 1.5 slower machine"),
        ("blocking-call", "20 ms (from marker)"),
    ],
)
def test_a_slower_machine_moves_the_limits_of_computing_only(cause, limit):
    (test,) = shown(failing(cause=cause, **ALL_THREE), machine_factor=1.5)
    assert test.figures[1].limit_text == limit


def test_the_limit_of_a_fast_endpoint_says_why_it_is_higher():
    judged = {"fraction": 0.2, "low": 0.1, "high": 0.3, "limit": 0.34}
    (test,) = shown(record(judged=judged, limits=LIMITS))
    assert test.decisive.limit_text == ("0.34 (1 ms per request: less never fails), 0.10 (default)")


@settings(deadline=None)
@given(st.floats(0, 1e9), st.floats(0, 1e9), st.floats(0, 1e6))
def test_on_a_bar_more_is_further_right_and_the_limit_is_in_the_middle(one, other, limit):
    (test,) = shown(record(limits=LIMITS))
    figure = replace(test.figures[0], limit=limit)
    low, high = sorted((one, other))
    assert 0 <= figure.at(low) <= figure.at(high) <= 100
    if limit > 0:
        assert figure.at(limit) == 50


@settings(deadline=None)
@given(st.floats(0.001, 1e9))
def test_an_axis_has_few_round_times_from_zero_on(makespan):
    drawn = timeline.drawn(
        Timeline(concurrency=1, makespan_ms=makespan, copies=(Copy(end_ms=1.0, steps_ms=()),))
    )
    places = [x for x, _ in drawn.ticks]
    assert 4 <= len(places) <= 10
    assert places[0] == 0
    assert all(a < b for a, b in itertools.pairwise(places))
    assert places[-1] <= 100 or math.isclose(places[-1], 100)


def test_the_legend_of_a_burst_names_what_can_be_seen_in_it():
    def kinds(*steps):
        copies = (Copy(end_ms=100.0, steps_ms=steps),)
        return timeline.drawn(Timeline(concurrency=1, makespan_ms=100.0, copies=copies)).kinds

    assert kinds() == ("waiting",)
    assert kinds((0.0, 50.0, 0.0)) == ("waiting", "cpu")
    assert kinds((0.0, 50.0, 0.01)) == ("waiting", "cpu")
    assert kinds((0.0, 50.0, 50.0)) == ("waiting", "blocked")


def test_stacks_of_an_older_report_mark_no_frame():
    (frame,) = stacks.merged([Stack(frames=("a", "b"), count=2)])
    assert (frame.is_users, frame.below[0].is_users, frame.count) == (False, False, 2)


@pytest.mark.parametrize(
    ("session", "file", "link"),
    [
        (None, "shop/app.py", None),
        ({"rootdir": "/me/shop"}, "shop/app.py", "vscode://file/me/shop/shop/app.py:41"),
        ({"rootdir": "C:/me"}, "shop/app.py", "vscode://file/C:/me/shop/app.py:41"),
        ({"rootdir": "/me"}, "/other/app.py", "vscode://file/other/app.py:41"),
        ({"source_url": "https://x/"}, "a b.py", "https://x/a%20b.py#L41"),
        ({"source_url": "https://x/"}, "/other/app.py", None),
        ({}, "shop/app.py", None),
    ],
)
def test_a_place_is_opened_where_it_can_be(session, file, link):
    facts = {"started": "2026-01-31", "duration_s": 1.0, "command": "pytest"}
    known = None if session is None else facts | session
    (test,) = shown(failing(culprit=culprit(file=file)), session=known)
    assert test.link(test.place) == link


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("timeout", 30.0, "30 s"),
        ("max_blocked", 0.005, "5 ms"),
        ("concurrency", 50, "50 copies"),
        ("max_serial_fraction", 0.1, "0.1 of a single run's latency for each further request"),
        ("allow", {}, "none"),
        ("allow", {"thread-pool": "small", "gil-contention": None}, TWO_ALLOWED),
        ("guard_categories", ["dns", "sleep"], "dns, sleep"),
        ("guard", "note", "note"),
    ],
)
def test_a_setting_is_shown_with_its_unit(name, value, text):
    assert figures.limit_value(name, Limit(value=value, from_="default")) == text


TIMEOUT = LIMITS | {"timeout": {"value": 1.0, "from": "marker"}}


def test_a_hang_says_how_many_ended_and_within_which_limit():
    never = {"end_ms": None, "steps_ms": []}
    burst = {
        "concurrency": 2,
        "makespan_ms": 1000.0,
        "copies": [{"end_ms": 20.0, "steps_ms": []}, never],
    }
    (test,) = shown(failing(reasons=["timeout"], limits=TIMEOUT, timeline=burst))
    assert test.facts == ["1 of 2 copies ended within 1 s (timeout, from marker)."]
    (test,) = shown(failing(reasons=["timeout"], limits=TIMEOUT, timeline=None))
    assert test.facts == ["It hung for 1 s (timeout, from marker)."]
    assert test.best_plot == "stacks"


def test_what_the_guard_alone_fails_says_what_it_found_and_draws_nothing():
    guard = {"guard": {"value": "fail", "from": "marker"}}
    (test,) = shown(failing(reasons=["guard"], limits=guard))
    assert test.facts == [
        "time.sleep took 50.1 ms here; guard=fail (from marker) permits no such call on the event "
        "loop."
    ]
    assert test.best_plot is None
