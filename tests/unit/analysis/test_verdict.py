"""The verdict from literal budgets in milliseconds: no loop, no clock."""

from dataclasses import replace
from random import Random

import pytest
from budgets import (
    LIMITS,
    LOCKED,
    MS,
    blind_looks,
    budget,
    evidence,
    judge,
    looks,
    next_level,
    run,
    step,
)

from pytest_nonblocking.analysis import stopping, verdict
from pytest_nonblocking.analysis.tolerances import CPU_SPREAD, MARGIN
from pytest_nonblocking.model import Calibration, Evidence, Limits, Pool, Pressure, Step, Waiters

ASYNC = run(cpu=0.5, idle=20)
ASYNC_8 = run(8, cpu=4, idle=16)
ASYNC_50 = run(50, cpu=25, idle=2)


def word_and_cause(judgement):
    return judgement.verdict, judgement.cause


# What is run, and when it is enough


def test_the_body_is_run_alone_three_times_first():
    assert stopping.next_level(Evidence(), LIMITS) == 1
    assert stopping.next_level(Evidence((ASYNC, ASYNC)), LIMITS) == 1


def test_async_io_passes_after_one_burst_of_each_size():
    assert next_level(ASYNC) == 8
    assert next_level(ASYNC, ASYNC_8) == 50
    assert next_level(ASYNC, ASYNC_8, ASYNC_50) is None
    assert judge(ASYNC, ASYNC_8, ASYNC_50).verdict == "pass"


def test_fewer_copies_than_a_small_burst_are_one_burst():
    few = Limits(concurrency=5)
    assert next_level(ASYNC, limits=few) == 5
    assert next_level(ASYNC, run(5, cpu=2.5, idle=19), limits=few) is None


def test_a_blocking_call_fails_and_never_pays_for_the_largest_burst():
    single = run(cpu=0.5, blocked=20, steps=(step(blocked=20),))
    burst = run(8, cpu=4, blocked=160, steps=(step(blocked=20),))
    assert next_level(single) == 8
    assert next_level(single, burst) is None
    judgement = judge(single, burst)
    assert word_and_cause(judgement) == ("fail", "blocking-call")
    assert judgement.reasons == ("scaling", "blocked")
    assert judgement.serial_fraction == pytest.approx(1.0, abs=0.02)


def test_cpu_that_every_single_run_shows_fails_after_one_small_burst():
    single, burst = run(cpu=12), run(8, cpu=96)
    assert next_level(single, burst) is None
    assert word_and_cause(judge(single, burst)) == ("fail", "cpu-on-loop")


def test_cpu_that_single_runs_do_not_show_is_looked_at_again_where_it_was_seen():
    # Something that the process did once, in a burst of requests that only await.
    once, usual = run(8, cpu=124, idle=20), run(8, cpu=4, idle=20)
    assert next_level(ASYNC, once) == 8
    assert judge(ASYNC, once).verdict != "fail"
    assert next_level(ASYNC, once, usual) == 50
    assert judge(ASYNC, once, usual, run(50, cpu=25, idle=20)).verdict == "pass"
    assert word_and_cause(judge(ASYNC, once, once)) == ("fail", "cpu-on-loop")


def test_blocking_that_single_runs_do_not_show_is_looked_at_again_where_it_was_seen():
    burst = run(8, cpu=4, blocked=24, idle=17)
    assert next_level(ASYNC, burst) == 8
    assert next_level(ASYNC, burst, burst) is None
    assert judge(ASYNC, burst).verdict != "fail"
    assert word_and_cause(judge(ASYNC, burst, burst)) == ("fail", "blocking-call")


@pytest.mark.parametrize(("waiters", "needed"), [(LOCKED, 5), ((), 8)])
def test_a_wait_convicts_only_beside_five_single_runs_or_eight_if_nobody_saw_a_queue(
    waiters, needed
):
    # The shortest of three waits of random length may be short by chance.
    burst = run(8, cpu=4, idle=160, first=20, waiters=waiters)
    assert stopping.next_level(evidence(ASYNC, burst, singles=needed - 1), LIMITS) == 1
    enough = evidence(ASYNC, burst, singles=needed)
    assert stopping.next_level(enough, LIMITS) is None
    assert word_and_cause(verdict.judge(enough, LIMITS)) == ("fail", "serialised-wait")


def test_more_single_runs_decide_about_a_queue_of_few_copies():
    alone, small = run(cpu=0.5, idle=30), run(8, cpu=4, idle=30)
    latencies = tuple((30 * max(1, copy - 31) + 0.5) * MS for copy in range(50))
    third = run(50, cpu=25, idle=540, latencies=latencies)
    until = {n: evidence(alone, small, *[third] * 3, singles=n) for n in (8, 20, 48)}
    assert [stopping.next_level(until[n], LIMITS) for n in (8, 20)] == [1, 1]
    assert stopping.next_level(until[48], LIMITS) is None
    undecided = verdict.judge(until[20], LIMITS)
    assert (undecided.verdict, undecided.may_be_random) == ("inconclusive", True)
    assert word_and_cause(verdict.judge(until[48], LIMITS)) == ("fail", "serialised-wait")


@pytest.mark.parametrize(
    ("single", "most"), [(40, 48), (100, 20)], ids=["48-of-them", "two-seconds"]
)
def test_single_runs_that_decide_nothing_come_to_an_end(single, most):
    """Copies of which one in ten takes eight times as long are undecided."""
    alone, small = run(cpu=0.5, idle=single), run(8, cpu=4, idle=single)
    each = tuple(single * (1 if copy < 45 else 8) * MS for copy in range(50))
    mixed = run(50, cpu=25, idle=8 * single, latencies=each)
    made = 8
    while stopping.next_level(evidence(alone, small, *[mixed] * 3, singles=made), LIMITS):
        made += 1
    assert made == most


