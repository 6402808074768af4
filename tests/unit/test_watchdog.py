"""A fault in a look ends the watchdog, and is kept for the verdict."""

import threading
import time
from pathlib import Path

import pytest

from pytest_nonblocking.sentinel import watchdog as module
from pytest_nonblocking.sentinel.system import clock
from pytest_nonblocking.sentinel.system.clock import FallbackThreadClock, thread_clock
from pytest_nonblocking.sentinel.system.crowd import Count
from pytest_nonblocking.sentinel.system.procfs import NoDescriptorLeftError
from pytest_nonblocking.sentinel.watchdog import Watchdog, _Wake

MS = 1_000_000
DESCRIPTORS = Path("/proc/self/fd")


class Watched:
    """A probe of a loop that sleeps."""

    idle = True
    step_ns = step_runnable_ns = 0

    def __init__(self):
        self.samples = []
        self.thread_ident = threading.get_ident()
        self.thread_id = threading.get_native_id()
        self.clock = thread_clock(self.thread_id)
        self.helpers = []
        self.helper_used = self.helpers.append

    def sampled(self, step_ns, state, stack, weight):
        self.samples.append((state, round(weight * 1e3, 6)))

    def waits_for_files(self):
        return False


@pytest.fixture
def watched():
    watched = Watched()
    yield watched
    watched.clock.close()


@pytest.fixture
def watchdog(watched):
    watchdog = Watchdog(watched, 0.001)
    yield watchdog
    watchdog.stop()


def test_a_fault_in_a_look_is_kept(watchdog, monkeypatch):
    reached = threading.Event()

    def fault(*args):
        reached.set()
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr(watchdog, "_look", fault)
    watchdog.start()
    assert reached.wait(5)
    watchdog.stop()
    assert isinstance(watchdog.fault, ZeroDivisionError)


def test_the_time_that_the_watchdog_itself_uses_is_reported(watchdog, watched):
    watchdog.start()
    while len(watched.helpers) < 3:
        time.sleep(0.001)
    watchdog.stop()
    assert all(ns > 0 for ns in watched.helpers)


def test_with_estimated_delays_it_is_reported_as_well(watchdog, watched):
    watched.clock.close()
    watched.clock = FallbackThreadClock(watched.thread_id)
    watchdog.start()
    while len(watched.helpers) < 3:
        sum(range(100_000))  # the CPU time of this thread is not the watchdog's
    watchdog.stop()
    assert all(ns > 0 for ns in watched.helpers)


@pytest.mark.skipif(not DESCRIPTORS.exists(), reason="there is no list of descriptors")
def test_a_watchdog_that_finds_no_descriptor_keeps_none(watchdog, monkeypatch):
    def fault():
        raise NoDescriptorLeftError

    before = len(list(DESCRIPTORS.iterdir()))
    monkeypatch.setattr(module, "Witness", fault)
    watchdog.start()
    watchdog.stop()
    assert isinstance(watchdog.fault, NoDescriptorLeftError)
    assert len(list(DESCRIPTORS.iterdir())) == before


class Waiting:
    """A witness to whom every thread waits for the GIL, or does something else."""

    def __init__(self, state="gil"):
        self._state = state

    def state(self, thread_id):
        return self._state


def wake(*, slept, late=0, runnable):
    """Return how the watchdog wakes up 10 ms after a callback has begun; in milliseconds."""
    return _Wake(10 * MS, slept * MS, int(late * MS), 0, 0, int(runnable * MS))


@pytest.fixture
def seen(watchdog, watched):
    watched.idle = False

    def seen(witness=None, **times):
        before = watchdog.looks()
        watchdog._look(witness or Waiting(), None, wake(**times))
        tried = watchdog.looks().since(before)
        return [*watched.samples, (tried.held * 1e3, tried.tried * 1e3)]

    return seen


class Around:
    """The other threads and processes, as counted."""

    def __init__(self, free=0, wanting=0, ran=True):
        self._count = Count(free, wanting, ran)

    def look(self, cores):
        return self._count


@pytest.mark.parametrize(
    ("around", "late", "quiet"),
    [
        (Around(), 0, 8),
        (Around(), 0.5, 7.5),  # while the watchdog was late, nobody looked
        (Around(ran=False), 3, 8),  # and what was to run would have
        (Around(), 3, 0),  # another thread had the GIL
        (Around(free=1), 0, 0),
        (Around(wanting=1), 0, 0),
        (None, 0, 0),  # the states of threads are not known here
    ],
)
def test_the_time_in_which_certainly_none_of_ours_could_run(watchdog, around, late, quiet):
    watchdog._look(Waiting(), around, wake(slept=8, late=late, runnable=0))
    assert watchdog.looks().quiet * 1e3 == pytest.approx(quiet)


def test_a_loop_that_computes_until_the_watchdog_asks_for_the_gil_does_not_wait_for_it(seen):
    # A callback of 9 ms of CPU and 4 ms of sleep counted as 4 ms of waiting for the GIL.
    assert seen(slept=8, late=5, runnable=8) == [("running", 8), (0, 0)]


def test_only_what_the_loop_did_within_the_callback_counts(seen, watched):
    watched.step_runnable_ns = 5 * MS  # when the callback began
    assert seen(slept=12, late=5, runnable=9)[0] == ("gil", 6)
    watched.step_runnable_ns = 3 * MS
    assert seen(slept=12, late=5, runnable=9)[1] == ("running", 10)


def test_a_thread_that_waits_for_a_core_is_runnable(monkeypatch):
    monkeypatch.setattr(clock, "has_schedstat", lambda: True)
    monkeypatch.setattr(clock, "opened", lambda path: 7)
    monkeypatch.setattr(clock, "reader", lambda: lambda file: b"0 700 3")
    monkeypatch.setattr(clock, "cpu_of_other_thread", lambda thread_id: 100)
    assert clock.RunnableTime(1).read_ns() == 800


def test_a_loop_that_neither_ran_nor_waited_for_a_core_waits_for_the_gil(seen):
    assert seen(slept=8, late=5, runnable=2) == [("gil", 6), (8, 8)]


def test_the_gil_is_not_held_by_others_while_the_loop_computes_and_then_sleeps(seen):
    assert seen(Waiting("sleep"), slept=8, late=5, runnable=6)[-1] == (0, 8)
    assert seen(Waiting("sleep"), slept=8, late=5, runnable=2)[-1] == (8, 8)


def test_an_idle_loop_that_has_computed_before_the_look_is_not_held_up_by_others(seen, watched):
    watched.idle = True
    assert seen(slept=8, late=5, runnable=6)[-1] == (0, 8)
    assert seen(slept=8, late=5, runnable=2)[-1] == (8, 8)
