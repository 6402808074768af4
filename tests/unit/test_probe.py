"""How the time of a step is divided, on a machine whose clocks are set by hand."""

import asyncio
import threading
from types import SimpleNamespace

import pytest

from pytest_nonblocking.clocks import CLOCKS
from pytest_nonblocking.model import Frame
from pytest_nonblocking.sentinel.probes.asyncio_loop import AsyncioProbe
from pytest_nonblocking.sentinel.probes.choice import probe_of_running_loop
from pytest_nonblocking.sentinel.system.clock import (
    FallbackThreadClock,
    ThreadClock,
    Times,
    has_schedstat,
)
from pytest_nonblocking.tasks import running_tasks

MS = 1_000_000


class Machine:
    """Clocks in nanoseconds that move only by ``spend``."""

    def __init__(self):
        self.wall = self.cpu = self.delay = self.process = 0
        self.sleeps = 0
        self.worst_ns = 0
        self.on_delay = lambda delay_ns: None

    def read(self):
        return Times(self.cpu, self.delay, self.process, self.sleeps)

    def close(self):
        pass

    def spend(self, *, cpu=0, delay=0, off=0, others=0, sleeps=True):
        """Let time pass: on the processor, waiting for it, and off it; all in milliseconds."""
        self.wall += (cpu + delay + off) * MS
        self.cpu += cpu * MS
        self.delay += delay * MS
        self.on_delay(delay * MS)
        self.process += (cpu + others) * MS
        if self.sleeps is not None and sleeps and off:
            self.sleeps += 1


@pytest.fixture
def machine(monkeypatch):
    machine = Machine()
    monkeypatch.setattr(CLOCKS, "wall_ns", lambda: machine.wall)
    monkeypatch.setattr(CLOCKS, "thread_cpu_ns", lambda: machine.cpu)
    monkeypatch.setattr(CLOCKS, "process_cpu_ns", lambda: machine.process)
    return machine


@pytest.fixture
def probe(machine):
    loop = asyncio.new_event_loop()
    probe = AsyncioProbe(loop, notice=0.0025)
    probe.clock.close()
    probe._clock = machine
    probe._mark()
    yield probe
    loop.close()


def parts(probe):
    """The parts in milliseconds that are not zero."""
    return {name: ns / MS for name, ns in probe.parts.snapshot().items() if ns}


def see(probe, state, *frames, weight=0.001):
    stack = tuple(Frame("file.py", 1, function, module) for module, function in frames)
    probe.callbacks.add_sample(probe.step_ns, state, stack, weight)


def test_processor_time_and_run_queue_delay_are_what_the_scheduler_says(machine, probe):
    machine.spend(cpu=7, delay=3)
    probe.tick(machine.wall, None)
    assert parts(probe) == {"cpu": 7, "descheduled": 3}


def test_a_wait_that_nobody_explains_is_blocked_but_not_witnessed(machine, probe):
    machine.spend(cpu=1, off=20)
    probe.tick(machine.wall, None)
    assert parts(probe) == {"cpu": 1, "blocked": 20, "unwitnessed": 20}
    (step,) = probe.callbacks.take_steps()
    assert not step.witnessed


def test_a_wait_seen_in_a_system_call_is_blocked(machine, probe):
    see(probe, "blocked", ("app", "handler"), ("time", "sleep"), weight=0.020)
    machine.spend(cpu=1, off=20, others=20)
    probe.tick(machine.wall, None)
    assert parts(probe) == {"cpu": 1, "blocked": 20}
    (step,) = probe.callbacks.take_steps()
    assert step.witnessed
    assert step.blocked == pytest.approx(0.020)
    assert [sample.state for sample in step.samples] == ["blocked"]


def test_a_wait_that_ends_during_a_look_is_shown_whole_and_judged_by_what_was_seen(machine, probe):
    # The watchdog holds the GIL while it looks. A sleep of 50 ms was shown as 29.6 ms.
    see(probe, "sleep", ("app", "handler"), weight=0.030)
    see(probe, "gil", ("app", "handler"), weight=0.020)
    machine.spend(off=50)
    probe.tick(machine.wall, None)
    (step,) = probe.callbacks.take_steps()
    assert (step.blocked, step.unconfirmed) == (pytest.approx(0.030), pytest.approx(0.020))