def test_waits_of_random_length_are_no_queue():
    # Three short single runs by chance, and eight copies of which one takes 42 ms.
    latencies = tuple(ms * MS for ms in (6, 8, 11, 12, 13, 17, 25, 42))
    single, small = run(cpu=0.5, idle=6), run(8, cpu=4, idle=38, latencies=latencies)
    known = evidence(single, small, singles=3)
    assert stopping.next_level(known, LIMITS) == 1
    more = tuple(run(cpu=0.5, idle=idle) for idle in (11, 17, 8, 6, 12))
    eight = replace(known, singles=(*known.singles, *more))
    assert stopping.next_level(eight, LIMITS) == 50
    assert judge(single, small, run(50, cpu=25, idle=20)).verdict == "pass"


WAITS = {
    "a long tail": lambda random: min(40, max(3, random.lognormvariate(2.4, 0.8))),
    "a cache that misses": lambda random: 5 if random.random() < 0.5 else 50,
    "any": lambda random: random.uniform(5, 50),
}


@pytest.mark.parametrize("waits", WAITS.values(), ids=WAITS)
def test_a_handler_that_waits_for_a_random_time_never_fails(waits):
    # Once, the first failed in 12 of 1,000 measurements, the second in 20, the third in 6.
    for seed in range(300):
        random, singles, bursts, copies = Random(seed), (), (), 1
        while copies is not None:
            each = sorted(waits(random) for _ in range(copies))
            latencies = tuple(ms * MS for ms in each)
            made = run(copies, cpu=0.3 * copies, idle=each[-1], latencies=latencies)
            singles, bursts = (
                ((*singles, made), bursts) if copies == 1 else (singles, (*bursts, made))
            )
            known = Evidence(singles, bursts, Calibration(cores=2))
            copies = stopping.next_level(known, LIMITS)
        assert verdict.judge(known, LIMITS).verdict != "fail"


def test_a_level_is_measured_five_times_at_most():
    noisy = run(50, cpu=25, idle=400, first=20, other_delay=800, pressure=400)
    assert next_level(ASYNC, ASYNC_8, *[noisy] * 4) == 50
    assert next_level(ASYNC, ASYNC_8, *[noisy] * 5) is None
    judged = judge(ASYNC, ASYNC_8, *[noisy] * 5)
    assert (judged.verdict, judged.may_be_random) == ("inconclusive", False)


def test_short_bursts_go_on_for_two_seconds_on_a_busy_machine():
    noisy = run(50, cpu=25, idle=25, first=20, descheduled=125, pressure=170, queued=0.9)
    assert next_level(ASYNC, ASYNC_8, *[noisy] * 11) == 50  # 1.9 s
    assert next_level(ASYNC, ASYNC_8, *[noisy] * 12) is None


def test_25_bursts_are_enough_however_short_they_are():
    noisy = run(50, cpu=5, idle=5, first=5, descheduled=60, pressure=70, queued=0.95)
    alone, small = run(cpu=0.2, idle=5), run(8, cpu=1.6, idle=4)
    assert next_level(alone, small, *[noisy] * 24) == 50
    assert next_level(alone, small, *[noisy] * 25) is None


def test_under_full_pressure_the_bursts_with_the_most_time_on_a_core_are_heard():
    starved = run(50, cpu=25, idle=60, first=20, descheduled=400, pressure=485, queued=0.9)
    heard = run(50, cpu=25, idle=2, descheduled=1, pressure=28)
    assert judge(ASYNC, ASYNC_8, *[starved] * 3).verdict == "inconclusive"
    assert judge(ASYNC, ASYNC_8, *[starved] * 5, *[heard] * 3).verdict == "pass"
    assert judge(ASYNC, ASYNC_8, *[heard] * 3, *[starved] * 5).verdict == "pass"


def test_a_quiet_machine_is_not_asked_again_what_it_told_three_times():
    near = run(50, cpu=300)  # 6 ms of CPU a request: one beyond the allowance
    assert next_level(run(cpu=6), ASYNC_8, near, near) == 50
    assert next_level(run(cpu=6), ASYNC_8, near, near, near) is None
    pressed = replace(near, pressure=Pressure(near.makespan / 2))
    assert next_level(run(cpu=6), ASYNC_8, pressed, pressed, pressed) == 50


def test_the_three_bursts_with_the_least_pressure_are_heard():
    loud = run(50, cpu=25, idle=500, first=20, pressure=500)
    assert judge(ASYNC, ASYNC_8, loud, loud, ASYNC_50, ASYNC_50, ASYNC_50).verdict == "pass"


def test_bursts_that_contradict_one_another_prove_nothing():
    queue = run(50, cpu=25, idle=500, first=20)
    judgement = judge(ASYNC, ASYNC_8, queue, queue, ASYNC_50)
    assert (judgement.verdict, judgement.near != "") == ("inconclusive", True)
    assert judge(ASYNC, ASYNC_8, queue, ASYNC_50).verdict == "inconclusive"
    assert judge(ASYNC, ASYNC_8, queue, *[ASYNC_50] * 4).verdict == "inconclusive"


# What fails, and for which cause


def test_cpu_below_the_allowance_passes_although_latency_scales_linearly():
    judgement = judge(run(cpu=1.5), run(8, cpu=12), run(50, cpu=75))
    assert judgement.verdict == "pass"
    assert judgement.serial_fraction == pytest.approx(1.0)
    assert judgement.excess == 0
    assert judgement.judged.high == 0


