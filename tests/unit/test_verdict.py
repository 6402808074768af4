"""The verdict from literal budgets: no loop, no clock."""

from dataclasses import replace

import pytest

from pytest_nonblocking import demand, verdict
from pytest_nonblocking.results import (
    Budget,
    Calibration,
    Evidence,
    GilUse,
    Limits,
    Pool,
    Run,
    Step,
    Waiters,
)

MS = 0.001
LIMITS = Limits()


def run(
    concurrency=1, *, steps=(), pools=(), gil=None, timed_out=False, stuck=None, queued=0.0, **parts
):
    """A run with the parts of its budget in milliseconds."""
    budget = Budget(**{name: value * MS for name, value in parts.items()})
    return Run(
        concurrency=concurrency,
        makespan=budget.wall,
        latencies=tuple(budget.wall * (n + 1) / concurrency for n in range(concurrency)),
        budget=budget,
        steps=tuple(steps),
        pools=tuple(pools),
        queued=queued,
        gil=gil or GilUse(),
        requests=concurrency,
        timed_out=timed_out,
        stuck=stuck,
    )


def step(*, cpu=0.0, blocked=0.0, witnessed=True):
    return Step(
        wall=(cpu + blocked) * MS,
        cpu=cpu * MS,
        blocked=blocked * MS,
        gil=0.0,
        copy=0,
        witnessed=witnessed,
    )


def evidence(solo, *bursts, factor=1.0, clock="schedstat"):
    calibration = Calibration(factor=factor, clock=clock)
    return Evidence((solo,) * 3, tuple(bursts), calibration)


def judge(solo, *bursts, limits=LIMITS, **calibration):
    return verdict.judge(evidence(solo, *bursts, **calibration), limits)


ASYNC = run(cpu=0.5, idle=20)
ASYNC_8 = run(8, cpu=4, idle=16)
ASYNC_50 = run(50, cpu=25, idle=2)


def test_async_io_passes_after_one_burst_of_each_size():
    assert judge(ASYNC, ASYNC_8, ASYNC_50).word == "pass"
    assert verdict.next_level(evidence(ASYNC), LIMITS) == 8
    assert verdict.next_level(evidence(ASYNC, ASYNC_8), LIMITS) == 50
    assert verdict.next_level(evidence(ASYNC, ASYNC_8, ASYNC_50), LIMITS) is None


def test_the_body_is_run_alone_three_times_first():
    assert verdict.next_level(Evidence(), LIMITS) == 1
    assert verdict.next_level(Evidence((ASYNC, ASYNC)), LIMITS) == 1


def test_a_blocking_call_fails_and_never_pays_for_the_largest_burst():
    solo = run(cpu=0.5, blocked=20, steps=[step(blocked=20)])
    burst = run(8, cpu=4, blocked=160, steps=[step(blocked=20)])
    assert verdict.next_level(evidence(solo), LIMITS) == 8
    assert verdict.next_level(evidence(solo, burst), LIMITS) is None
    judgement = judge(solo, burst)
    assert (judgement.word, judgement.cause) == ("fail", "blocking-call")
    assert judgement.reasons == ("scaling", "blocked")
    assert judgement.serial_fraction == pytest.approx(1.0, abs=0.02)


def test_short_blocking_calls_fail_for_scaling_after_three_bursts():
    solo = run(cpu=0.5, blocked=3, idle=20, steps=[step(blocked=3)])
    burst = run(8, cpu=4, blocked=24, idle=17)
    assert verdict.next_level(evidence(solo, burst, burst), LIMITS) == 8
    assert verdict.next_level(evidence(solo, burst, burst, burst), LIMITS) is None
    judgement = judge(solo, burst, burst, burst)
    assert (judgement.word, judgement.cause) == ("fail", "blocking-call")
    assert judgement.reasons == ("scaling",)


def test_cpu_below_the_allowance_passes_although_latency_scales_linearly():
    solo = run(cpu=1.5)
    judgement = judge(solo, run(8, cpu=12), run(50, cpu=75))
    assert judgement.word == "pass"
    assert judgement.serial_fraction == pytest.approx(1.0)
    assert judgement.excess_fraction == 0