def test_what_was_seen_of_another_step_is_no_witness(machine, probe):
    see(probe, "blocked", ("app", "handler"))
    probe.tick(machine.wall, None)
    machine.spend(cpu=1)
    probe.tick(machine.wall, None)
    machine.spend(off=20)
    probe.tick(machine.wall, None)
    (step,) = probe.callbacks.take_steps()
    assert (step.samples, step.witnessed) == ((), False)


def test_a_wait_seen_on_the_gil_is_not_blocked(machine, probe):
    see(probe, "gil", ("app", "handler"), weight=0.020)
    machine.spend(cpu=1, off=20, others=20)
    probe.tick(machine.wall, None)
    assert parts(probe) == {"cpu": 1, "gil": 20, "gil_cpu": 20, "gil_seen": 20}


def test_of_a_wait_for_the_gil_that_part_is_proved_which_was_seen(machine, probe):
    see(probe, "gil", ("app", "handler"), weight=0.005)
    machine.spend(cpu=1, off=20, others=20)
    probe.tick(machine.wall, None)
    assert parts(probe) == {"cpu": 1, "gil": 20, "gil_cpu": 20, "gil_seen": 5}


def test_a_sleep_after_the_last_look_is_no_wait_for_the_gil(machine, probe):
    see(probe, "gil", ("app", "handler"), weight=0.0005)
    machine.spend(cpu=9, off=5)
    probe.tick(machine.wall, None)
    assert parts(probe) == {"cpu": 9, "gil": 0.95, "blocked": 4.05, "unwitnessed": 4.05}


def test_a_wait_for_the_gil_that_was_seen_for_most_of_the_time_is_one(machine, probe):
    see(probe, "gil", ("app", "handler"), weight=0.008)
    machine.spend(cpu=9, off=10)
    probe.tick(machine.wall, None)
    assert parts(probe) == {"cpu": 9, "gil": 9.6, "blocked": 0.4, "unwitnessed": 0.4}


def test_the_start_of_a_callback_is_known_in_runnable_time(machine, probe):
    machine.spend(cpu=7, delay=3)
    probe.tick(machine.wall, None)
    machine.spend(cpu=0.5)
    probe.step_ns = machine.wall  # a quick callback has no reading of its own
    assert probe.step_runnable_ns == 10.5 * MS


def test_an_unseen_wait_is_for_the_gil_as_far_as_other_threads_computed(machine, probe):
    machine.spend(cpu=1, off=20, others=15)
    probe.tick(machine.wall, None)
    expected = {"cpu": 1, "gil": 15, "gil_cpu": 15, "blocked": 5, "unwitnessed": 5}
    assert parts(probe) == expected


@pytest.mark.parametrize(
    "frames",
    [
        [("threading", "Thread.start"), ("threading", "Event.wait")],
        [("threading", "start"), ("threading", "wait")],
        [("subprocess", "Popen.__init__"), ("subprocess", "Popen._execute_child")],
    ],
)
def test_the_start_of_a_thread_or_a_process_is_the_machines_time(machine, probe, frames):
    see(probe, "blocked", *frames)
    machine.spend(cpu=1, off=11, others=4)
    probe.tick(machine.wall, None)
    assert parts(probe) == {"cpu": 1, "gil": 4, "gil_cpu": 4, "descheduled": 7}
    assert probe.callbacks.take_steps() == ()


def test_time_off_the_processor_without_a_switch_was_stolen(machine, probe):
    machine.spend(cpu=4, off=6, sleeps=False)
    probe.tick(machine.wall, None)
    assert parts(probe) == {"cpu": 4, "descheduled": 6}


# The collector


