"""Laws that hold for any evidence, and not only for the examples that someone thought of."""

from dataclasses import dataclass, fields, replace
from random import Random
from unittest import mock

import pytest
from budgets import LIMITS
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pytest_nonblocking.analysis import bounds, tolerances, verdict
from pytest_nonblocking.analysis.bounds import excess_of
from pytest_nonblocking.analysis.compared import compared, shown_by
from pytest_nonblocking.analysis.tolerances import CPU_SPREAD
from pytest_nonblocking.model import (
    Budget,
    Calibration,
    Evidence,
    Limits,
    Looks,
    Pressure,
    Run,
    Step,
)

CORES = 2
TOP = LIMITS.concurrency
PARTS = ("cpu", "blocked", "gil", "gc", "descheduled", "idle", "own")

# One profile for all: a machine that is busy with other tests is slow, and not at fault.
law = settings(deadline=None, max_examples=150, derandomize=True)


@dataclass(frozen=True)
class Demand:
    """What one request asks for, in seconds.

    ``wait`` passes in parallel. For ``hold`` it has a lock to itself, ``hashes`` is the share of
    it in which a thread computes without the GIL. ``python`` is computed in a thread with the
    GIL, ``in_steps`` the share of it for which the loop waits within its steps. ``free`` is
    computed in threads without the GIL.
    """

    wait: float = 0.0
    cpu: float = 0.0
    gc: float = 0.0
    blocked: float = 0.0
    hold: float = 0.0
    hashes: float = 0.0
    python: float = 0.0
    in_steps: float = 0.0
    free: float = 0.0

    @property
    def excess(self):
        """What is judged of it: CPU and the GIL share the allowance."""
        shared = max(0.0, self.cpu + self.gc + self.python - LIMITS.cpu_allowance)
        return shared + self.blocked + self.hold


def run_of(demand, copies, delay=0.0):
    """The run that ``copies`` of a request make on a machine without noise."""
    full = demand.free * copies / min(CORES, copies)
    gil = demand.python * copies * demand.in_steps
    held = demand.python * copies
    hold = demand.hold * copies
    idle = demand.wait + hold + full + held - gil
    hashed = hold * demand.hashes
    spent = Budget(
        cpu=demand.cpu * copies,
        blocked=demand.blocked * copies,
        gil=gil,
        gc=demand.gc * copies,
        idle=idle,
        other_cpu=held + hashed + demand.free * copies,
        other_delay=delay,
        idle_cpu=held - gil + hashed + demand.free * copies,
        gil_cpu=gil,
        gil_seen=gil,
    )
    saturated = full if copies >= CORES else 0.0
    seen = Looks(
        count=int(idle / 0.0025),
        watched=idle,
        saturated=saturated,
        maybe_saturated=saturated,
        free=min(CORES * idle, hashed + demand.free * copies),
        used=held + hashed + demand.free * copies,
        used_alone=hashed,
        active=idle - demand.wait - hold * (1 - demand.hashes),
        several=saturated,
        quiet=demand.wait + hold * (1 - demand.hashes),
        held=held,
        maybe_held=held,
        tried=idle + gil,
    )
    first = min(spent.wall, demand.wait + (spent.wall - demand.wait) / copies)
    each = (spent.wall - first) / max(1, copies - 1)
    return Run(
        concurrency=copies,
        makespan=spent.wall,
        latencies=tuple(first + each * copy for copy in range(copies)),
        budget=spent,
        looks=seen,
        requests=copies,
    )


def evidence(single, bursts):
    return Evidence((single,) * 3, tuple(bursts), Calibration(cores=CORES))


def evidence_of(demand, times=3):
    return evidence(run_of(demand, 1), [run_of(demand, TOP)] * times)


def word_of(known, limits=LIMITS):
    return verdict.judge(known, limits).verdict


def excess(known, run=None):
    run = run or known.bursts[0]
    shown = shown_by([run], [run])
    return excess_of(compared(run, known.singles, known.calibration, shown), LIMITS)


def ms(least, most):
    return st.floats(least, most).map(lambda value: round(value, 3) / 1000)


SHARE = st.sampled_from((0.0, 0.2, 0.5, 0.9, 1.0))
ON_THE_LOOP = {"wait": ms(1, 100), "cpu": ms(0, 12), "gc": ms(0, 4), "blocked": ms(0, 6)}
NO_PYTHON = st.one_of(st.builds(dict), st.builds(dict, hold=ms(0, 20), hashes=SHARE))
PYTHON = st.builds(dict, python=ms(0, 20), in_steps=SHARE)
ONE_AT_A_TIME = st.one_of(NO_PYTHON, PYTHON)
FREE = st.builds(dict, free=ms(1, 20))