def test_twenty_milliseconds_of_cpu_of_which_twelve_are_the_collectors_fail_as_cpu():
    single, burst = run(cpu=8, gc=12), run(8, cpu=64, gc=96)
    judgement = judge(single, burst)
    assert word_and_cause(judgement) == ("fail", "cpu-on-loop")
    assert judgement.serial == pytest.approx(20 * MS)


def test_a_healthy_handler_in_a_process_with_a_large_heap_passes():
    # Two collections in a whole burst, of what the requests made.
    assert judge(ASYNC, ASYNC_8, run(50, cpu=25, gc=70, idle=2)).verdict == "pass"


def test_a_cause_that_waits_for_a_core_may_explain_is_not_named_before_one_that_is_proved():
    # 28 ms of Python in a thread after each response, beside ten busy processes.
    single = run(cpu=0.5, idle=14, other_cpu=14)
    held = looks(560, held=0.9, free=0.2)
    burst = run(8, cpu=20, idle=567, idle_cpu=114, other_cpu=114, other_delay=4000, looks=held)
    judgement = judge(single, burst, burst)
    assert word_and_cause(judgement) == ("fail", "gil-contention")


def test_a_sum_over_the_limit_fails_for_its_largest_part_with_the_others_listed():
    single = run(cpu=9.5, blocked=4, idle=4, steps=(step(blocked=4),))
    burst = run(8, cpu=76, blocked=32, idle=32, steps=(step(blocked=4),) * 8)
    judgement = judge(single, burst, burst)
    assert word_and_cause(judgement) == ("fail", "cpu-on-loop")
    causes = dict(judgement.causes)
    assert [cause for cause, _ in judgement.causes] == [
        "cpu-on-loop",
        "blocking-call",
        "serialised-wait",
    ]
    assert causes["cpu-on-loop"] == pytest.approx(4.5 / 12.5)
    assert causes["blocking-call"] == pytest.approx(4 / 12.5)
    assert sum(causes.values()) == pytest.approx(1)


@pytest.mark.parametrize("cpu", [5.0, 5.6, 6.2, 6.8, 7.4])
def test_a_sum_over_the_limit_fails_however_it_divides(cpu):
    # 4.4 ms beyond the allowance or blocked, of 22 ms; one tenth is 2.2 ms.
    blocked = 9.4 - cpu
    single = run(cpu=cpu, blocked=blocked, idle=12.6)
    burst = run(8, cpu=8 * cpu, blocked=8 * blocked)
    assert judge(single, burst, burst).verdict == "fail"


def test_the_cause_is_the_largest_part_over_all_bursts_and_not_of_the_one_in_the_middle():
    cpu, other = run(8, cpu=112), run(8, cpu=60, blocked=64)
    judgement = judge(run(cpu=10), run(8, cpu=160), other, cpu)
    assert word_and_cause(judgement) == ("fail", "cpu-on-loop")


def test_a_lock_fails_as_serialised_wait():
    burst = run(8, cpu=4, idle=160, first=20)
    assert word_and_cause(judge(ASYNC, burst, burst)) == ("fail", "serialised-wait")


def test_a_small_connection_pool_fails_in_the_largest_burst():
    small, top = run(8, cpu=4, idle=40, first=20), run(50, cpu=25, idle=200, first=20)
    assert word_and_cause(judge(ASYNC, small, top, top)) == ("fail", "serialised-wait")


def test_a_full_limiter_fails_as_thread_pool():
    pool = Pool("anyio limiter", size=4, busy=4, waiting=46)
    top = run(50, cpu=25, idle=260, first=20, pools=(pool,))
    assert word_and_cause(judge(ASYNC, ASYNC_8, top, top)) == ("fail", "thread-pool")


def test_a_pool_that_was_full_before_most_copies_waited_is_not_the_cause():
    pool = Pool("thread pool executor", size=4, busy=4, waiting=46)
    waiters = (Waiters((), 49, 1.0),)
    for waited, cause in [(0.0, "serialised-wait"), (0.9, "thread-pool")]:
        seen = (replace(pool, waited=waited),)
        top = run(50, cpu=25, idle=1000, first=20, waiters=waiters, pools=seen)
        assert word_and_cause(judge(ASYNC, top, top)) == ("fail", cause)


def test_a_default_executor_sized_by_the_machine_is_only_noted():
    pool = Pool("asyncio default executor", 6, 6, 44, sized_by_cpu_count=True)
    top = run(50, cpu=25, idle=180, first=20, pools=(pool,))
    assert judge(ASYNC, ASYNC_8, top).verdict == "pass"


# Work in threads and processes (issue 11)

HASHING = run(cpu=0.5, idle=13, other_cpu=13, idle_cpu=13)


def test_a_lock_around_hashing_in_threads_leaves_a_core_free_and_fails():
    # Of two cores one computes for as long as the loop is idle: 13 ms a request of either.
    burst = run(
        8,
        cpu=4,
        idle=104,
        other_cpu=104,
        idle_cpu=104,
        first=13,
        looks=looks(104, free=1.0, full=0.0),
    )
    assert word_and_cause(judge(HASHING, burst, burst)) == ("fail", "serialised-wait")


def test_a_pool_of_one_thread_around_hashing_fails_as_thread_pool():
    pool = Pool("thread pool executor", 1, 1, 49, waited=1.0)
    burst = run(
        50,
        cpu=25,
        idle=650,
        other_cpu=650,
        idle_cpu=650,
        first=13,
        looks=looks(650, free=1.0),
        pools=(pool,),
        waiters=(Waiters((), 49, 1.0),),
    )
    assert word_and_cause(judge(HASHING, burst, burst)) == ("fail", "thread-pool")