def test_cpu_beyond_the_allowance_fails():
    burst = run(8, cpu=96)
    judgement = judge(run(cpu=12), burst, burst, burst)
    assert (judgement.word, judgement.cause) == ("fail", "cpu-on-loop")


def test_the_cpu_allowance_grows_with_the_machine_factor():
    bursts = (run(8, cpu=64), run(50, cpu=400))
    assert judge(run(cpu=8), *bursts, factor=2.0).word == "pass"
    assert verdict.next_level(evidence(run(cpu=8), bursts[0]), LIMITS) == 8


def test_the_cpu_allowance_holds_for_each_request_of_the_body():
    def twice(run_):
        return Run(
            **{**{f: getattr(run_, f) for f in run_.__slots__}, "requests": run_.concurrency * 2}
        )

    solo, small, top = twice(run(cpu=9)), twice(run(8, cpu=72)), twice(run(50, cpu=450))
    assert judge(solo, small, top).word == "pass"


def test_a_long_step_of_cpu_fails_for_lag_with_the_factor_taken_out():
    slow = step(cpu=30)
    solo, burst = run(cpu=30, steps=[slow]), run(8, cpu=240, steps=[slow])
    assert judge(solo, burst).reasons == ("scaling", "lag")
    limits = Limits(cpu_allowance=1.0)
    assert judge(solo, burst, limits=limits, factor=2.0).word == "pass"


def test_a_lock_fails_as_serialised_wait():
    burst = run(8, cpu=4, idle=160)
    judgement = judge(ASYNC, burst, burst, burst)
    assert (judgement.word, judgement.cause) == ("fail", "serialised-wait")


def test_waits_of_random_length_are_not_convicted_by_small_bursts():
    burst = run(8, cpu=4, idle=60)  # the longest of eight waits
    assert verdict.next_level(evidence(ASYNC, burst), LIMITS) == 50
    assert judge(ASYNC, burst, run(50, cpu=25, idle=70)).word == "pass"


def test_a_small_connection_pool_fails_in_the_largest_burst():
    small, top = run(8, cpu=4, idle=40), run(50, cpu=25, idle=200)
    assert verdict.next_level(evidence(ASYNC, small, top, top), LIMITS) == 50
    judgement = judge(ASYNC, small, top, top, top)
    assert (judgement.word, judgement.cause) == ("fail", "serialised-wait")


def test_a_pass_needs_most_bursts_where_the_first_does_not_prove_it():
    solo, queue, healthy = run(cpu=0.5, idle=20), run(50, cpu=25, idle=250), ASYNC_50
    assert verdict.next_level(evidence(solo, ASYNC_8, queue, healthy), LIMITS) == 50
    assert judge(solo, ASYNC_8, queue, healthy).word != "pass"
    assert verdict.next_level(evidence(solo, ASYNC_8, queue, healthy, healthy), LIMITS) is None
    assert judge(solo, ASYNC_8, queue, healthy, healthy).word == "pass"
    mixed = (queue, healthy, queue, healthy, queue)
    assert verdict.next_level(evidence(solo, ASYNC_8, *mixed), LIMITS) is None
    assert judge(solo, ASYNC_8, *mixed).word == "inconclusive"


def test_a_full_limiter_fails_as_thread_pool():
    pool = Pool("anyio limiter", size=4, busy=4, waiting=46)
    small, top = run(8, cpu=4, idle=40, pools=[pool]), run(50, cpu=25, idle=260, pools=[pool])
    judgement = judge(ASYNC, small, top, top, top)
    assert (judgement.word, judgement.cause) == ("fail", "thread-pool")


def test_a_pool_that_was_full_before_most_copies_waited_is_not_the_cause():
    pool = Pool("thread pool executor", size=4, busy=4, waiting=46)
    waiters = (Waiters((), 49),)
    bursts = [run(n, cpu=n / 2, idle=20 * n, pools=[pool]) for n in (8, 50)]
    small, top = (replace(burst, waiters=waiters) for burst in bursts)
    judgement = judge(ASYNC, small, top, top, top)
    assert (judgement.word, judgement.cause) == ("fail", "serialised-wait")
    small, top = (replace(burst, waiters=waiters, pool=pool) for burst in bursts)
    judgement = judge(ASYNC, small, top, top, top)
    assert (judgement.word, judgement.cause) == ("fail", "thread-pool")


