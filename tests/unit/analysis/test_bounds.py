"""Lower and upper bounds of each part of the excess, from literal budgets in milliseconds."""

from dataclasses import replace

import pytest
from budgets import LIMITS, LOCKED, MS, blind_looks, budget, evidence, excess, looks, part, run

from pytest_nonblocking.analysis.bounds import is_evidence
from pytest_nonblocking.analysis.growth import Growth
from pytest_nonblocking.analysis.intervals import share_between
from pytest_nonblocking.analysis.levels import level_at
from pytest_nonblocking.analysis.noise import pressed
from pytest_nonblocking.analysis.single_runs import alone_bounds
from pytest_nonblocking.analysis.tolerances import (
    CPU_SPREAD,
    LEAST_EXCESS,
    MARGIN,
    RESIDUAL_SECONDS,
    RESIDUAL_SHARE,
    STEAL_TICK,
)
from pytest_nonblocking.model import Calibration, Frame, Limits, Pool, Waiters

ASYNC = run(cpu=0.5, idle=20)


def alone(*singles, offloaded=0.0, **calibration):
    growth = Growth(offloaded=offloaded * MS)
    bounds = alone_bounds(singles, growth, Calibration(**calibration))
    return tuple(value / MS for value in (bounds.lower, bounds.estimate, bounds.upper))


# Shares that were sampled


def test_without_a_sample_a_share_may_be_anything():
    assert share_between(0.0, 0.0, 0) == (0.0, 1.0)


def test_more_samples_bring_the_bounds_of_a_share_together():
    few, many = share_between(5, 10, 10), share_between(50, 100, 100)
    assert few[0] < many[0] < 0.5 < many[1] < few[1]


@pytest.mark.parametrize(("part", "low", "high"), [(0, 0, 0.01), (1000, 0.99, 1)])
def test_what_was_never_or_always_seen_is_near_certain_after_many_samples(part, low, high):
    bounds = share_between(part, 1000, 1000)
    assert low <= bounds[0] <= bounds[1] <= high


def test_a_share_that_the_clocks_put_over_one_is_one():
    assert share_between(1.001, 1.0, 100) == share_between(1.0, 1.0, 100)


# What is no evidence


@pytest.mark.parametrize("sign", [1, -1])
def test_a_run_whose_parts_do_not_account_for_its_length_is_no_evidence(sign):
    # One per cent and a millisecond of 100 ms.
    most = (RESIDUAL_SECONDS + RESIDUAL_SHARE * 100 * MS) / MS
    assert is_evidence(run(8, idle=100, residual=sign * most * 0.98))
    assert not is_evidence(run(8, idle=100, residual=sign * most * 1.05))


# A request alone


def test_a_single_request_takes_as_long_as_its_loop_works_and_waits():
    assert alone(run(cpu=2, blocked=3, gil=4, gc=1, idle=20)) == pytest.approx((30, 30, 30))


def test_what_the_machine_and_the_plugin_took_is_no_latency():
    disturbed = run(cpu=2, idle=20, descheduled=50, own=5)
    assert alone(disturbed) == pytest.approx((22, 22, 22))


def test_the_cpu_of_a_single_request_is_that_of_the_reference_machine():
    assert alone(run(cpu=6, gc=2, idle=20), factor=2.0)[1] == pytest.approx(24)


def test_the_longest_single_run_is_the_upper_bound_and_the_one_in_the_middle_the_estimate():
    assert alone(run(idle=20), run(idle=21), run(idle=90)) == pytest.approx((21, 21, 90))


def test_the_wait_of_worker_threads_for_a_processor_is_in_the_upper_bound_only():
    assert alone(run(idle=100, other_delay=80)) == pytest.approx((20, 20, 100))