def test_the_same_lock_beside_busy_neighbours_is_never_passed():
    # They keep the thread that computes from running for as long again.
    burst = run(
        50,
        cpu=25,
        descheduled=300,
        idle=1300,
        other_cpu=650,
        idle_cpu=650,
        other_delay=650,
        first=13,
        pressure=1500,
        looks=looks(1300, free=1.0),
        queued=0.9,
    )
    assert judge(HASHING, ASYNC_8, *[burst] * 5).verdict != "pass"


def test_a_lock_beside_a_little_hashing_is_not_excused_by_it():
    # 10 ms of a lock and 3 ms of hashing, whose threads waited for the processor too.
    single = run(cpu=0.5, idle=13, other_cpu=3, idle_cpu=3)
    burst = run(
        50,
        cpu=25,
        idle=500,
        other_cpu=150,
        idle_cpu=150,
        other_delay=400,
        first=13,
        pressure=300,
        looks=looks(500, free=0.3),
    )
    assert judge(single, ASYNC_8, *[burst] * 5).verdict != "pass"
    quiet = replace(burst, budget=replace(burst.budget, other_delay=0.0))
    assert word_and_cause(judge(single, quiet, quiet)) == ("fail", "serialised-wait")


def test_hashing_in_threads_fills_two_cores_and_passes_with_its_cost():
    single = run(cpu=0.5, idle=20, other_cpu=20, idle_cpu=20)
    small = run(8, cpu=4, idle=80, other_cpu=160, idle_cpu=160, looks=looks(80, full=0.98))
    top = run(50, cpu=25, idle=500, other_cpu=1000, idle_cpu=1000, looks=looks(500, full=0.98))
    assert next_level(single, small) == 50
    judgement = judge(single, small, top)
    assert judgement.verdict == "pass"
    assert judgement.offloaded == pytest.approx(20 * MS, rel=0.01)


def test_hashing_in_threads_beside_busy_neighbours_passes():
    single = run(cpu=0.5, idle=45, other_cpu=20, idle_cpu=20, other_delay=25)
    top = run(
        50,
        cpu=25,
        idle=1500,
        other_cpu=1000,
        idle_cpu=1000,
        other_delay=6000,
        pressure=1500,
        looks=looks(1500, full=0.995),
    )
    assert judge(single, ASYNC_8, top, top, top).verdict == "pass"


def test_a_process_pool_passes():
    single = run(cpu=0.5, idle=20, child_cpu=20)
    top = run(50, cpu=25, idle=500, child_cpu=1040)
    assert judge(single, run(8, cpu=4, idle=80, child_cpu=170), top).verdict == "pass"


def test_a_process_pool_on_a_very_busy_machine_passes():
    # Four neighbours: its workers have a third of the processors, and want them all the time.
    single = run(cpu=0.5, idle=60, child_cpu=20, child_delay=40)
    top = run(
        50,
        cpu=25,
        descheduled=40,
        idle=1500,
        child_cpu=1000,
        child_delay=2000,
        pressure=1500,
        queued=0.9,
        looks=looks(1500, full=0.995),
    )
    assert judge(single, ASYNC_8, top, top, top).verdict == "pass"


@pytest.mark.parametrize("held", [0.93, 0.97, 1.0])
@pytest.mark.parametrize("in_steps", [0, 40, 76, 130])
def test_python_in_threads_fails_wherever_the_loop_waits_for_the_gil(held, in_steps):
    # 22 ms a request, of which the loop waits for a part within its steps.
    single = run(cpu=0.5, idle=22, other_cpu=22, idle_cpu=22)
    idle = 176 - in_steps
    burst = run(
        8,
        cpu=4,
        gil=in_steps,
        idle=idle,
        other_cpu=176,
        idle_cpu=idle,
        gil_cpu=in_steps,
        gil_seen=in_steps / 2,
        first=22,
        looks=looks(idle, held=held, tried=176, free=0.05),
    )
    top = run(
        50,
        cpu=25,
        gil=in_steps * 6,
        idle=idle * 6,
        other_cpu=1056,
        idle_cpu=idle * 6,
        gil_cpu=in_steps * 6,
        gil_seen=in_steps * 3,
        first=22,
        looks=looks(idle * 6, held=held, tried=1056, free=0.05),
    )
    judgement = judge(single, burst, burst, burst, top, top, top)
    assert word_and_cause(judgement) == ("fail", "gil-contention")


def test_python_in_a_thread_after_the_response_fails_as_gil_contention():
    # 10 ms a request in a background task's thread: it passed, for the response was out.
    def after(copies):
        return budget(idle=10 * copies, idle_cpu=10 * copies, other_cpu=10 * copies)

    held = {n: looks(10 * n, held=0.98, free=0.02) for n in (8, 50)}
    single = run(cpu=0.5, idle=10, after=after(1))
    small = run(8, cpu=4, idle=8, after=after(8), after_looks=held[8])
    top = run(50, cpu=25, idle=2, after=after(50), after_looks=held[50])
    judgement = judge(single, small, top, top)
    assert word_and_cause(judgement) == ("fail", "gil-contention")


def test_hashing_in_a_thread_after_the_response_is_no_fail():
    after = budget(idle=250, idle_cpu=500, other_cpu=500)
    seen = looks(250, full=0.99, held=0.02)
    single = run(cpu=0.5, idle=10, after=budget(idle=10, idle_cpu=10, other_cpu=10))
    top = run(50, cpu=25, idle=2, after=after, after_looks=seen)
    assert judge(single, ASYNC_8, top, top, top).verdict != "fail"


def test_an_async_driver_with_a_thread_of_its_own_is_no_contention():
    # A page of 15 rows: 4 ms on the loop, 3 ms in the driver's thread, most of it with the GIL.
    single = run(cpu=3.3, gil=0.3, idle=2.4, other_cpu=2.4, idle_cpu=2.1, gil_cpu=0.3)
    top = run(
        50,
        cpu=160,
        gil=20,
        idle=70,
        other_cpu=90,
        idle_cpu=60,
        gil_cpu=20,
        gil_seen=10,
        first=6,
        looks=looks(70, held=0.6, tried=90, free=0.2),
    )
    assert judge(single, run(8, cpu=26, gil=3, idle=11), top, top, top).verdict == "pass"