def test_a_default_executor_sized_by_the_machine_is_only_noted():
    pool = Pool("asyncio default executor", 6, 6, 44, sized_by_cpu_count=True)
    small, top = run(8, cpu=4, idle=40), run(50, cpu=25, idle=180, pools=[pool])
    assert judge(ASYNC, small, top).word == "pass"


def test_threads_that_compete_for_the_gil_fail_as_gil_contention():
    gil = GilUse(wanting=30, running=2)
    budget = {"cpu": 4, "idle": 110, "other_cpu": 160}
    burst = run(8, gil=gil, **budget)
    judgement = judge(run(cpu=0.5, idle=20, other_cpu=20), burst, burst, burst)
    assert (judgement.word, judgement.cause) == ("fail", "gil-contention")


def test_work_that_runs_without_the_gil_passes_and_tells_its_cost():
    free = GilUse(wanting=1, running=30)
    solo = run(cpu=0.5, idle=20, other_cpu=20)
    small = run(8, gil=free, cpu=4, idle=80, other_cpu=160)
    top = run(50, gil=free, cpu=25, idle=500, other_cpu=1000)
    judgement = judge(solo, small, top)
    assert judgement.word == "pass"
    assert judgement.offloaded == pytest.approx(20 * MS, rel=0.01)


def test_work_in_child_processes_passes():
    solo = run(cpu=0.5, idle=20, child_cpu=20)
    small, top = run(8, cpu=4, idle=80, child_cpu=160), run(50, cpu=25, idle=500, child_cpu=1000)
    assert judge(solo, small, top).word == "pass"


def test_run_queue_delay_of_workers_belongs_to_their_work():
    free = GilUse(running=30)
    solo = run(cpu=0.5, idle=20, other_cpu=20)
    busy = run(50, gil=free, cpu=25, idle=1500, other_cpu=1000, other_delay=1200)
    assert judge(solo, run(8, gil=free, cpu=4, idle=80, other_cpu=160), busy).word == "pass"


def test_noise_that_may_explain_all_of_it_makes_the_verdict_inconclusive():
    noisy = run(50, cpu=25, idle=200, other_delay=400)
    judgement = judge(ASYNC, ASYNC_8, *[noisy] * 5)
    assert judgement.word == "inconclusive"
    assert verdict.next_level(evidence(ASYNC, ASYNC_8, *[noisy] * 4), LIMITS) == 50
    assert verdict.next_level(evidence(ASYNC, ASYNC_8, *[noisy] * 5), LIMITS) is None


def test_descheduled_and_collected_time_is_charged_to_nobody():
    assert judge(ASYNC, ASYNC_8, run(50, cpu=25, idle=2, descheduled=900, gc=400)).word == "pass"


def test_a_wait_that_no_sample_confirms_does_not_convict():
    unseen = step(blocked=9, witnessed=False)
    solo = run(cpu=0.5, blocked=0.4, idle=20, steps=[unseen])
    assert judge(solo, ASYNC_8, ASYNC_50).word == "pass"


def test_a_stall_in_one_of_three_bursts_is_not_judged_but_told():
    stalled = run(50, cpu=25, idle=2, steps=[step(blocked=30)])
    assert verdict.next_level(evidence(ASYNC, ASYNC_8, stalled), LIMITS) == 50
    judgement = judge(ASYNC, ASYNC_8, stalled, ASYNC_50, ASYNC_50)
    assert judgement.word == "pass"
    assert judgement.one_off == pytest.approx(30 * MS)


def test_a_stall_in_most_bursts_fails_for_lag():
    stalled = run(50, cpu=25, idle=2, steps=[step(blocked=30)])
    judgement = judge(ASYNC, ASYNC_8, stalled, stalled)
    assert judgement.word == "fail"
    assert judgement.reasons == ("lag", "blocked")


def test_an_accepted_cause_passes_and_is_told():
    limits = Limits(allow=("serialised-wait",))
    burst = run(8, cpu=4, idle=160)
    judgement = judge(ASYNC, burst, run(50, cpu=25, idle=1000), limits=limits)
    assert judgement.word == "pass"
    assert judgement.allowed == ("serialised-wait",)


