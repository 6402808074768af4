"""From literal readings of the clocks to parts that sum up to the wall time."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_nonblocking.model import Sample
from pytest_nonblocking.sentinel.accounting import (
    Parts,
    Reading,
    Slice,
    slice_of_own,
    slice_of_sleep,
    slice_of_steps,
)

START = Reading(wall=1000, cpu=100, delay=10, sleeps=5, process=500)


def after(*, cpu=0, delay=0, off=0, others=0, sleeps=1):
    """A reading made later: on the processor, waiting for it, and off it."""
    return Reading(
        START.wall + cpu + delay + off,
        START.cpu + cpu,
        START.delay + delay,
        None if sleeps is None else START.sleeps + sleeps,
        START.process + cpu + others,
    )


def looks(*states, weight=1.0):
    """Looks that stand for the same time each."""
    return [Sample((), state, weight) for state in states]


def steps(end, *, collector=0, seen=(), start=START, **others):
    return slice_of_steps(start, end, collector=collector, seen=looks(*seen), **others)


def own(end):
    """What ``slice_of_own`` returns, as a dict of what is not zero."""
    return {name: value for name, value in slice_of_own(START, end)._asdict().items() if value}


def wall_of(part):
    return part.cpu + part.gc + part.blocked + part.gil + part.descheduled + part.idle


def parts_of(part):
    """The fields that are not zero, but for what was not seen."""
    return {n: value for n, value in part._asdict().items() if value and n != "unwitnessed"}


# Steps of the loop


def test_what_a_step_computes_is_its_cpu():
    assert parts_of(steps(after(cpu=70, sleeps=0))) == {"cpu": 70}


def test_run_queue_delay_is_the_machines():
    assert parts_of(steps(after(cpu=70, delay=30))) == {"cpu": 70, "descheduled": 30}


def test_the_collectors_cpu_stands_apart_and_not_twice():
    assert parts_of(steps(after(cpu=70, sleeps=0), collector=40)) == {"cpu": 30, "gc": 40}


def test_a_collector_that_claims_more_than_was_used_has_what_was_used():
    assert parts_of(steps(after(cpu=70, sleeps=0), collector=90)) == {"gc": 70}


def test_a_wait_that_nobody_saw_is_blocked_without_a_witness():
    part = steps(after(off=50))
    assert parts_of(part) == {"blocked": 50}
    assert part.unwitnessed == 50


def test_a_wait_that_nobody_saw_is_for_the_gil_as_far_as_other_threads_computed():
    part = steps(after(off=50, others=35))
    assert parts_of(part) == {"blocked": 15, "gil": 35, "gil_cpu": 35}


def test_a_wait_seen_in_a_system_call_is_blocked_whatever_others_computed():
    part = steps(after(off=50, others=50), seen=["blocked"])
    assert parts_of(part) == {"blocked": 50}
    assert not part.unwitnessed


@pytest.mark.parametrize("state", ["blocked", "sleep", "lock"])
def test_a_wait_that_was_seen_is_witnessed(state):
    part = steps(after(off=50), seen=[state])
    assert parts_of(part) == {"blocked": 50}
    assert not part.unwitnessed


def test_a_wait_seen_on_the_gil_is_for_the_gil_and_others_cpu_bounds_what_it_was_held_for():
    part = steps(after(off=50, others=20), seen=["gil"])
    assert parts_of(part) == {"gil": 50, "gil_cpu": 20, "gil_seen": 20}


@pytest.mark.parametrize(
    ("seen", "parts"),
    [
        (["gil", "blocked"], {"gil": 25, "blocked": 25}),
        (["gil", "gil", "gil", "gil", "lock"], {"gil": 40, "blocked": 10}),
        (["handover", "blocked"], {"gil": 25, "blocked": 25}),
        (["running", "handover", "lock", "sleep", "gil", "gil"], {"gil": 30, "blocked": 20}),
    ],
)
def test_what_was_seen_decides_each_by_the_time_that_it_was_seen(seen, parts):
    found = parts_of(steps(after(off=50, others=100), seen=seen))
    assert {name: found[name] for name in ("gil", "blocked")} == parts


def test_looks_count_by_the_time_that_they_stand_for():
    seen = [*looks("lock", weight=0.001), *looks("gil", weight=0.004)]
    found = slice_of_steps(START, after(off=50, others=50), collector=0, seen=seen)
    assert (found.blocked, found.gil) == (10, 40)


def test_a_look_at_the_end_of_a_wait_is_no_wait_for_the_gil_that_nobody_held():
    # The watchdog holds the GIL while it looks.
    part = steps(after(off=50, others=5), seen=["gil", "blocked"])
    assert (part.blocked, part.gil, part.unwitnessed) == (45, 5, 20)


def test_what_others_computed_after_the_last_look_is_a_wait_for_the_gil():
    # A sleep ends, and the thread that wakes up waits for the GIL as the watchdog does.
    seen = looks("sleep", weight=3e-9)
    part = slice_of_steps(START, after(off=20, others=15), collector=0, seen=seen)
    assert (part.blocked, part.gil) == (5, 15)


def test_work_handed_to_a_thread_that_waits_for_the_gil_is_the_gils():
    # The loop waits for a lock that a worker holds until it has the GIL again.
    part = steps(after(off=50, others=60), seen=["handover", "gil"])
    assert (part.blocked, part.gil) == (0, 50)


def test_the_start_of_a_thread_is_the_machines_time_but_for_its_wait_for_the_gil():
    part = steps(after(off=50, others=20), seen=["handover"])
    assert parts_of(part) == {"gil": 20, "gil_cpu": 20, "descheduled": 30}


def test_what_ran_in_every_look_waited_for_nothing_that_was_seen():
    part = steps(after(cpu=70, off=50), seen=["running", "running"])
    assert part.blocked == part.unwitnessed == 50


def test_a_thread_that_never_gave_up_the_processor_was_robbed_of_it():
    # By a hypervisor: it is neither in the processor time nor in the run-queue delay.
    assert parts_of(steps(after(cpu=70, off=50, sleeps=0))) == {"cpu": 70, "descheduled": 50}


@pytest.mark.parametrize(("cpu", "part"), [(20, "descheduled"), (10, "blocked")])
def test_without_a_scheduler_to_ask_a_step_that_computes_was_preempted(cpu, part):
    # Three busy neighbours leave it a third of a processor.
    start = START._replace(sleeps=None)
    found = steps(after(cpu=cpu, off=50, sleeps=None), start=start)
    assert getattr(found, part) == 50


@pytest.mark.parametrize(("worst", "unwitnessed"), [(0, 0), (24, 0), (25, 50)])
def test_without_a_scheduler_to_ask_a_stack_is_a_witness_beyond_the_canarys_lateness(
    worst, unwitnessed
):
    start = START._replace(sleeps=None)
    part = steps(after(off=50, sleeps=None), start=start, seen=["unknown"], worst=worst)
    assert parts_of(part) == {"blocked": 50}
    assert part.unwitnessed == unwitnessed


def test_a_loop_that_slept_within_the_time_was_idle_for_so_long():
    part = steps(after(cpu=20, off=80, others=50), asleep=60, seen=["blocked"])
    # What others computed is spread over all of it.
    assert parts_of(part) == {"cpu": 20, "idle": 60, "blocked": 20, "idle_cpu": 30}


def test_a_loop_sleeps_no_longer_than_it_was_off_the_processor():
    assert parts_of(steps(after(cpu=70, off=30), asleep=90)) == {"cpu": 70, "idle": 30}


# Sleep


def test_a_sleeping_loop_is_idle():
    part = slice_of_sleep(START, after(cpu=1, delay=4, off=95, others=150), collector=0)
    assert parts_of(part) == {"cpu": 1, "descheduled": 4, "idle": 95, "idle_cpu": 150}


def test_a_collection_while_the_loop_sleeps_is_the_collectors():
    part = slice_of_sleep(START, after(cpu=10, off=90), collector=8)
    assert parts_of(part) == {"cpu": 2, "gc": 8, "idle": 90}


# Any readings

NS = st.integers(0, 10**10)
STATES = st.sampled_from(("blocked", "sleep", "lock", "gil", "running", "handover", "unknown"))
LOOKS = st.lists(st.builds(Sample, st.just(()), STATES, st.floats(0, 10)))


@settings(deadline=None)
@given(
    wall=NS,
    cpu=NS,
    delay=NS,
    process=NS,
    sleeps=st.sampled_from((None, 0, 3)),
    collector=NS,
    asleep=NS,
    seen=LOOKS,
    worst=NS,
)
def test_the_parts_of_steps_sum_to_the_wall_time(
    wall, cpu, delay, process, sleeps, collector, asleep, seen, worst
):
    # The clocks are read one after the other: they need not agree.
    start = START._replace(sleeps=None if sleeps is None else START.sleeps)
    end = Reading(
        start.wall + wall,
        start.cpu + cpu,
        start.delay + delay,
        None if sleeps is None else start.sleeps + sleeps,
        start.process + process,
    )
    part = slice_of_steps(start, end, collector=collector, asleep=asleep, seen=seen, worst=worst)
    assert wall_of(part) == wall
    assert min(part) >= 0
    assert part.unwitnessed <= part.blocked
    assert part.gil_seen <= part.gil_cpu <= part.gil
    assert part.gil_cpu + part.idle_cpu <= max(0, process - cpu)


@settings(deadline=None)
@given(wall=NS, cpu=NS, delay=NS, process=NS, collector=NS)
def test_the_parts_of_a_sleep_sum_to_the_wall_time(wall, cpu, delay, process, collector):
    end = Reading(
        START.wall + wall, START.cpu + cpu, START.delay + delay, 6, START.process + process
    )
    part = slice_of_sleep(START, end, collector=collector)
    assert wall_of(part) == wall
    assert min(part) >= 0


SLICES = st.lists(st.builds(Slice, *[NS] * 10))


@settings(deadline=None)
@given(SLICES)
def test_totals_are_the_sums_of_their_slices(slices):
    parts = Parts()
    for one in slices:
        parts.add(one)
    sums = Counter()
    for one in slices:
        sums.update(one._asdict())
    totals = parts.snapshot()
    assert all(totals[name] == sums[name] for name in sums)
    assert totals["own"] == 0


# The plugin's own work


def test_own_work_waits_for_the_gil_as_far_as_other_threads_computed():
    assert own(after(cpu=5, off=50, others=35)) == {"own": 55, "gil": 35}
    assert own(after(cpu=5, off=50, others=80)) == {"own": 55, "gil": 50}


def test_own_work_that_never_gave_up_the_processor_waited_for_no_gil():
    assert own(after(cpu=5, off=50, others=35, sleeps=0)) == {"own": 55}


def test_a_wait_for_a_core_is_not_the_plugins_own_time():
    assert own(after(cpu=5, delay=30, others=35)) == {"own": 5, "delay": 30}