def test_a_details_page_whose_loop_is_never_idle_waits_for_nothing():
    # 6 ms of CPU, and idle for 3 of 330 ms: no queue is in it.
    single, top = run(cpu=6, idle=2), run(50, cpu=300, idle=3)
    causes = judge(single, run(8, cpu=48, idle=2), top, top, top).causes
    assert "serialised-wait" not in dict(causes)


@pytest.mark.parametrize(("other_cpu", "held", "word"), [(950, 0.99, "fail"), (1900, 0.3, "pass")])
def test_without_thread_states_the_watching_threads_wait_tells_python_from_hashing(
    other_cpu, held, word
):
    single = run(cpu=0.5, idle=20, other_cpu=20, idle_cpu=20)
    seen = blind_looks(950, held=held)
    burst = run(50, cpu=25, idle=950, other_cpu=other_cpu, idle_cpu=other_cpu, first=20, looks=seen)
    judgement = judge(single, ASYNC_8, burst, burst, burst, clock="thread_time")
    assert judgement.verdict == word


# Noise keeps a fail back, and never buys a pass


def test_time_of_the_machine_and_of_the_plugin_is_charged_to_nobody():
    top = run(50, cpu=25, idle=2, descheduled=240, own=40)
    assert judge(ASYNC, ASYNC_8, top).verdict == "pass"


def test_what_the_plugin_may_hide_is_not_passed():
    top = run(50, cpu=25, idle=2, descheduled=240, own=400)
    assert judge(ASYNC, ASYNC_8, *[top] * 5).verdict == "inconclusive"


def test_a_trivial_handler_behind_a_server_on_a_busy_machine_is_no_queue():
    # 0.2 ms of work; the server's process wakes up four times a request, 3 ms late each.
    late = looks(600, late=3.0, external=240)
    single = run(cpu=0.4, idle=1)
    top = run(50, cpu=20, idle=600, first=10, pressure=620, looks=late)
    assert judge(single, ASYNC_8, *[top] * 5).verdict != "fail"
    quiet = run(50, cpu=20, idle=600, first=10, looks=looks(600, external=240))
    assert word_and_cause(judge(single, quiet, quiet)) == ("fail", "serialised-wait")


def test_a_semaphore_fails_the_same_behind_a_server():
    # Of five: four milliseconds a request; the clients' CPU is in other threads.
    single = run(cpu=0.5, idle=20, other_cpu=1, driver_cpu=1)
    top = run(
        50,
        cpu=25,
        idle=210,
        other_cpu=50,
        driver_cpu=50,
        idle_cpu=50,
        first=20,
        looks=looks(210, external=80, held=0.2, free=0.1),
    )
    assert word_and_cause(judge(single, ASYNC_8, top, top)) == ("fail", "serialised-wait")


def test_a_queue_that_the_machine_may_hide_is_not_passed():
    # A pool of 3: 18 ms of CPU and delay a request hide the 10 ms of its queue.
    single = run(cpu=3, idle=30)
    hidden = {"cpu": 150, "descheduled": 400, "idle": 65}
    assert judge(single, ASYNC_8, *[run(50, **hidden, queued=0.9)] * 5).verdict == "inconclusive"
    assert judge(single, ASYNC_8, run(50, **hidden, queued=0.1)).verdict == "pass"


def test_a_queue_that_never_forms_because_the_loop_gets_no_core_is_not_passed():
    # A pool of 2 serves a request each 20 ms; beside ten busy processes, the loop does each 30 ms.
    single, slow = run(cpu=3, idle=39), run(50, cpu=225, descheduled=1000, own=380)
    assert judge(single, ASYNC_8, *[slow] * 5).verdict == "inconclusive"
    computes = run(cpu=3)
    assert judge(computes, ASYNC_8, slow).verdict == "pass"


@pytest.mark.parametrize(
    ("clock", "word"), [("schedstat", "fail"), ("thread_time", "inconclusive")]
)
def test_a_wait_on_a_busy_machine_that_tells_nothing_is_inconclusive(clock, word):
    single = run(cpu=1, idle=20, descheduled=4)
    burst = run(8, cpu=8, idle=160, descheduled=60, first=20)
    assert judge(single, burst, burst, burst, clock=clock).verdict == word


def test_child_processes_that_wait_for_a_core_are_no_queue_where_their_delay_is_unknown():
    # 22 ms in a process pool beside four busy processes.
    single = run(cpu=1, idle=84, child_cpu=22)
    burst = run(8, cpu=7, idle=466, child_cpu=176, first=20)
    assert judge(single, burst, burst, burst, clock="thread_time").verdict != "fail"
    locked = run(8, cpu=7, idle=466, child_cpu=16, first=20, waiters=LOCKED)
    assert judge(single, locked, locked, locked, clock="thread_time").verdict == "fail"


def test_cpu_work_on_a_busy_machine_that_tells_nothing_is_still_proved():
    single, burst = run(cpu=20, descheduled=30), run(8, cpu=160, descheduled=240)
    judgement = judge(single, burst, burst, clock="thread_time")
    assert word_and_cause(judgement) == ("fail", "cpu-on-loop")


