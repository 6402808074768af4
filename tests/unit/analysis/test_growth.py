"""What each further request adds, from literal budgets."""

import random
import statistics

import pytest
from budgets import MS, budget, run

from pytest_nonblocking.analysis.growth import growth_of
from pytest_nonblocking.model import Calibration


def growth(burst, *singles, **calibration):
    return growth_of(burst, singles, Calibration(**calibration))


def test_a_part_that_is_there_once_does_not_grow():
    assert growth(run(50, idle=20), run(idle=20)).serial == 0


def test_each_part_grows_by_what_each_further_copy_adds():
    found = growth(run(11, cpu=22, blocked=33, gil=44, idle=30), run(cpu=2, blocked=3, gil=4))
    parts = (found.cpu, found.blocked, found.gil, found.idle)
    assert parts == pytest.approx((2 * MS, 3 * MS, 4 * MS, 3 * MS))
    assert found.serial == pytest.approx(12 * MS)


def test_a_part_that_shrinks_adds_nothing():
    # Healthy: what the copies compute hides what they wait for.
    assert growth(run(50, cpu=50, idle=2), run(cpu=1, idle=20)).idle == 0


def test_the_single_run_in_the_middle_counts():
    found = growth(run(11, cpu=110), run(cpu=10), run(cpu=60), run(cpu=9))
    assert found.cpu == pytest.approx(10 * MS)


def test_what_the_requests_garbage_costs_is_their_cpu():
    found = growth(run(11, cpu=88, gc=132), run(cpu=8, gc=12))
    assert found.cpu == pytest.approx(20 * MS)


def test_time_of_the_machine_and_of_the_plugin_is_no_demand():
    assert growth(run(50, idle=20, descheduled=900, own=300), run(idle=20)).serial == 0


def test_work_after_the_response_is_demand_and_its_waits_are_kept_apart():
    after = budget(cpu=20, gc=20, blocked=10, gil=50, idle=100, idle_cpu=90)
    found = growth(run(11, idle=20, after=after), run(idle=20))
    parts = (found.cpu, found.blocked, found.gil, found.later_idle, found.later_idle_cpu)
    assert parts == pytest.approx((4 * MS, 1 * MS, 5 * MS, 10 * MS, 9 * MS))
    assert found.idle == 0


def test_cpu_is_compared_as_the_reference_machine_would_have_used_it():
    found = growth(run(11, cpu=220, slowdowns=(2.0,)), run(cpu=10, slowdowns=(1.0,)), factor=7.0)
    assert found.cpu == pytest.approx(21 * MS)
    assert found.paced_cpu == pytest.approx(10 * MS)


def test_a_run_that_tells_no_slowdown_has_that_of_the_calibration():
    found = growth(run(11, cpu=220), run(cpu=20), factor=2.0)
    assert found.paced_cpu == pytest.approx(10 * MS)


def test_in_a_queue_the_copy_in_the_middle_waits_for_half_of_them():
    found = growth(run(11, first=20, idle=220), run(idle=20))
    assert found.middle_idle == pytest.approx(20 * MS)
    assert found.spread_idle == pytest.approx(20 * MS)


THIRD = tuple(30 * max(1, copy - 31) * MS for copy in range(50))
"""Every third of 50 copies is in a queue that lets one pass each 30 ms."""


@pytest.mark.parametrize(("singles", "late"), [(8, 0), (16, 0), (48, 240 / 40)])
def test_enough_single_runs_show_a_queue_that_few_of_the_copies_are_in(singles, late):
    found = growth(run(50, idle=540, latencies=THIRD), *[run(idle=30)] * singles)
    assert found.ranked_idle == pytest.approx(late * MS)
    assert found.middle_idle == 0


def test_copies_that_are_all_late_are_as_late_by_ranks_as_the_one_in_the_middle():
    found = growth(run(50, first=80, idle=80), *[run(idle=20)] * 8)
    assert found.ranked_idle == found.middle_idle == pytest.approx(60 / 24.5 * MS)