def demands(*others):
    return st.builds(
        lambda loop, rest: Demand(**loop, **rest),
        st.fixed_dictionaries(ON_THE_LOOP),
        st.one_of(*others),
    )


SERIAL = demands(ONE_AT_A_TIME)
ANY = demands(ONE_AT_A_TIME, FREE)
LATENCIES = st.sampled_from(("a queue", "all at once", "a long tail"))


def ended(run, shape):
    """``run`` with copies that end as ``shape`` says."""
    if shape == "a queue":
        return run
    short = run.makespan if shape == "all at once" else run.makespan / 5
    return replace(run, latencies=(short,) * (run.concurrency - 1) + (run.makespan,))


def disturbed(run, off):
    """``run`` on a machine that kept the loop from running for ``off`` seconds in all.

    Every copy ends later by its part of it, and some task waited for a processor meanwhile.
    """
    stretch = (run.makespan + off) / run.makespan
    return replace(
        run,
        makespan=run.makespan + off,
        latencies=tuple(latency * stretch for latency in run.latencies),
        taken=tuple(latency * (stretch - 1) for latency in run.latencies),
        budget=replace(run.budget, descheduled=run.budget.descheduled + off),
        pressure=Pressure(run.pressure.waiting + off),
    )


# Noise


@law
@given(ANY, ms(0, 2000), st.sampled_from((0.0, 1.0)), LATENCIES)
@example(Demand(wait=0.026, hold=0.013), 0.018, 0.0, "a long tail")
def test_noise_makes_no_fail(demand, off, queued, shape):
    known = evidence_of(demand)
    quiet = replace(known, bursts=tuple(ended(run, shape) for run in known.bursts))
    assume(word_of(quiet) != "fail")
    noisy = tuple(replace(disturbed(run, off), queued=queued) for run in quiet.bursts)
    assert word_of(replace(quiet, bursts=noisy)) != "fail"


@law
@given(ANY, ms(0, 200))
def test_noise_in_the_single_runs_makes_no_fail(demand, off):
    quiet = evidence_of(demand)
    assume(word_of(quiet) != "fail")
    singles = tuple(disturbed(run, off) for run in quiet.singles)
    assert word_of(replace(quiet, singles=singles)) != "fail"


@law
@given(SERIAL, ms(0, 2000))
def test_noise_buys_no_pass(demand, off):
    quiet = evidence_of(demand)
    assume(word_of(quiet) != "pass")
    noisy = tuple(disturbed(run, off) for run in quiet.bursts)
    assert word_of(replace(quiet, bursts=noisy)) != "pass"


@law
@given(SERIAL, ms(0, 2000))
def test_threads_that_wait_for_a_processor_buy_no_pass(demand, delay):
    # They keep a fail back: with more cores they would not have waited.
    quiet = evidence_of(demand)
    assume(word_of(quiet) != "pass")
    noisy = evidence(quiet.singles[0], [run_of(demand, TOP, delay)] * 3)
    assert word_of(noisy) != "pass"


@law
@given(ANY, ms(0, 200), ms(0, 200))
def test_a_single_request_s_bounds_contain_its_latency_whatever_its_threads_wait_for(
    demand, away, others
):
    # The threads of the request get no core for a part of the idle time; others may for longer.
    known = evidence_of(demand)
    alone = known.singles[0]
    away *= alone.budget.idle_cpu > 0
    starved = replace(
        alone,
        makespan=alone.makespan + away,
        budget=replace(alone.budget, idle=alone.budget.idle + away, other_delay=away + others),
        looks=replace(
            alone.looks,
            count=int((alone.budget.idle + away) / 0.0025),
            watched=alone.looks.watched + away,
            active=alone.looks.active + away,
        ),
    )
    found = excess(replace(known, singles=(starved,) * 3)).alone
    assert found.lower <= alone.makespan + 1e-6
    assert found.upper >= alone.makespan - 1e-6


# Demand


SPLIT = st.lists(st.floats(0, 1), min_size=4, max_size=4).filter(lambda parts: sum(parts) > 0.1)