@pytest.mark.parametrize(("waited", "word"), [(0, "fail"), (1.6, "inconclusive")])
def test_cpu_that_caches_full_of_the_neighbours_data_may_have_raised_does_not_convict(waited, word):
    # An ORM's request of 4.4 ms on a quiet machine, which waits for 1.6x of its CPU for a core.
    single, burst = (run(n, cpu=9.4 * n, descheduled=9.4 * n * waited) for n in (1, 8))
    assert judge(single, burst, burst, burst).verdict == word
    top = run(50, cpu=9.4 * 50, descheduled=9.4 * 50 * waited)
    assert judge(single, burst, top, top, top).verdict == word


@pytest.mark.parametrize(("waited", "word"), [(0, "fail"), (1.6, "inconclusive")])
def test_a_step_of_cpu_that_caches_full_of_the_neighbours_data_may_have_raised_does_not_convict(
    waited, word
):
    strict = Limits(cpu_allowance=1, max_lag=0.02)
    single, top = (
        run(n, cpu=30 * n, descheduled=30 * n * waited, steps=(step(cpu=30),)) for n in (1, 50)
    )
    known = evidence(single, top, top, top)
    assert verdict.judge(known, strict).verdict == word


def test_cpu_is_divided_by_how_slow_the_machine_was_in_that_burst():
    # The other thread of a processor came and went.
    single, slow = run(cpu=4, slowdowns=(1.0,)), run(50, cpu=400, slowdowns=(2.0,))
    assert judge(single, ASYNC_8, slow).verdict == "pass"
    usual = replace(slow, slowdowns=(1.0,))
    assert judge(single, usual, usual).cause == "cpu-on-loop"


def test_a_burst_whose_parts_do_not_add_up_is_not_heard():
    broken = run(50, cpu=25, idle=500, first=20, residual=60)
    assert judge(ASYNC, broken, broken, ASYNC_50).verdict == "pass"
    assert judge(ASYNC, broken, broken).verdict == "not-measured"


# No flip: what is too near to tell


@pytest.mark.parametrize("cpu", [6 * (1 + off * CPU_SPREAD) for off in (-0.8, 0.0, 0.8)])
def test_cpu_near_the_allowance_is_inconclusive_every_time_and_says_how_near(cpu):
    # A millisecond beyond the allowance of 5 ms is where it begins to fail.
    single, top = run(cpu=cpu), run(50, cpu=50 * cpu)
    for bursts in (1, 2, 3, 5):
        judgement = judge(single, run(8, cpu=8 * cpu), *[top] * bursts)
        assert judgement.verdict == "inconclusive"
        assert judgement.near.startswith("the serial fraction 0.")
        assert "limit 0.1" in judgement.near


@pytest.mark.parametrize(("off", "word"), [(-1.2, "pass"), (1.4, "fail")])
def test_cpu_clear_of_the_allowance_is_judged(off, word):
    cpu = 6 * (1 + off * CPU_SPREAD)
    top = run(50, cpu=50 * cpu)
    assert judge(run(cpu=cpu), run(8, cpu=8 * cpu), *[top] * 3).verdict == word


@pytest.mark.parametrize("off", [-0.5, 0.0, 0.5])
def test_a_wait_near_its_limit_is_inconclusive_and_says_within_how_much(off):
    # A tenth of 20 ms; the margin is on either side of it.
    blocked = 2 * (1 + off * MARGIN)
    single = run(blocked=blocked, idle=20 - blocked)
    top = run(50, blocked=50 * blocked, idle=20 - blocked)
    judgement = judge(single, run(8, blocked=8 * blocked, idle=18), *[top] * 3)
    assert judgement.verdict == "inconclusive"
    assert "within" in judgement.near
    assert judgement.near.endswith("% of the limit 0.10")
    assert judgement.judged.low <= judgement.judged.limit <= judgement.judged.high
    assert judgement.cause is None
    assert judgement.causes == ()


def test_where_the_bounds_are_far_apart_the_limit_is_said_to_lie_between():
    unseen = run(50, blocked=450, unwitnessed=450, idle=20)
    judgement = judge(run(idle=20), ASYNC_8, *[unseen] * 5)
    assert judgement.verdict == "inconclusive"
    assert judgement.near.endswith("is not distinguishable from the limit 0.10")


def test_what_is_undecided_names_the_cause_of_most_of_it():
    near = run(50, blocked=100, idle=18)
    judgement = judge(run(blocked=2, idle=18), ASYNC_8, *[near] * 3)
    assert judgement.near.startswith("the serial fraction 0.10 (most of it blocking-call), with")


def test_what_is_undecided_for_noise_accuses_nobody():
    descheduled = run(50, blocked=25, idle=20, descheduled=2000)
    judgement = judge(run(idle=20), ASYNC_8, *[descheduled] * 5)
    assert judgement.verdict == "inconclusive"
    assert "most of it" not in judgement.near


@pytest.mark.parametrize("blocked", [4.95, 5.0, 5.05])
def test_a_step_near_its_limit_is_inconclusive_every_time(blocked):
    limits = Limits(max_serial_fraction=0.9)
    single = run(cpu=0.5, idle=20, steps=(step(blocked=blocked),))
    top = run(50, cpu=25, idle=2, steps=(step(blocked=blocked),) * 50)
    small = run(8, cpu=4, idle=16, steps=(step(blocked=blocked),) * 8)
    for bursts in (1, 3, 5):
        judgement = judge(single, small, *[top] * bursts, limits=limits)
        assert judgement.verdict == "inconclusive"
        assert judgement.near.startswith("the longest callback is within ")
        assert judgement.near.endswith("% of max_blocked")


@pytest.mark.parametrize(("blocked", "word"), [(4.8, "pass"), (5.2, "fail")])
def test_a_step_clear_of_its_limit_is_judged(blocked, word):
    limits = Limits(max_serial_fraction=0.9)
    single = run(cpu=0.5, idle=20, steps=(step(blocked=blocked),))
    bursts = [run(n, cpu=n / 2, idle=16, steps=(step(blocked=blocked),) * 8) for n in (8, 50)]
    assert judge(single, *bursts, limits=limits).verdict == word