def collect(probe, machine, **spent):
    probe._on_gc("start", {})
    machine.spend(**spent)
    probe._on_gc("stop", {})


def test_a_collection_on_the_loops_thread_stands_apart(machine, probe):
    machine.spend(cpu=8)
    collect(probe, machine, cpu=12)
    probe.tick(machine.wall, None)
    assert parts(probe) == {"cpu": 8, "gc": 12}


def test_a_collection_belongs_to_no_step(machine, probe):
    # What made the garbage may be any step before it.
    machine.spend(cpu=1)
    collect(probe, machine, cpu=30)
    probe.tick(machine.wall, None)
    assert probe.callbacks.take_steps() == ()


def test_what_the_machine_takes_from_a_collection_is_not_the_collectors(machine, probe):
    collect(probe, machine, cpu=12, delay=50)
    probe.tick(machine.wall, None)
    assert parts(probe) == {"gc": 12, "descheduled": 50}


def test_a_collection_that_another_thread_begins_delays_the_loop_by_the_gil(machine, probe):
    thread = threading.Thread(target=collect, args=(probe, machine), kwargs={"off": 90})
    thread.start()
    thread.join()
    see(probe, "gil", ("app", "handler"), weight=0.090)
    machine.process += 90 * MS
    machine.spend(cpu=1)
    probe.tick(machine.wall, None)
    assert parts(probe) == {"cpu": 1, "gil": 90, "gil_cpu": 90, "gil_seen": 90}


def test_a_collection_while_the_loop_wakes_up_is_the_collectors(machine, probe):
    probe.begin_idle()
    machine.spend(off=10, others=7)
    collect(probe, machine, cpu=3)
    probe.end_idle()
    assert parts(probe) == {"idle": 10, "gc": 3, "idle_cpu": 7}


# Where the system tells nothing of its scheduler


@pytest.mark.parametrize(("off", "part"), [(60, "descheduled"), (80, "blocked")])
def test_without_a_scheduler_to_ask_a_step_that_computes_was_preempted(machine, probe, off, part):
    machine.sleeps = None
    probe._mark()
    machine.spend(cpu=24, off=off)
    probe.tick(machine.wall, None)
    assert parts(probe)["cpu"] == 24
    assert parts(probe)[part] == off


@pytest.mark.parametrize(("worst", "witnessed"), [(0, True), (9, True), (11, False)])
def test_without_a_scheduler_to_ask_a_wait_must_exceed_the_canarys(
    machine, probe, worst, witnessed
):
    machine.sleeps = None
    machine.worst_ns = worst * MS
    probe._mark()
    see(probe, "unknown", ("app", "handler"), ("time", "sleep"))
    machine.spend(cpu=1, off=20)
    probe.tick(machine.wall, None)
    assert parts(probe) == {"cpu": 1, "blocked": 20} | ({} if witnessed else {"unwitnessed": 20})
    (step,) = probe.callbacks.take_steps()
    assert step.witnessed is witnessed


# The plugin's own time


def test_the_plugins_own_work_is_charged_to_nobody(machine, probe):
    machine.spend(cpu=2)
    probe.as_own(lambda: machine.spend(cpu=5, off=30, others=30))
    machine.spend(cpu=1)
    probe.tick(machine.wall, None)
    assert parts(probe) == {"cpu": 3, "own": 35}


def test_what_the_machine_takes_from_the_plugins_own_work_is_the_machines(machine, probe):
    probe.as_own(lambda: machine.spend(cpu=5, delay=30))
    assert parts(probe) == {"own": 5, "descheduled": 30}


def test_a_window_ends_before_the_plugins_own_work(machine, probe):
    machine.spend(cpu=2)
    probe.as_own(lambda: machine.spend(cpu=5))
    assert probe.window_end_ns == 2 * MS
    assert probe.window_end["cpu"] == 2 * MS
    assert probe.window_end["own"] == 0
    assert probe.step_ns == machine.wall  # where the next window begins