@pytest.mark.parametrize(
    ("active", "offloaded", "upper"),
    [
        (1.0, 20, 100 - (100 * 0.816 - 20)),  # 40 looks, all of which find a thread runnable
        (0.5, 20, 100 - (100 * 0.286 - 20)),
        (1.0, 5, 84.6),  # a quarter of the threads' CPU time grows with the requests
        (1.0, 0, 100),
        (0.0, 20, 100),
    ],
    ids=["starved", "half the time", "partly by others", "by others", "idle"],
)
def test_a_thread_that_gets_no_core_does_not_lengthen_a_single_request(active, offloaded, upper):
    starved = run(
        idle=100, other_cpu=20, idle_cpu=20, other_delay=80, looks=looks(100, active=active)
    )
    assert alone(starved, offloaded=offloaded) == pytest.approx((20, 20, upper), abs=0.1)


@pytest.mark.parametrize(
    ("seen", "used", "lower"),
    [
        (looks(400, active=1.0, several=0.0), 20, 19.0),  # one process at a time
        (looks(400, active=1.0, several=0.4), 20, 20 / 1.5185),
        (blind_looks(400), 20, 10),  # two cores at most
        (looks(400, active=1.0, several=0.0), 10, 9.5),  # half of the CPU time grows with requests
        (looks(400, active=1.0, several=0.0), 0, 0),
    ],
    ids=["one at a time", "partly two", "unknown", "partly by others", "by others"],
)
def test_a_single_request_takes_as_long_as_its_processes_compute(seen, used, lower):
    starved = run(idle=100, child_cpu=20, child_delay=100, looks=seen)
    assert alone(starved, offloaded=used, cores=2)[0] == pytest.approx(lower, abs=0.1)


def test_on_a_slow_machine_processes_compute_for_longer():
    starved = run(idle=100, child_cpu=20, child_delay=100, looks=looks(400, active=1.0))
    assert alone(starved, offloaded=20, factor=2)[0] == pytest.approx(10, abs=0.1)


def test_while_nothing_is_runnable_a_single_request_waits_for_no_core():
    starved = run(idle=100, other_delay=100, looks=looks(1000, active=0.1, quiet=0.8))
    assert alone(starved)[0] == pytest.approx(65.8, abs=0.1)


def test_pressure_is_a_share_of_the_run():
    assert pressed(run(8, idle=100)) == 0
    assert pressed(run(8, idle=100, pressure=25)) == pytest.approx(0.25)
    assert pressed(run(8, idle=100, pressure=300)) == 1


# CPU on the loop


def test_cpu_up_to_the_allowance_is_no_excess():
    assert part(run(cpu=4), run(8, cpu=32), "cpu-on-loop") == (0, 0, 0)


def test_cpu_beyond_the_allowance_is_known_to_within_its_spread():
    low, estimate, high = part(run(cpu=20), run(8, cpu=160), "cpu-on-loop")
    assert estimate == pytest.approx(15)
    assert (low, high) == pytest.approx((20 / (1 + CPU_SPREAD) - 5, 20 * (1 + CPU_SPREAD) - 5))


def test_where_tasks_wait_for_a_processor_cpu_is_known_less_exactly():
    quiet = part(run(cpu=20), run(8, cpu=160), "cpu-on-loop")
    low, _, high = part(run(cpu=20), run(8, cpu=160, pressure=160), "cpu-on-loop")
    assert low < quiet[0] < quiet[2] < high


def test_the_allowance_holds_for_each_request_of_a_copy():
    burst = run(8, cpu=64, requests=16)
    assert part(run(cpu=8, requests=2), burst, "cpu-on-loop") == (0, 0, 0)


def test_a_slow_machine_judges_cpu_as_the_reference_would():
    found = part(run(cpu=20), run(8, cpu=160), "cpu-on-loop", factor=2.0)
    assert found[1] == pytest.approx(5)


# Blocking calls


def test_a_wait_that_was_seen_to_block_counts_in_full():
    found = part(run(blocked=3, idle=20), run(8, blocked=24, idle=20), "blocking-call")
    assert found == pytest.approx((3, 3, 3))