@pytest.mark.parametrize(("stolen", "word"), [(0, "fail"), (10, "pass")])
def test_a_short_sleep_that_a_hypervisor_may_have_made_long_is_no_fail(stolen, word):
    alone = run(blocked=3, idle=100, steps=(step(blocked=3, state="sleep"),))
    late = step(blocked=8, state="sleep")
    bursts = [run(n, blocked=3 * n + 10, idle=100, steps=(late,), stolen=stolen) for n in (8, 20)]
    found = judge(alone, bursts[0], *bursts[1:] * 3, limits=Limits(concurrency=20))
    assert found.verdict == word


def test_a_long_sleep_fails_whatever_a_hypervisor_took():
    alone = run(blocked=50, steps=(step(blocked=50, state="sleep"),), stolen=10)
    burst = run(8, blocked=400, steps=(step(blocked=50, state="sleep"),), stolen=20)
    assert judge(alone, burst).verdict == "fail"


def test_a_verdict_that_is_certain_is_near_nothing():
    assert judge(ASYNC, ASYNC_8, ASYNC_50).near == ""
    burst = run(8, cpu=96)
    assert judge(run(cpu=12), burst).near == ""


# Steps that keep the loop


def test_a_long_step_of_cpu_fails_for_lag_with_the_slowdown_taken_out():
    slow = (step(cpu=30),)
    single, burst = run(cpu=30, steps=slow), run(8, cpu=240, steps=slow)
    assert judge(single, burst).reasons == ("scaling", "lag")
    limits = Limits(cpu_allowance=1.0)
    assert judge(single, burst, limits=limits, factor=2.0).verdict == "pass"


@pytest.mark.parametrize(("state", "word"), [("blocked", "inconclusive"), ("sleep", "fail")])
def test_an_answer_that_busy_neighbours_delay_does_not_convict_and_a_sleep_does(state, word):
    # 3 ms at a server that wakes up four times a request, 2 ms late each: they become 8 ms.
    slow = (step(blocked=8, state=state),)
    busy = {"steps": slow, "samples": slow[0].samples, "looks": looks(400, late=2.0)}
    single = run(cpu=0.5, blocked=8, idle=40, pressure=48, **busy)
    top = run(50, cpu=25, blocked=400, pressure=420, **busy)
    assert judge(single, *[top] * 5).verdict == word


def test_one_late_answer_of_fifty_is_near_no_limit_if_a_single_request_waits_for_less():
    looking = {"looks": looks(400, late=2.0)}
    late, usual = step(blocked=8), step(blocked=2)
    top = run(50, cpu=25, blocked=105, pressure=420, steps=(late, usual), **looking)
    short, long = (
        run(cpu=0.5, blocked=ms, idle=60, pressure=60, steps=(step(blocked=ms),), **looking)
        for ms in (2, 6)
    )
    assert judge(short, *[top] * 3).verdict == "pass"
    assert judge(long, *[top] * 3).verdict == "inconclusive"


def test_on_a_quiet_machine_a_server_is_late_for_nobody():
    slow = (step(blocked=8),)
    single = run(cpu=0.5, blocked=8, idle=40, steps=slow, samples=slow[0].samples)
    top = run(50, cpu=25, blocked=400, steps=slow, samples=slow[0].samples, looks=looks(600))
    assert word_and_cause(judge(single, top, top)) == ("fail", "blocking-call")


def test_a_wait_that_no_sample_confirms_does_not_convict():
    single = run(cpu=0.5, blocked=0.4, idle=20, steps=(step(blocked=9, witnessed=False),))
    assert judge(single, ASYNC_8, ASYNC_50).verdict == "pass"


def test_a_stall_in_one_of_three_bursts_is_not_judged_but_told():
    stalled = run(50, cpu=25, idle=2, steps=(step(blocked=30),))
    assert next_level(ASYNC, ASYNC_8, stalled) == 50
    judgement = judge(ASYNC, ASYNC_8, stalled, ASYNC_50, ASYNC_50)
    assert judgement.verdict == "pass"
    assert judgement.one_off == pytest.approx(30 * MS)


def test_a_stall_in_most_bursts_fails_for_lag():
    stalled = run(50, cpu=25, idle=2, steps=(step(blocked=30),))
    judgement = judge(ASYNC, ASYNC_8, stalled, stalled)
    assert judgement.verdict == "fail"
    assert judgement.reasons == ("lag", "blocked")
    assert judgement.causes == (("blocking-call", 1.0),)


# Accepted causes, time-outs, and what was not measured


def test_an_accepted_cause_passes_and_is_told():
    limits = Limits(allow=("serialised-wait",))
    small, top = run(8, cpu=4, idle=160, first=20), run(50, cpu=25, idle=1000, first=20)
    judgement = judge(ASYNC, small, top, limits=limits)
    assert judgement.verdict == "pass"
    assert judgement.allowed == ("serialised-wait",)


def test_an_accepted_cause_does_not_hide_another():
    limits = Limits(allow=("serialised-wait",))
    burst = run(8, cpu=4, blocked=80, idle=160, first=20)
    judgement = judge(run(cpu=0.5, idle=20, blocked=2), burst, burst, limits=limits)
    assert word_and_cause(judgement) == ("fail", "blocking-call")
    assert judgement.causes == (("blocking-call", 1.0),)


@pytest.mark.parametrize("excess", [0.9, 1.1])
def test_less_than_a_millisecond_per_request_is_never_convicted(excess):
    small, top = (run(n, cpu=n * 0.2, blocked=n * excess) for n in (8, 50))
    judgement = judge(run(cpu=0.2, blocked=excess), small, top)
    assert judgement.verdict == ("fail" if excess > 1 else "pass")