def test_an_accepted_cause_does_not_hide_another():
    limits = Limits(allow=("serialised-wait",))
    burst = run(8, cpu=4, blocked=80, idle=160)
    judgement = judge(run(cpu=0.5, idle=20, blocked=2), burst, burst, burst, limits=limits)
    assert judgement.cause == "blocking-call"


@pytest.mark.parametrize("excess", [0.9, 1.1])
def test_less_than_a_millisecond_per_request_is_never_convicted(excess):
    burst = run(8, cpu=1.6, blocked=8 * excess)
    judgement = judge(run(cpu=0.2, blocked=excess), burst, burst, burst)
    assert judgement.word == ("fail" if excess > 1 else "pass")


def test_a_time_out_fails_at_once_and_names_the_kind_of_wait():
    hung = run(8, cpu=1, idle=30_000, timed_out=True)
    assert verdict.next_level(evidence(ASYNC, hung), LIMITS) is None
    judgement = judge(ASYNC, hung)
    assert (judgement.word, judgement.reasons) == ("fail", ("timeout",))
    assert judgement.cause == "serialised-wait"
    stuck = run(8, cpu=1, blocked=30_000, timed_out=True, stuck=())
    assert judge(ASYNC, stuck).cause == "blocking-call"


def test_what_was_not_measured_is_never_a_pass():
    assert verdict.judge(Evidence(unmeasured="why"), LIMITS).word == "not-measured"
    assert verdict.judge(Evidence((ASYNC,)), LIMITS).word == "not-measured"


@pytest.mark.parametrize(
    ("use", "contended"),
    [
        (GilUse(wanting=5, running=1), True),
        (GilUse(wanting=1, running=15, watched=0.1, waited=0.1), False),
        (GilUse(wanting=2, running=10, watched=0.1, waited=0.07), True),
        (GilUse(wanting=5, running=15, watched=0.1, waited=0.04), False),
        (GilUse(watched=0.1, waited=0.05), True),
        (GilUse(watched=0.1, waited=0.01), False),
        (GilUse(watched=0.003, waited=0.003), False),
    ],
)
def test_contention_is_read_from_threads_where_the_system_tells_else_from_lateness(use, contended):
    assert demand.gil_contended([use]) is contended


def test_waits_for_the_gil_of_driver_threads_share_the_cpu_allowance():
    contended = GilUse(wanting=9, running=1)
    busy = {"cpu": 21, "other_cpu": 20}
    small = Run(
        8, 0.1, (), Budget(gil=0.016, **{k: v * MS for k, v in busy.items()}), gil=contended
    )
    top = Run(50, 0.3, (), Budget(cpu=0.13, gil=0.1, other_cpu=0.12), gil=contended)
    solo = run(cpu=2.6, idle=2)
    assert judge(solo, small, top).word == "pass"


# What the laboratory found (benchmarks/truth)

POOL_SOLO = run(cpu=3, idle=30)
# A pool of 3 on a busy machine: 18 ms of CPU and delay a request hide the 10 ms of its queue.
HIDDEN = {"cpu": 290, "descheduled": 540, "idle": 65}


def test_a_queue_that_the_machine_may_hide_is_not_passed():
    burst = run(50, **HIDDEN, queued=0.9)
    assert judge(POOL_SOLO, burst, burst, burst, burst, burst).word == "inconclusive"


def test_the_same_burst_without_waiting_copies_is_healthy():
    burst = run(50, **HIDDEN, queued=0.1)
    assert judge(POOL_SOLO, burst).word == "pass"


def test_copies_that_wait_for_threads_without_a_processor_are_in_no_queue():
    burst = run(50, **HIDDEN, queued=0.9, other_delay=600)
    assert judge(POOL_SOLO, burst).word == "pass"


def test_copies_in_a_queue_name_its_cause_beside_dear_cpu():
    solo = run(cpu=3, idle=20)
    burst = run(50, cpu=500, idle=190, descheduled=400, queued=0.8)
    judgement = judge(solo, burst, burst, burst)
    assert (judgement.word, judgement.cause) == ("fail", "serialised-wait")