def test_a_fault_in_the_plugins_own_work_is_kept_and_ends_the_measurement(machine, probe):
    def fault():
        machine.spend(cpu=5)
        raise ZeroDivisionError

    probe.as_own(fault)
    assert isinstance(probe.fault, ZeroDivisionError)
    assert parts(probe) == {"own": 5}


def by_schedstat(machine):
    clock = ThreadClock(threading.get_native_id())
    clock.close()
    clock._delay = SimpleNamespace(read_ns=lambda: machine.delay, close=lambda: None)
    return clock


def by_a_canary(machine):
    clock = FallbackThreadClock(threading.get_native_id())
    machine.on_delay = clock.late
    return clock


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(
            by_schedstat,
            marks=pytest.mark.skipif(not has_schedstat(), reason="no scheduler statistics here"),
        ),
        by_a_canary,
    ],
)
def test_a_turn_of_others_that_a_reading_costs_is_descheduled_time_after_it(machine, probe, made):
    """The kernel takes the core as a CPU time is read; a wait before it is still blocked."""
    turns = [9]

    def before_a_turn(name):
        now = getattr(machine, name)
        if turns:
            machine.spend(delay=turns[0], others=turns.pop())
        return now

    clock = made(machine)
    clock._cpu_ns = lambda: before_a_turn("cpu")
    clock._process_ns = lambda: before_a_turn("process")
    probe._clock = clock
    machine.spend(cpu=1, off=5)
    probe.tick(machine.wall, None)
    assert parts(probe) == {"cpu": 1, "blocked": 5, "unwitnessed": 5, "descheduled": 9}


def test_what_a_reading_itself_costs_is_the_plugins(machine, probe):
    # The clock of the thread is read once for each reading.
    read = machine.read

    def slow():
        usage = read()
        machine.spend(cpu=1)
        return usage

    machine.read = slow
    machine.spend(cpu=7)
    probe.tick(machine.wall, None)
    assert parts(probe) == {"cpu": 7, "own": 1}


def test_the_parts_sum_to_the_time_that_passed(machine, probe):
    for _ in range(3):
        machine.spend(cpu=3, delay=2, off=4, others=1)
        probe.tick(machine.wall, None)
        probe.as_own(lambda: machine.spend(cpu=1, delay=1))
        probe.begin_idle()
        machine.spend(off=11, delay=1)
        probe.end_idle()
    probe.take_reading()
    named = ("cpu", "blocked", "gil", "gc", "descheduled", "idle", "own")
    assert sum(getattr(probe.parts, name) for name in named) == machine.wall


def test_samples_may_be_added_while_they_are_read(machine, probe):
    for _ in range(2000):
        see(probe, "blocked", ("app", "handler"))
    stop = []

    def add():
        while not stop:
            see(probe, "blocked", ("app", "handler"))

    thread = threading.Thread(target=add)
    thread.start()
    try:
        for _ in range(300):
            assert probe.callbacks.samples_of(probe.step_ns)
    finally:
        stop.append(True)
        thread.join()


def test_a_call_that_asks_for_another_as_the_run_of_trio_ends_does_not_break_it():
    trio = pytest.importorskip("trio", reason="trio is not installed")
    calls = []

    async def main():
        probe = probe_of_running_loop(0.001)

        def again():
            calls.append(1)
            probe.call_soon(again)

        probe.call_soon(again)

    trio.run(main)
    assert calls


@pytest.mark.parametrize("late", ["the run is over", "its socket is closed"])
def test_a_call_from_a_thread_that_comes_too_late_for_the_run_of_trio_is_dropped(late):
    trio = pytest.importorskip("trio", reason="trio is not installed")
    error = {
        "the run is over": trio.RunFinishedError(),
        "its socket is closed": OSError(9, "Bad file descriptor"),
    }[late]
    tried = []

    class Token:
        def run_sync_soon(self, action):
            tried.append(action)
            raise error

    async def main():
        for one in (probe_of_running_loop(0.001), running_tasks()):
            one._token = Token()
            one.call_soon_threadsafe(list)

    trio.run(main)
    assert len(tried) == 2