def test_a_time_out_fails_at_once_and_names_the_kind_of_wait():
    hung = run(8, cpu=1, idle=30_000, timed_out=True)
    assert next_level(ASYNC, hung) is None
    judgement = judge(ASYNC, hung)
    assert (judgement.verdict, judgement.reasons) == ("fail", ("timeout",))
    assert judgement.cause == "serialised-wait"
    stuck = run(8, cpu=1, blocked=30_000, timed_out=True, stuck=())
    assert judge(ASYNC, stuck).cause == "blocking-call"
    computing = run(8, cpu=30_000, blocked=1, timed_out=True, stuck=())
    assert judge(ASYNC, computing).cause == "cpu-on-loop"
    # The look at the time-out fell into a short callback.
    looked_at = run(8, cpu=200, idle=30_000, timed_out=True, stuck=())
    assert judge(ASYNC, looked_at).cause == "serialised-wait"
    full = Pool("anyio limiter", size=4, busy=4, waiting=4)
    asking = run(8, cpu=1, idle=30_000, timed_out=True, pools=(full,))
    judgement = judge(ASYNC, asking)
    assert (judgement.cause, judgement.causes) == ("thread-pool", (("thread-pool", 1.0),))


def test_a_burst_from_which_the_machine_took_most_of_the_time_until_its_time_out_is_undecided():
    late = run(8, cpu=400, idle=1_000, descheduled=2_600, timed_out=True)
    assert judge(ASYNC, late).verdict == "inconclusive"
    hung = run(8, cpu=400, idle=3_000, descheduled=600, timed_out=True)
    assert judge(ASYNC, hung).verdict == "fail"
    held = Step(4.0, 1.0, 0.0, 0.0, 0, (), True)
    computing = run(8, cpu=1_400, descheduled=2_600, timed_out=True, stuck=(), steps=(held,))
    assert judge(ASYNC, computing).verdict == "fail"


def test_what_was_not_measured_is_never_a_pass():
    assert verdict.judge(Evidence(unmeasured="why"), LIMITS).verdict == "not-measured"
    assert verdict.judge(Evidence((ASYNC,)), LIMITS).verdict == "not-measured"
    alone = Evidence((ASYNC,) * 3, scaling_unmeasured="each request has a loop of its own")
    assert verdict.judge(alone, LIMITS).verdict == "not-measured"


def test_lag_is_judged_where_scaling_is_not_measured():
    blocked = run(blocked=30, steps=(step(blocked=30),))
    alone = Evidence((blocked,) * 3, scaling_unmeasured="each request has a loop of its own")
    judgement = verdict.judge(alone, LIMITS)
    assert word_and_cause(judgement) == ("fail", "blocking-call")
    assert (judgement.guilty_runs, judgement.judged_runs) == (3, 3)
    assert judgement.causes == (("blocking-call", 1.0),)
    assert judgement.max_blocked == judgement.max_lag == pytest.approx(30 * MS)
    once = Evidence((blocked, ASYNC, ASYNC), scaling_unmeasured="why")
    judgement = verdict.judge(once, LIMITS)
    assert (judgement.verdict, judgement.reasons, judgement.causes) == ("not-measured", (), ())
    assert judgement.cause is None


BLOCKED = run(blocked=30, steps=(step(blocked=30),))


@pytest.mark.parametrize(
    ("blocked", "healthy", "word", "more"),
    [
        (0, 3, "not-measured", False),
        (1, 2, "not-measured", False),
        (2, 1, "inconclusive", True),
        (3, 0, "fail", False),
        (3, 1, "fail", False),
        (2, 3, "not-measured", False),
        (3, 2, "fail", False),
        (0, 2, "not-measured", True),
    ],
)
def test_a_block_that_one_single_run_misses_is_looked_for_again(blocked, healthy, word, more):
    runs = (BLOCKED,) * blocked + (ASYNC,) * healthy
    alone = Evidence(runs, scaling_unmeasured="each request has a loop of its own")
    assert stopping.needs_run_alone(alone, LIMITS) is more
    judgement = verdict.judge(alone, LIMITS)
    assert judgement.verdict == word
    if word == "fail":
        assert (judgement.guilty_runs, judgement.judged_runs) == (blocked, blocked + healthy)


def test_a_step_near_the_limit_decides_nothing_where_scaling_is_not_measured():
    near = run(blocked=5, steps=(step(blocked=5),))
    judgement = verdict.judge(Evidence((near, ASYNC, ASYNC), scaling_unmeasured="why"), LIMITS)
    assert (judgement.verdict, judgement.near) == ("not-measured", "")


@pytest.mark.parametrize(
    ("clock", "word"), [("schedstat", "fail"), ("thread_time", "inconclusive")]
)
def test_lag_on_a_busy_machine_that_tells_nothing_is_inconclusive(clock, word):
    busy = run(blocked=30, descheduled=30, steps=(step(blocked=30),))
    alone = Evidence((busy,) * 3, (), Calibration(clock=clock), scaling_unmeasured="why")
    assert verdict.judge(alone, LIMITS).verdict == word


@pytest.mark.parametrize(
    ("blocked", "word"), [(0, "pass"), (4.8, "pass"), (5.0, "inconclusive"), (5.2, "fail")]
)
def test_of_a_test_that_is_only_watched_its_longest_step_is_judged(blocked, word):
    once = run(blocked=blocked, idle=20, steps=(step(blocked=blocked),))
    judgement = verdict.judge(Evidence((once,), (), Calibration(), watched=True), LIMITS)
    assert judgement.verdict == word
    assert bool(judgement.near) is (word == "inconclusive")