def test_a_wait_that_nobody_saw_counts_in_the_upper_bound_only():
    single = run(blocked=3, unwitnessed=2, idle=20)
    burst = run(8, blocked=24, unwitnessed=16, idle=20)
    assert part(single, burst, "blocking-call") == pytest.approx((1, 3, 3))


# Waits, and what the cores explain of them


def wait(burst, single=ASYNC, **options):
    return part(single, burst, "serialised-wait", **options)


def test_a_lock_counts_in_full_where_nothing_else_runs():
    assert wait(run(8, cpu=4, idle=160, first=20)) == pytest.approx((20, 20, 20))


WORK = run(cpu=0.5, idle=20, other_cpu=20, idle_cpu=20)


def threads(copies, idle, computed, **others):
    """A burst of ``copies`` whose threads compute while the loop is idle."""
    return run(copies, cpu=copies / 2, idle=idle, other_cpu=computed, idle_cpu=computed, **others)


def test_work_that_fills_all_cores_explains_all_of_the_wait():
    burst = threads(50, 500, 1000, looks=looks(500, full=0.99))
    assert wait(burst, WORK) == (0, 0, 0)


def test_cpu_alone_proves_that_all_cores_worked():
    # Nobody looked: on two cores, two seconds of CPU in a second of idle time.
    assert wait(threads(50, 500, 1000), WORK) == (0, 0, 0)


def test_work_on_one_core_of_two_explains_half_of_the_wait_at_most():
    low, _, high = wait(threads(50, 1000, 1000), WORK)
    # Nobody looked who had the GIL: what is left of the allowance may be a wait for it.
    assert low == pytest.approx(480 / 49 - (5 - 0.5 / (1 + CPU_SPREAD)), abs=0.01)
    assert high == pytest.approx(980 / 49)


def test_looks_that_see_one_thread_at_a_time_tell_that_a_core_is_free():
    low, _, high = wait(threads(50, 1000, 1000, looks=looks(1000, free=1.0)), WORK)
    assert low > 0.93 * high


@pytest.mark.parametrize(("waited", "high"), [(0.0, 0.04), (1.0, 10.0), (3.0, 20.0)])
def test_a_queue_may_hide_in_the_time_in_which_all_cores_are_wanted(waited, high):
    # A pool of one thread that sleeps, beside a process pool that busy neighbours slow down.
    full = Pool("thread pool executor", 1, 1, 49, waited=waited)
    burst = threads(50, 1000, 500, looks=looks(1000, full=1.0))
    seen = replace(burst, waiters=(Waiters((), 49, 2.0),), pools=(full,))
    found = part(run(cpu=0.5, idle=20), seen, "thread-pool" if waited else "serialised-wait")
    assert found[2] == pytest.approx(high, abs=0.1)


def test_on_one_core_the_same_work_explains_all_of_it():
    assert wait(threads(50, 1000, 1000), WORK, cores=1) == (0, 0, 0)


def test_the_wait_of_own_threads_for_a_processor_is_taken_from_the_lower_bound_only():
    # Noise keeps a fail back and never buys a pass.
    quiet = wait(threads(50, 1000, 1000), WORK)
    low, _, high = wait(threads(50, 1000, 1000, other_delay=400), WORK)
    assert low < quiet[0] - 4
    assert high == pytest.approx(quiet[2])


STARVED = {"other_delay": 1000, "first": 20}


def test_a_wait_while_nothing_could_run_is_a_queue_however_late_the_threads_are():
    # Such as a lock held for 7 ms, beside threads that wait for a core for 8 ms.
    assert wait(threads(50, 500, 20, looks=looks(500), **STARVED), WORK)[0] == 0
    low, _, _ = wait(threads(50, 500, 20, looks=looks(500, quiet=0.9), **STARVED), WORK)
    assert (500 * 0.7 - 20) / 49 < low < (500 * 0.9 - 20) / 49


