"""How the time of a step is divided, on a machine whose clocks are set by hand."""

import asyncio
import threading

import pytest

from pytest_nonblocking.clocks import CLOCKS
from pytest_nonblocking.results import Frame
from pytest_nonblocking.sentinel.asyncio_probe import AsyncioProbe
from pytest_nonblocking.sentinel.clock import Usage

MS = 1_000_000


class Machine:
    """Clocks in nanoseconds that move only by ``spend``."""

    def __init__(self):
        self.wall = self.cpu = self.delay = self.process = 0
        self.sleeps = 0
        self.worst_ns = 0

    def read(self):
        return Usage(self.cpu, self.delay, self.sleeps)

    def close(self):
        pass

    def spend(self, *, cpu=0, delay=0, off=0, others=0, sleeps=True):
        """Let time pass: on the processor, waiting for it, and off it; all in milliseconds."""
        self.wall += (cpu + delay + off) * MS
        self.cpu += cpu * MS
        self.delay += delay * MS
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


def see(probe, state, *frames):
    stack = tuple(Frame("file.py", 1, function, module) for module, function in frames)
    probe.sampled(probe.step_ns, state, stack)


def test_processor_time_and_run_queue_delay_are_what_the_scheduler_says(machine, probe):
    machine.spend(cpu=7, delay=3)
    probe.tick(machine.wall, None)
    assert parts(probe) == {"cpu": 7, "descheduled": 3}


def test_a_wait_that_nobody_explains_is_blocked_but_not_witnessed(machine, probe):
    machine.spend(cpu=1, off=20)
    probe.tick(machine.wall, None)
    assert parts(probe) == {"cpu": 1, "blocked": 20, "unwitnessed": 20}
    (step,) = probe.take_steps()
    assert not step.witnessed


def test_a_wait_seen_in_a_system_call_is_blocked(machine, probe):
    see(probe, "blocked", ("app", "handler"), ("time", "sleep"))
    machine.spend(cpu=1, off=20, others=20)
    probe.tick(machine.wall, None)
    assert parts(probe) == {"cpu": 1, "blocked": 20}
    (step,) = probe.take_steps()
    assert step.witnessed
    assert step.blocked == pytest.approx(0.020)


def test_a_wait_seen_on_the_gil_is_not_blocked(machine, probe):
    see(probe, "gil", ("app", "handler"))
    machine.spend(cpu=1, off=20)
    probe.tick(machine.wall, None)
    assert parts(probe) == {"cpu": 1, "gil": 20}


def test_an_unseen_wait_is_for_the_gil_as_far_as_other_threads_computed(machine, probe):
    machine.spend(cpu=1, off=20, others=15)
    probe.tick(machine.wall, None)
    assert parts(probe) == {"cpu": 1, "gil": 15, "blocked": 5, "unwitnessed": 5}


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
    assert parts(probe) == {"cpu": 1, "gil": 4, "descheduled": 7}
    assert probe.take_steps() == ()


def test_time_off_the_processor_without_a_switch_was_stolen(machine, probe):
    machine.spend(cpu=4, off=6, sleeps=False)
    probe.tick(machine.wall, None)
    assert parts(probe) == {"cpu": 4, "descheduled": 6}


def test_a_collection_in_another_thread_is_the_collectors_time(machine, probe, monkeypatch):
    probe._account_other_gc("start")
    machine.spend(off=90, others=90)
    monkeypatch.setattr(CLOCKS, "thread_cpu_ns", lambda: machine.cpu + 90 * MS)
    probe._account_other_gc("stop")
    machine.spend(cpu=1, off=2)
    probe.tick(machine.wall, None)
    assert parts(probe) == {"cpu": 1, "gc": 90, "blocked": 2, "unwitnessed": 2}
    assert probe.other_gc_cpu == 90 * MS


def test_a_collection_in_another_thread_is_not_idle_time(machine, probe, monkeypatch):
    probe.begin_idle()
    machine.spend(off=10)
    probe._account_other_gc("start")
    machine.spend(off=30, others=30)
    monkeypatch.setattr(CLOCKS, "thread_cpu_ns", lambda: machine.cpu + 30 * MS)
    probe._account_other_gc("stop")
    probe.end_idle()
    assert parts(probe) == {"idle": 10, "gc": 30}


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
    (step,) = probe.take_steps()
    assert step.witnessed is witnessed


def test_the_plugins_own_work_costs_no_cpu_but_its_waits_count(machine, probe):
    machine.spend(cpu=2)
    probe.unaccounted(lambda: machine.spend(cpu=5, off=30, others=30))
    machine.spend(cpu=1)
    probe.tick(machine.wall, None)
    assert parts(probe) == {"cpu": 3, "gil": 30}


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
            assert probe._samples_of(probe.step_ns)
    finally:
        stop.append(True)
        thread.join()