def test_one_long_single_run_shows_that_copies_may_take_long_by_themselves():
    long = [run(idle=30)] * 7 + [run(idle=300)]
    slow = tuple((300 if copy > 16 else 30) * MS for copy in range(50))
    assert growth(run(50, idle=300, latencies=slow), *long).ranked_idle == 0


def test_where_a_few_waits_of_random_length_are_long_the_one_in_the_middle_is_short():
    latencies = tuple(ms * MS for ms in (20, 20, 20, 20, 20, 20, 20, 80))
    found = growth(run(8, idle=80, latencies=latencies), run(idle=20))
    assert found.idle == pytest.approx(60 / 7 * MS)
    assert found.middle_idle == 0


def test_copies_that_are_late_all_together_end_at_once():
    found = growth(run(8, first=80, idle=80), run(idle=20))
    assert found.middle_idle == pytest.approx(60 / 3.5 * MS)
    assert found.spread_idle == 0


def test_of_a_burst_that_did_not_end_the_whole_length_counts():
    found = growth(run(10, idle=1000, latencies=()), run(idle=20))
    assert found.middle_idle == pytest.approx(100 * MS)


def test_what_the_machine_takes_until_a_copy_ends_is_no_wait_of_that_copy():
    # All of it before the first of them ends: a share of the whole burst would be 20 ms of it.
    latencies = tuple(ms * MS for ms in (60, 60, 60, 60, 60, 60, 60, 120))
    burst = run(8, idle=80, descheduled=40, latencies=latencies, taken=(40 * MS,) * 8)
    found = growth(burst, *[run(idle=20)] * 8)
    assert (found.middle_idle, found.ranked_idle) == (0, 0)
    assert found.spread_idle == pytest.approx(60 / 7 * MS)


def test_a_single_run_that_the_machine_disturbed_hides_no_queue():
    singles = [run(idle=20), run(idle=20, descheduled=300), *[run(idle=20)] * 6]
    found = growth(run(11, first=20, idle=220), *singles)
    assert found.middle_idle == pytest.approx(20 * MS)
    assert found.ranked_idle == pytest.approx(20 * MS)


WAITS = {
    "exponential": lambda draws: draws.expovariate(1 / 20),
    "lognormal": lambda draws: 20 * draws.lognormvariate(0, 1),
    "heavy-tailed": lambda draws: 5 * draws.paretovariate(1.3),
    "of two lengths": lambda draws: 5 if draws.random() < 0.8 else 80,
}


def waiting(copies, draws, wait, late):
    """A run whose copies wait for a random time each, on a loop that wakes up ``late`` ms late."""
    now, taken, ends = 0.0, 0.0, []
    for due in sorted(wait(draws) for _ in range(copies)):
        if due > now:
            delay = draws.expovariate(1 / late)
            now, taken = due + delay, taken + delay
        ends.append((now * MS, taken * MS))
    latencies, delays = zip(*ends, strict=True)
    return run(copies, idle=now - taken, descheduled=taken, latencies=latencies, taken=delays)


@pytest.mark.parametrize("late", [2, 10])
@pytest.mark.parametrize("copies", [8, 50])
@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_waits_of_random_length_are_no_queue_however_late_the_loop_wakes_up(wait, copies, late):
    draws = random.Random(copies)  # a simulation
    look_like_one = 0
    for _ in range(500):
        singles = [waiting(1, draws, wait, late) for _ in range(8)]
        found = growth(waiting(copies, draws, wait, late), *singles)
        limit = max(1 * MS, 0.1 * statistics.median(one.undisturbed for one in singles))
        look_like_one += min(found.ranked_idle, found.middle_idle) > limit
    assert look_like_one <= 3  # FLIP allows 1 in 1,000: more than 3 of 500 are 1 in 500 runs