def test_work_behind_a_lock_takes_its_time_on_any_machine():
    # A thread computes for 20 ms at a time, and waits for 40 ms for a core; so do others.
    busy = {"other_delay": 50 * 60, "first": 60}
    one = run(cpu=0.5, idle=60, other_cpu=20, idle_cpu=20, other_delay=40)
    seen = {"full": 0.05, "maybe": 0.15, "free": 1.0}
    assert wait(threads(50, 3000, 1000, looks=looks(3000, **seen), **busy), one)[0] == 0
    low, _, _ = wait(threads(50, 3000, 1000, looks=looks(3000, alone=0.95, **seen), **busy), one)
    assert 12 < low < 20
    full = threads(50, 3000, 1000, looks=looks(3000, **seen), **busy)
    calm = replace(full, looks=looks(3000, alone=0.95, **seen))
    assert wait(full, one, others=[calm] * 4)[0] == 0  # the calm of other bursts is not its own


@pytest.mark.parametrize(("held", "quiet", "low"), [(0, 0, 17.9), (0.35, 0, 17.9), (0, 0.5, 42.1)])
def test_work_without_the_gil_and_quiet_time_add_up_and_are_no_wait_for_the_gil(held, quiet, low):
    busy = {"other_delay": 50 * 60, "first": 60}
    one = run(cpu=0.5, idle=60, other_cpu=20, idle_cpu=20, other_delay=40)
    seen = looks(3000, full=0.05, maybe=0.15, free=1.0, alone=0.95, held=held, quiet=quiet)
    found, _, _ = wait(threads(50, 3000, 1000, looks=seen, **busy), one)
    assert found == pytest.approx(low, abs=0.1)


def test_what_one_request_waits_for_is_no_queue_of_a_burst():
    burst = threads(50, 500, 20, looks=looks(500, quiet=0.9), **STARVED)
    assert wait(burst, run(cpu=0.5, idle=450))[0] == 0


def test_a_few_long_waits_are_no_queue_though_nothing_could_run():
    late = {"latencies": (0.020,) * 49 + (0.5,), "other_delay": 1000}
    burst = threads(50, 500, 20, looks=looks(500, quiet=0.9), **late)
    assert wait(burst, WORK)[0] == 0


def test_copies_that_wait_for_what_another_holds_are_a_queue_if_only_every_third_one_does():
    # 17 of 50 copies take a lock for 30 ms each; the others end after 30 ms.
    latencies = (*[0.03] * 34, *[0.03 * (1 + turn) for turn in range(1, 17)])
    held = replace(LOCKED[0], contended=0.45)
    third = run(50, idle=510, latencies=latencies, looks=looks(510, quiet=1.0), waiters=(held,))
    assert wait(third, run(idle=30))[0] == pytest.approx(450 / 49)
    unseen = replace(third, waiters=LOCKED)
    assert wait(unseen, run(idle=30))[0] == 0


def test_the_quiet_of_other_bursts_is_not_that_of_a_busy_one():
    burst = threads(50, 500, 20, looks=looks(500, quiet=0.1), **STARVED)
    calm = replace(burst, looks=looks(500, quiet=0.9))
    assert wait(burst, WORK, others=[calm] * 4)[0] == pytest.approx((500 * 0.1 - 20) / 49)


def test_a_server_of_another_process_may_be_late_while_nothing_could_run():
    seen = looks(500, quiet=0.9)
    early = wait(threads(50, 500, 20, pressure=500, looks=seen, **STARVED), WORK)[0]
    late = replace(seen, late=0.2, external=200)
    low = wait(threads(50, 500, 20, pressure=500, looks=late, **STARVED), WORK)[0]
    assert low == pytest.approx(early - 4)  # woken up four times, 1 ms late


def test_looks_that_see_all_cores_wanted_explain_the_wait_beside_busy_neighbours():
    busy = threads(50, 2000, 1000, other_delay=3000, looks=looks(2000, full=0.99))
    low, _, high = wait(busy, WORK)
    assert low == 0
    assert high < 1


def test_work_in_child_processes_explains_the_wait():
    single = run(cpu=0.5, idle=20, child_cpu=20)
    assert wait(run(50, cpu=25, idle=500, child_cpu=1050), single) == (0, 0, 0)


