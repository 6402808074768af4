"""The figure on which a verdict rests, and why a pass is one, from literal evidence."""

from __future__ import annotations

from dataclasses import replace

import pytest
from reported import failing, record

from pytest_nonblocking.model import (
    Budget,
    Calibration,
    Evidence,
    Judged,
    Judgement,
    Limit,
    Limits,
    Outcome,
    Pool,
    Run,
)
from pytest_nonblocking.reporting.figures import (
    burst_of,
    figure_of,
    looks_worse,
    shown,
    why_passed,
)
from pytest_nonblocking.reporting.units import milliseconds

LIMITS = {
    **{name: Limit(getattr(Limits(), name), "default") for name in Limits.__slots__},
    "allow": Limit({"thread-pool": ""}, "marker"),
}
PASS = Judgement(
    "pass", serial=0.004, serial_fraction=2.0, excess=0.0001, judged=Judged(0.05, 0.0, 0.06, 0.5)
)


def run(concurrency, makespan, **facts):
    whole = {"budget": Budget(cpu=makespan), "requests": concurrency} | facts
    return Run(concurrency, makespan, (makespan,), **whole)


def outcome(judgement, **facts):
    measured = {"singles": (run(1, 0.004),) * 3, "bursts": (run(50, 0.2),)}
    evidence = Evidence(**measured | facts)
    return Outcome("test_shop.py::t", "GET /a", judgement, evidence, LIMITS)


def test_the_figure_is_the_judged_fraction_with_its_bounds_and_limit():
    figure = figure_of(outcome(PASS))
    assert (figure.setting, figure.unit) == ("max_serial_fraction", "fraction")
    assert (figure.value, figure.low, figure.high, figure.limit) == (0.05, 0.0, 0.06, 0.5)


@pytest.mark.parametrize(
    ("reasons", "setting", "value", "limit"),
    [
        (("lag", "blocked"), "max_blocked", 30.0, 5.0),
        (("lag",), "max_lag", 60.0, 24.0),  # 20 ms on a machine that is slower by 1.2
        (("scaling", "lag"), "max_serial_fraction", 0.05, 0.5),
    ],
)
def test_a_callback_that_decides_is_the_figure(reasons, setting, value, limit):
    judgement = replace(
        PASS, verdict="fail", reasons=reasons, cause="cpu-on-loop", max_lag=0.06, max_blocked=0.03
    )
    figure = figure_of(outcome(judgement, calibration=Calibration(factor=1.2)))
    assert (figure.setting, figure.value) == (setting, value)
    assert figure.limit == pytest.approx(limit)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0, "0 ms"), (0.00004, "under 0.1 ms"), (0.00006, "0.1 ms"), (0.02, "20 ms")],
)
def test_a_short_time_is_not_shown_as_none(seconds, shown):
    assert milliseconds(seconds) == shown


def test_what_only_the_guard_fails_has_no_figure():
    judgement = replace(PASS, verdict="fail", reasons=("guard",), cause="blocking-call")
    assert figure_of(outcome(judgement)) is None


def test_a_time_out_is_compared_with_the_timeout():
    late = run(8, 31.0, timed_out=True)
    figure = figure_of(outcome(Judgement("fail", reasons=("timeout",)), bursts=(late,)))
    assert (figure.setting, figure.value, figure.limit) == ("timeout", 31_000.0, 30_000.0)


def test_a_step_that_is_too_near_its_limit_is_the_figure():
    near = "the longest callback is within 1% of max_blocked"
    figure = figure_of(outcome(Judgement("inconclusive", near=near, max_blocked=0.005)))
    assert (figure.setting, figure.value) == ("max_blocked", 5.0)


def test_the_burst_that_is_shown_is_the_one_that_was_judged():
    bursts = (run(50, 0.2), run(50, 0.3), run(50, 0.4))
    judged = replace(PASS, serial=(0.4 - 0.004) / 49)
    assert burst_of(outcome(judged, bursts=bursts)).makespan == 0.4
    assert burst_of(outcome(Judgement("pass"), bursts=bursts)).makespan == 0.3


def test_a_table_shows_a_fraction_with_bounds_and_a_callback_without():
    assert shown(record(figure=figure_of(outcome(PASS)))) == ("0.05", "0.00–0.06", "0.50")
    judgement = replace(PASS, verdict="fail", reasons=("blocked",), max_blocked=0.008)
    assert shown(record(figure=figure_of(outcome(judgement)))) == ("8 ms", "-", "5 ms")


def test_a_report_of_an_earlier_version_shows_what_was_judged():
    assert shown(record(figure=None)) == ("0.00", "0.00–0.00", "0.10")
    assert shown(record(figure=None, judged=None)) == ("-", "-", "-")


def test_what_the_guard_fails_is_shown_without_the_figure_of_a_pass():
    failed = record(verdict="fail", reasons=["guard"], figure=None)
    assert shown(failed) == ("-", "-", "-")


@pytest.mark.parametrize(
    ("found", "worse"),
    [
        (record(serial_fraction=2.1), True),
        (record(serial_fraction=0.01), False),
        (failing(serial_fraction=2.1), False),
    ],
)
def test_only_a_pass_over_the_limit_needs_an_explanation(found, worse):
    assert looks_worse(found) is worse


def test_a_pass_names_the_cpu_that_is_allowed_and_the_limit_that_applies():
    assert why_passed(outcome(PASS)) == (
        "4 ms of CPU per request, within cpu_allowance=5 ms (default); serial fraction 0.05 "
        "(0.1 ms per additional request), limit 0.50 (1 ms per request: less never fails), "
        "max_serial_fraction=0.10 (default)"
    )


def test_a_pass_over_the_allowance_says_what_is_not_counted():
    slow = outcome(PASS, singles=(run(1, 0.01),) * 3, bursts=(run(50, 0.5),))
    assert "10 ms of CPU per request, of which cpu_allowance=5 ms (default)" in why_passed(slow)


def test_the_allowance_of_a_copy_is_that_of_all_its_requests():
    several = outcome(PASS, bursts=(run(50, 0.2, requests=150),))
    assert why_passed(several).startswith(
        "4 ms of CPU per copy, within cpu_allowance=5 ms (default) × 3 requests; "
    )


def test_a_pass_names_accepted_causes_parallel_work_and_a_pool_of_the_machines_size():
    pool = Pool("asyncio default executor", 6, 6, 44, sized_by_cpu_count=True)
    judgement = replace(PASS, allowed=("thread-pool",), offloaded=0.03)
    why = why_passed(outcome(judgement, bursts=(run(50, 0.2, pools=(pool,)),)))
    assert "allow (from marker) accepts thread-pool; " in why
    assert "; 30 ms of CPU per request in threads or processes that run in parallel; " in why
    assert "; the queue for the 6 threads of the asyncio default executor is due to" in why


def test_only_a_pass_says_why():
    assert why_passed(outcome(replace(PASS, verdict="fail", reasons=("lag",)))) is None


def test_a_watched_pass_names_the_longest_callback():
    watched = outcome(Judgement("pass", max_lag=0.004), watched=True, bursts=())
    assert why_passed(watched) == (
        "the longest callback held the loop for 4 ms, limit max_lag=20 ms (default)"
    )