def test_a_slow_machine_judges_cpu_as_the_reference_would():
    # 12 ms beside 40 ms of waiting: 6 ms on the reference machine, 1 ms beyond the allowance.
    solo, burst = run(cpu=12, idle=40), run(50, cpu=600, idle=2)
    assert judge(solo, burst, burst, burst, factor=2.0).word == "pass"
    assert judge(solo, burst, burst, burst).cause == "cpu-on-loop"


def test_cpu_work_is_found_on_a_slow_machine_too():
    burst = run(8, cpu=600)
    judgement = judge(run(cpu=75), burst, burst, burst, factor=10.0)
    assert (judgement.word, judgement.cause) == ("fail", "cpu-on-loop")


def test_a_few_looks_at_threads_that_hardly_compute_prove_no_gil_contention():
    solo = run(idle=16, child_cpu=16)
    use = GilUse(watched=0.4, waited=0.02, wanting=4, running=2)
    burst = run(50, idle=360, child_cpu=830, other_cpu=20, gil=use)
    assert judge(solo, burst).word == "pass"


@pytest.mark.parametrize(
    ("clock", "word"), [("schedstat", "fail"), ("thread_time", "inconclusive")]
)
def test_a_wait_on_a_busy_machine_that_tells_nothing_is_inconclusive(clock, word):
    solo = run(cpu=1, idle=20, descheduled=4)
    burst = run(8, cpu=8, idle=160, descheduled=60)
    assert judge(solo, burst, burst, burst, clock=clock).word == word


def test_cpu_work_on_a_busy_machine_that_tells_nothing_is_still_proved():
    solo, burst = run(cpu=20, descheduled=30), run(8, cpu=160, descheduled=240)
    judgement = judge(solo, burst, burst, burst, clock="thread_time")
    assert (judgement.word, judgement.cause) == ("fail", "cpu-on-loop")


def test_the_cause_is_that_of_most_bursts_and_not_of_the_one_in_the_middle():
    cpu, other = run(8, cpu=112), run(8, cpu=60, blocked=64)
    judgement = judge(run(cpu=10), run(8, cpu=160), other, cpu)
    assert (judgement.word, judgement.cause) == ("fail", "cpu-on-loop")


RANDOM_SOLO = run(cpu=0.5, idle=6)


def random_8():
    latencies = tuple(ms * MS for ms in (6, 8, 11, 12, 13, 17, 25, 42))
    return replace(run(8, cpu=4, idle=38), latencies=latencies)


def test_waits_of_random_length_are_no_queue():
    # Three short lone runs by chance, and eight copies of which one takes 42 ms.
    bursts = (random_8(), random_8(), random_8())
    assert verdict.next_level(evidence(RANDOM_SOLO, *bursts), LIMITS) == 50
    healthy = run(50, cpu=25, idle=20)
    assert judge(RANDOM_SOLO, *bursts, healthy).word == "pass"


def test_python_in_threads_is_not_passed_because_the_loop_did_not_run_either():
    # Eight milliseconds of Python a request in threads; the loop waits for the GIL for five of
    # them, and for the processor meanwhile.
    solo = run(cpu=1, idle=9, other_cpu=8)
    use = GilUse(watched=0.3, waited=0.2, wanting=30, running=3)
    burst = run(50, cpu=50, idle=230, descheduled=600, other_cpu=400, gil=use)
    assert judge(solo, burst, burst, burst, burst, burst).word != "pass"


@pytest.mark.parametrize(
    ("other_cpu", "word"), [(900, "fail"), (1300, "pass"), (500, "inconclusive")]
)
def test_without_thread_states_threads_contend_for_the_gil_only_one_at_a_time(other_cpu, word):
    # 1 s of makespan: one processor's worth of Python, two processors' worth of hashing, and
    # half a processor's on a machine that is busy otherwise.
    solo = run(cpu=0.5, idle=20, other_cpu=20)
    use = GilUse(watched=0.5, waited=0.4)
    burst = run(50, cpu=25, idle=975, other_cpu=other_cpu, gil=use)
    assert judge(solo, burst, burst, burst, burst, burst, clock="thread_time").word == word