def test_of_the_cpu_of_children_only_that_while_the_loop_was_idle_counts():
    # A second on the other core while the loop computed explains nothing of its idle time. It may
    # have been used on both cores in the idle time, unless looks have seen that they were free.
    busy = run(50, cpu=1000, idle=500, child_cpu=1000)
    low, _, high = wait(busy, run(cpu=20, idle=1))
    assert (low, high) == pytest.approx((0, 499 / 49))
    seen = replace(busy, looks=looks(500, quiet=1.0))
    low, _, high = wait(seen, run(cpu=20, idle=1))
    assert high == pytest.approx(499 / 49)
    assert low > 0.9 * high


def test_child_processes_may_have_got_little_of_a_core_where_it_is_not_known():
    # Eight of 20 ms each, which took 262 ms beside four busy processes: the loop waited meanwhile.
    beside = run(8, cpu=11, blocked=21, descheduled=49, own=16, idle=164, child_cpu=160)
    assert wait(beside, run(cpu=1, idle=24), clock="fallback")[0] == 0


def test_while_the_loop_is_kept_from_running_a_queue_stays_possible():
    burst = run(50, cpu=290, descheduled=540, idle=65, queued=0.9)
    low, _, high = wait(burst, run(cpu=3, idle=30))
    assert low < 1
    assert high == pytest.approx((65 - 30) / 49 + 0.9 * 540 / 49)


def test_a_server_of_another_process_may_be_as_late_as_the_watching_thread_was():
    late = looks(160, late=1.0, external=64)
    served = run(8, cpu=4, idle=160, first=20, pressure=160, looks=late)
    low, _, high = wait(served)
    assert low == pytest.approx(16)  # woken up four times for each request
    assert high == pytest.approx(20)


@pytest.mark.parametrize("changes", [{"external": 0}, {"external": 60, "late": 0.0}])
def test_without_a_server_or_without_lateness_there_is_no_such_excuse(changes):
    seen = looks(160, **{"late": 1.0} | changes)
    low, _, _ = wait(run(8, cpu=4, idle=160, first=20, pressure=160, looks=seen))
    assert low == pytest.approx(20)


def test_a_timer_is_not_late_because_of_a_server():
    # A connection that is kept open looks like a wait for its server.
    sleep = (Frame("/lib/tasks.py", 1, "sleep", "asyncio.tasks"),)
    late, asleep = looks(160, late=1.0, external=64), (Waiters(sleep, 8, 1.0),)
    sleeps = run(8, cpu=4, idle=160, first=20, pressure=160, looks=late, waiters=asleep)
    assert wait(sleeps)[0] == pytest.approx(20)


def test_a_machine_without_pressure_permits_no_excuse():
    seen = looks(160, late=1.0, external=60)
    assert wait(run(8, cpu=4, idle=160, first=20, looks=seen))[0] == pytest.approx(20)


def test_a_pool_sized_by_the_machine_is_excused_for_what_another_machine_would_have():
    single, size = run(idle=20), 6
    pool = Pool("asyncio default executor", size, size, 44, sized_by_cpu_count=True)
    burst = run(50, idle=200, first=20, pools=(pool,))
    assert part(single, burst, "thread-pool") == (0, 0, 0)
    burst = run(50, idle=200, first=20, pools=(Pool("anyio limiter", size, size, 44),))
    assert part(single, burst, "thread-pool")[1] == pytest.approx(180 / 49)


@pytest.mark.parametrize(
    ("size", "held_up"),
    [(1, 10), (10, 1.5 * 3 / 24.5 * 10), (40, 1.5 * 1 / 24.5 * 10)],
    ids=["each delay", "three waves of ten", "its own wave"],
)
def test_a_full_pool_is_held_up_by_the_delays_of_one_thread_a_wave(size, held_up):
    lower, _, _ = part(run(idle=20), delayed_pool(size), "thread-pool")
    assert lower == pytest.approx(20 - held_up, rel=0.01)