@law
@given(st.floats(5, 200), st.floats(1.4, 5), SPLIT, SHARE)
@example(wait=20.0, ratio=1.4, parts=[1, 1, 1, 0], in_steps=1.0)
def test_a_sum_over_the_limit_convicts_whichever_way_it_divides(wait, ratio, parts, in_steps):
    # T(1) grows with the excess: x over the limit is x = a tenth of (T + x).
    allowance = LIMITS.cpu_allowance
    alone = wait / 1000 + allowance
    total = ratio * max(0.001, LIMITS.max_serial_fraction * alone / (1 - 0.1 * ratio))
    # The allowance itself is known to within the spread of CPU only.
    total += 1.2 * CPU_SPREAD * allowance
    cpu, blocked, hold, python = (total * part / sum(parts) for part in parts)
    demand = Demand(
        wait=wait / 1000,
        cpu=allowance + cpu,
        blocked=blocked,
        hold=hold,
        python=python if not hold else 0.0,
        in_steps=in_steps,
    )
    if hold and python:
        demand = replace(demand, blocked=blocked + python)
    assert word_of(evidence_of(demand)) == "fail"


@law
@given(SERIAL, st.sampled_from(("blocked", "hold", "cpu", "gc", "python")), st.floats(0, 1))
def test_a_fail_is_not_acquitted_by_dividing_its_demand(demand, other, moved):
    known = evidence_of(demand)
    assume(word_of(known) == "fail")
    names = ("cpu", "gc", "blocked", "hold", "python")
    over = {"cpu": demand.cpu - LIMITS.cpu_allowance}
    largest = max(names, key=lambda name: over.get(name, getattr(demand, name)))
    assume(other != largest)
    # What the allowance covers stays where it is.
    spare = max(0.0, LIMITS.cpu_allowance - demand.cpu - demand.gc - demand.python)
    part = moved * max(0.0, over.get(largest, getattr(demand, largest)))
    assume(other not in ("cpu", "gc", "python") or spare == 0)
    divided = replace(
        demand,
        **{largest: getattr(demand, largest) - part, other: getattr(demand, other) + part},
    )
    assume(divided.excess >= demand.excess - 1e-9)
    assert word_of(evidence_of(divided)) != "pass"


@law
@given(SERIAL, st.sampled_from(("blocked", "hold", "cpu", "gc", "python")), ms(0, 20))
def test_more_demand_in_the_bursts_acquits_nobody(demand, part, more):
    known = evidence_of(demand)
    assume(word_of(known) != "pass")
    larger = replace(demand, **{part: getattr(demand, part) + more})
    assert word_of(evidence(known.singles[0], [run_of(larger, TOP)] * 3)) != "pass"


@law
@given(SERIAL, st.sampled_from(("blocked", "hold")), ms(0, 20))
def test_more_demand_in_all_runs_acquits_nobody(demand, part, more):
    # CPU below the allowance may: it makes a single request longer, of which the limit is a share.
    known = evidence_of(demand)
    assume(word_of(known) != "pass")
    assert word_of(evidence_of(replace(demand, **{part: getattr(demand, part) + more}))) != "pass"


# Units and order


def scaled(known, by):
    """All times of the evidence times ``by``."""

    def times(data, kinds):
        values = {f.name: getattr(data, f.name) for f in fields(data)}
        return replace(
            data,
            **{name: value * by for name, value in values.items() if isinstance(value, kinds)},
        )

    def run(one):
        return replace(
            one,
            makespan=one.makespan * by,
            latencies=tuple(latency * by for latency in one.latencies),
            taken=tuple(latency * by for latency in one.taken),
            budget=times(one.budget, float),
            looks=times(one.looks, float),
            pressure=times(one.pressure, float),
            steps=tuple(times(step, float) for step in one.steps),
        )

    calibration = replace(known.calibration, switch_interval=known.calibration.switch_interval * by)
    return Evidence(tuple(map(run, known.singles)), tuple(map(run, known.bursts)), calibration)


@law
@given(ANY, st.sampled_from((0.25, 0.5, 2.0, 4.0, 1024.0)), ms(1, 30))
def test_a_machine_of_another_speed_with_limits_to_match_judges_the_same(demand, by, stall):
    known = evidence_of(demand)
    step = Step(stall, 0.0, stall, 0.0, 0, witnessed=True)
    known = replace(known, bursts=tuple(replace(run, steps=(step,)) for run in known.bursts))
    limits = Limits(
        max_lag=LIMITS.max_lag * by,
        max_blocked=LIMITS.max_blocked * by,
        cpu_allowance=LIMITS.cpu_allowance * by,
    )
    before = verdict.judge(known, LIMITS)
    least, residual = tolerances.LEAST_EXCESS * by, tolerances.RESIDUAL_SECONDS * by
    with (
        mock.patch.object(bounds, "LEAST_EXCESS", least),
        mock.patch.object(verdict, "LEAST_EXCESS", least),
        mock.patch.object(bounds, "RESIDUAL_SECONDS", residual),
    ):
        after = verdict.judge(scaled(known, by), limits)
    assert (after.verdict, after.cause, after.reasons) == (
        before.verdict,
        before.cause,
        before.reasons,
    )
    assert after.serial == pytest.approx(before.serial * by)
    assert after.serial_fraction == pytest.approx(before.serial_fraction)