@pytest.mark.parametrize(("held", "held_up"), [(0.0, 1.5 / 24.5 * 10), (0.5, 5.3), (1.0, 10)])
def test_a_full_pool_is_held_up_by_each_delay_of_a_thread_that_holds_the_gil(held, held_up):
    # Beside six busy processes, 6 of 24 measurements of Python in threads named the pool.
    lower, estimate, _ = part(run(idle=20), delayed_pool(40, held), "thread-pool")
    assert lower == pytest.approx(max(0, 20 - held_up), rel=0.01)
    assert estimate == pytest.approx(max(lower, 20 - held * 20), rel=0.01)


def delayed_pool(size, held=0.0):
    """A burst in a full pool, in which each call waits for 10 ms for a core."""
    full = Pool("thread pool executor", size, size, 49 - size, waited=9.0)
    looked = {"pools": (full,), "waiters": (Waiters((), 49, 9.0),)}
    looked["looks"] = blind_looks(1_000_000, held=held)
    return run(50, idle=1000, first=20, other_delay=490, **looked)


# Waits for the GIL


def gil(burst, single=ASYNC, **options):
    return part(single, burst, "gil-contention", **options)


def test_a_step_seen_to_wait_for_the_gil_counts_beyond_the_allowance():
    burst = run(8, gil=80, gil_cpu=80, gil_seen=80, idle=20)
    assert gil(burst, run(idle=20)) == pytest.approx((80 / 7 - 5, 80 / 7 - 5, 80 / 7 - 5))


@pytest.mark.parametrize(("gil_cpu", "upper"), [(430, 430 / 49 - 5), (860, 0)])
def test_cores_excuse_waits_for_the_gil_only_as_far_as_cpu_time_fills_them(gil_cpu, upper):
    # 50 calls of json.loads in threads: the loop was idle for 2 of 498 ms, in which they filled
    # both cores. That excused its waits for the GIL in callbacks: a wrong pass.
    burst = run(50, gil=430, gil_cpu=gil_cpu, idle=2, idle_cpu=4, first=10)
    _, _, high = gil(burst, run(idle=10))
    assert high == pytest.approx(upper, abs=0.2)


def test_waits_for_the_gil_share_the_allowance_with_cpu():
    burst = run(8, cpu=28, gil=28, gil_cpu=28, gil_seen=28, idle=20)
    low, estimate, high = gil(burst, run(idle=20))
    assert estimate == pytest.approx(3)
    assert low == pytest.approx(4 - (5 - 4 / (1 + CPU_SPREAD)))
    assert high == pytest.approx(4 - (5 - 4 * (1 + CPU_SPREAD)))


def test_a_wait_for_the_gil_beyond_the_cpu_of_other_threads_is_not_proved():
    # The machine keeps the holder of the GIL from running for the rest.
    burst = run(8, gil=280, gil_cpu=70, gil_seen=70, idle=20, pressure=300)
    low, _, high = gil(burst, run(idle=20))
    assert low == pytest.approx(10 - 5)
    assert high == pytest.approx(40 - 5)


def test_where_nobody_held_the_gil_a_wait_that_was_seen_at_its_end_is_blocking():
    burst = run(8, gil=28, gil_cpu=0.7, blocked=14, idle=20)
    parts = excess(run(idle=20), burst).parts
    assert parts["gil-contention"].upper == 0  # 0.1 ms, within the allowance
    assert parts["blocking-call"].lower == pytest.approx(2 * MS)
    assert parts["blocking-call"].upper == pytest.approx(5.9 * MS)


def test_while_the_gil_is_held_all_the_time_the_loops_idle_time_is_its_wait():
    burst = threads(50, 1000, 1000, looks=looks(1000, held=1.0, free=0.02))
    low, estimate, high = gil(burst, WORK)
    assert 12 < low <= estimate <= high
    assert excess(WORK, burst).total.upper == pytest.approx((980 / 49 - 5 + 0.5) * MS, rel=0.1)


def test_threads_seen_to_run_without_the_gil_do_not_wait_for_it():
    burst = threads(50, 500, 1000, looks=looks(500, full=0.99, held=0.3))
    assert gil(burst, WORK)[0] == 0


def test_where_the_state_of_threads_is_unknown_the_watching_threads_own_wait_tells():
    held = threads(50, 1000, 1000, looks=blind_looks(1000, held=1.0))
    free = threads(50, 1000, 1000, looks=blind_looks(1000, held=0.3))
    assert gil(held, WORK)[0] > 10
    assert gil(free, WORK)[0] == 0


def test_what_nobody_saw_is_a_wait_for_the_gil_as_far_as_others_held_it():
    burst = run(8, cpu=4, blocked=40, unwitnessed=40, idle=200, first=20, looks=looks(200, held=1))
    low, likely, high = part(ASYNC, burst, "blocking-call")
    assert (low, high) == pytest.approx((0, 40 / 7))
    assert likely < high / 2
    free = replace(burst, looks=looks(200))
    assert part(ASYNC, free, "blocking-call") == pytest.approx((0, 40 / 7, 40 / 7))


def test_while_others_may_have_held_the_gil_less_of_a_wait_is_a_queue():
    seen = looks(1000, free=1.0)
    certain = wait(threads(50, 1000, 200, looks=seen), WORK)[0]
    perhaps = replace(seen, maybe_held=seen.tried)
    assert wait(threads(50, 1000, 200, looks=perhaps), WORK)[0] < certain - 2


def test_python_in_a_thread_after_the_response_holds_up_the_next_request():
    after = budget(idle=1000, idle_cpu=1000)
    burst = run(50, idle=20, after=after, after_looks=looks(1000, held=0.98, free=0.02))
    low, estimate, high = gil(burst, run(idle=20))
    assert low > 12
    assert (estimate, high) == pytest.approx((0.98 * 20.4 - 5, 20.4 - 5), abs=0.1)


def test_hashing_in_a_thread_after_the_response_holds_up_nobody_for_certain():
    after = budget(idle=500, idle_cpu=1000)
    burst = run(50, idle=20, after=after, after_looks=looks(500, full=0.99, held=0.02))
    low, estimate, _ = gil(burst, run(idle=20))
    assert (low, estimate) == (0, 0)


# The whole


def test_the_parts_add_up_to_what_is_judged():
    burst = run(8, cpu=96, blocked=40, idle=80, first=20)
    found = excess(run(cpu=12, blocked=5, idle=10), burst)
    for name in ("lower", "estimate", "upper"):
        total = sum(getattr(bounds, name) for bounds in found.parts.values())
        assert getattr(found.total, name) == pytest.approx(total)
    assert found.total.estimate == pytest.approx(7 * MS + 5 * MS + 10 * MS)


def test_a_burst_speaks_for_a_fail_only_clear_of_the_limit():
    single = run(blocked=2, idle=18)
    limit = 2.0  # a tenth of 20 ms
    for blocked, convicts, acquits in [
        (limit * (1 + MARGIN) * 1.001, True, False),
        (limit * (1 + MARGIN) * 0.999, False, False),
        (limit / (1 + MARGIN) * 1.001, False, False),
        (limit / (1 + MARGIN) * 0.999, False, True),
    ]:
        found = excess(single, run(8, blocked=2 + 7 * blocked, idle=18))
        assert found.convicts(LIMITS) is convicts
        assert found.acquits(LIMITS) is acquits


def test_less_than_a_millisecond_for_each_request_is_never_convicted():
    limit = LEAST_EXCESS / MS
    single = run(blocked=limit)
    assert not excess(single, run(8, blocked=8 * limit)).convicts(LIMITS)
    assert excess(single, run(8, blocked=8 * limit * 1.1)).convicts(LIMITS)