@law
@example(Demand(wait=0.001, blocked=0.001), [(1, 0), (1.5, 0), (1.5, 0), (1, 0)], Random(1))
@given(
    SERIAL,
    st.lists(st.tuples(st.floats(0.7, 1.5), ms(0, 300)), min_size=2, max_size=5),
    st.randoms(use_true_random=False),
)
def test_the_order_of_bursts_does_not_matter(demand, made, random):
    bursts = [
        disturbed(run_of(replace(demand, blocked=demand.blocked * pace), TOP), off)
        for pace, off in made
    ]
    single = run_of(demand, 1)
    before = verdict.judge(evidence(single, bursts), LIMITS)
    random.shuffle(bursts)
    after = verdict.judge(evidence(single, bursts), LIMITS)
    assert (after.verdict, after.cause) == (before.verdict, before.cause)
    assert after.serial == pytest.approx(before.serial)


# The figures


@law
@given(ANY)
def test_the_shares_of_the_causes_sum_up(demand):
    judgement = verdict.judge(evidence_of(demand), LIMITS)
    assume(judgement.verdict == "fail")
    shares = [share for _, share in judgement.causes]
    assert shares == sorted(shares, reverse=True)
    # What is less than half a per cent is not shown.
    assert sum(shares) == pytest.approx(1, abs=0.005 * 5)
    assert judgement.cause == judgement.causes[0][0]


@law
@given(ANY, ms(0, 1000), st.floats(0, 1))
@example(Demand(wait=0.001, cpu=0.005, python=0.001), 0.0, 0.0)
@example(Demand(wait=0.001, python=0.006), 0.0, 0.0)
def test_each_estimate_is_between_its_bounds(demand, delay, queued):
    known = evidence(run_of(demand, 1), [replace(run_of(demand, TOP, delay), queued=queued)])
    found = excess(known)
    for part in (*found.parts.values(), found.alone, found.total):
        assert 0 <= part.lower <= part.estimate + 1e-12
        assert part.estimate <= part.upper + 1e-12


def contains(found, truth):
    return found.lower - 1e-6 <= truth <= found.upper + 1e-6


@law
@given(demands(NO_PYTHON))
def test_the_bounds_contain_the_truth(demand):
    assert contains(excess(evidence_of(demand)).total, demand.excess)


@law
@given(demands(PYTHON))
def test_the_upper_bound_of_python_in_threads_is_over_the_truth(demand):
    assert excess(evidence_of(demand)).total.upper >= demand.excess - 1e-6


@pytest.mark.parametrize("copies", [8, 50])
def test_the_lower_bound_of_python_in_threads_is_below_the_truth(copies):
    # All of it is covered by the allowance; the wait that passes in parallel dilutes the share.
    demand = Demand(wait=0.100, python=0.0045)
    known = evidence(run_of(demand, 1), [run_of(demand, copies)])
    assert excess(known).total.lower <= demand.excess + 1e-6


@law
@given(demands(FREE))
def test_work_that_fills_the_cores_is_no_demand_of_the_loop_for_certain(demand):
    found = excess(evidence_of(demand))
    assert found.total.lower <= demand.excess + 1e-6


INPUTS = [
    ("budget", name)
    for name in (*PARTS, "idle_cpu", "gil_cpu", "gil_seen", "other_delay", "child_cpu")
]
INPUTS += [
    ("looks", name)
    for name in (
        "saturated",
        "maybe_saturated",
        "free",
        "active",
        "several",
        "quiet",
        "held",
        "maybe_held",
        "tried",
        "late",
    )
]


@law
@given(ANY, st.sampled_from(INPUTS), st.sampled_from((0.99, 1.01)), ms(0, 1000))
def test_a_change_of_one_input_by_one_per_cent_moves_no_bound_far(demand, input_, by, delay):
    known = evidence(run_of(demand, 1), [run_of(demand, TOP, delay)])
    (burst,) = known.bursts
    group, name = input_
    data = getattr(burst, group)
    moved = replace(burst, **{group: replace(data, **{name: getattr(data, name) * by})})
    before, after = excess(known), excess(known, moved)
    largest = max(getattr(burst.budget, name) for name in (*PARTS, "idle_cpu")) / (TOP - 1)
    for figure in ("lower", "estimate", "upper"):
        change = abs(getattr(after.total, figure) - getattr(before.total, figure))
        assert change <= 0.05 * largest