def test_waits_that_all_ended_late_together_may_have_happened_once():
    together = excess(ASYNC, run(50, cpu=25, idle=300, first=300))
    queue = excess(ASYNC, run(50, cpu=25, idle=300, first=20))
    assert together.convicts(LIMITS)
    assert queue.convicts(LIMITS)
    assert not together.convicts_alone(LIMITS)
    assert queue.convicts_alone(LIMITS)


def test_waits_of_a_burst_that_fills_a_pool_may_have_happened_once():
    filling = excess(ASYNC, run(8, cpu=4, idle=200, first=25, opened=7))
    assert filling.convicts(LIMITS)
    assert not filling.convicts_alone(LIMITS)


def test_a_burst_that_fills_a_pool_counts_until_there_is_one_that_does_not():
    filling = run(8, cpu=4, idle=200, first=25, opened=7)
    steady = run(8, cpu=4, idle=20)
    only = level_at(8, evidence(ASYNC, filling), LIMITS)
    assert only.only_fails(LIMITS)
    both = level_at(8, evidence(ASYNC, filling, steady), LIMITS)
    assert both.acquits(LIMITS)


def computing_in_threads(**facts):
    return run(8, gil=160, gil_cpu=160, gil_seen=160, idle=20, **facts)


def test_what_threads_compute_in_a_burst_that_starts_them_may_have_happened_once():
    starting, steady = computing_in_threads(started=7), computing_in_threads()
    assert excess(ASYNC, starting).convicts(LIMITS)
    assert not excess(ASYNC, starting).convicts_alone(LIMITS)
    assert excess(ASYNC, steady).convicts_alone(LIMITS)


def test_a_burst_that_starts_threads_counts_until_there_is_one_that_does_not():
    starting, steady = computing_in_threads(started=7), run(8, cpu=4, idle=20)
    assert level_at(8, evidence(ASYNC, starting), LIMITS).only_fails(LIMITS)
    assert level_at(8, evidence(ASYNC, starting, steady), LIMITS).acquits(LIMITS)


def test_a_burst_that_fills_a_pool_counts_no_more_beside_one_that_only_starts_threads():
    filling = run(8, cpu=4, idle=200, first=25, opened=7, started=7)
    starting = run(8, cpu=4, idle=20, started=1)
    assert level_at(8, evidence(ASYNC, filling, starting), LIMITS).acquits(LIMITS)


@pytest.mark.parametrize(
    ("cause", "burst"),
    [("blocking-call", {"blocked": 140, "idle": 20}), ("serialised-wait", {"idle": 160})],
)
def test_time_that_a_hypervisor_took_is_no_wait_for_certain(cause, burst):
    low, _, high = part(run(idle=20), run(8, first=20, **burst), cause)
    lower, _, higher = part(run(idle=20), run(8, first=20, stolen=10, **burst), cause)
    assert low - lower == pytest.approx((10 + STEAL_TICK / MS) / 7)
    assert high == higher


def test_a_blocking_call_in_one_burst_may_have_happened_once():
    found = excess(run(idle=20), run(8, blocked=160, idle=20))
    assert found.convicts(LIMITS)
    assert not found.convicts_alone(LIMITS)


def test_an_accepted_cause_is_taken_out_of_the_sum():
    found = excess(ASYNC, run(8, cpu=4, blocked=80, idle=160, first=20))
    rest = found.without(("serialised-wait",))
    assert set(found.parts) - set(rest.parts) == {"serialised-wait"}
    assert rest.total.estimate == pytest.approx(found.parts["blocking-call"].estimate)


def test_the_cpu_of_worker_threads_and_processes_is_told_for_each_request():
    found = excess(WORK, threads(50, 500, 1000, looks=looks(500, full=0.99)))
    assert found.offloaded == pytest.approx(20 * MS)


def test_a_limit_is_a_share_of_the_single_request():
    burst = run(8, blocked=8 * 3, idle=20)
    single = run(blocked=3, idle=20)
    assert excess(single, burst).convicts(LIMITS)
    assert excess(single, burst).acquits(Limits(max_serial_fraction=0.2))
