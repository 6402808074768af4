"""What each look of the watchdog shows; a fault in one ends it, and is kept for the verdict."""

import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

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
        self.callbacks = self
        self.thread_ident = threading.get_ident()
        self.thread_id = threading.get_native_id()
        self.clock = thread_clock(self.thread_id)
        self.helpers = []
        self.helper_used = self.helpers.append

    def add_sample(self, step_ns, state, stack, weight):
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
    """A witness to whom the loop's thread waits for the GIL, or does something else."""

    works = False

    def __init__(self, state="gil"):
        self._state = state

    def state(self, thread_id):
        return self._state


def wake(*, slept, late=0, runnable=0):
    """Return how the watchdog wakes up 10 ms after a callback, or a sleep, has begun; in ms."""
    return _Wake(10 * MS, slept * MS, int(late * MS), 0, 0, runnable * MS)


@pytest.fixture
def seen(watchdog, watched):
    """Look at a callback; return its samples, and how long the GIL was held, or may have been."""
    watched.idle = False

    def seen(state="gil", **times):
        watchdog._look(Waiting(state), None, wake(**times))
        looks = watchdog.looks()
        held = tuple(seconds * 1e3 for seconds in (looks.held, looks.maybe_held, looks.tried))
        return watched.samples, pytest.approx(held)

    return seen


def test_a_loop_that_computes_until_the_watchdog_asks_for_the_gil_does_not_wait_for_it(seen):
    # Its callback may sleep afterwards, and no look falls on the sleep.
    assert seen(slept=8, late=5, runnable=7) == ([("running", 7), ("gil", 1)], (1, 1, 1))


def test_a_loop_that_neither_ran_nor_waited_for_a_core_waits_for_the_gil(seen):
    assert seen(slept=8, late=5) == ([("gil", 8)], (8, 8, 8))


def test_only_what_the_loop_did_within_the_callback_counts(seen, watched):
    watched.step_runnable_ns = 5 * MS  # when the callback began
    assert seen(slept=12, late=5, runnable=9)[0] == [("running", 4), ("gil", 6)]


def test_the_gil_is_held_by_others_beyond_the_time_for_which_the_loop_ran(seen):
    assert seen("sleep", slept=8, late=5, runnable=2)[1] == (8, 8, 8)


def test_it_may_be_held_by_others_while_the_loop_ran(seen):
    assert seen("sleep", slept=8, late=5, runnable=5)[1] == (0, 8, 8)


def test_the_figures_of_a_loop_whose_thread_has_ended_say_nothing(watchdog):
    assert not _Wake(10 * MS, 8 * MS, 0, 0, runnable_before=900 * MS, runnable=0).by_others


class Around:
    """The other threads and processes, as counted."""

    def __init__(self, **count):
        self._count = Count(**{"free": 0, "wanting": 0, "quiet": True} | count)

    def look(self, cores):
        return self._count


def looked(watchdog, around, state="blocked", **times):
    """Return the figure of an idle loop's look, in milliseconds, beside those it stands for."""
    watchdog._look(Waiting(state), around, wake(**{"slept": 8} | times))
    return watchdog.looks()


@pytest.mark.parametrize(
    ("around", "late", "quiet"),
    [
        (Around(), 0.1, 8),
        (Around(), 0.5, 0),  # a thread may have run, and just stopped
        (Around(ran=False), 3, 8),  # what was runnable would have run
        (Around(quiet=False), 0, 0),
        (None, 0, 0),  # the states of threads are not known here
    ],
)
def test_a_look_in_time_or_without_a_thread_that_ran_shows_that_it_was_quiet(
    watchdog, around, late, quiet
):
    assert looked(watchdog, around, late=late).quiet * 1e3 == pytest.approx(quiet)


@pytest.mark.parametrize("state", ["running", "gil"])
def test_it_is_not_quiet_while_the_loop_is_about_to_run(watchdog, state):
    assert looked(watchdog, Around(), state).quiet == 0


def test_a_look_stands_for_no_time_before_the_loop_went_to_sleep(watchdog, watched):
    watched.step_ns = 7 * MS
    assert looked(watchdog, Around()).watched * 1e3 == pytest.approx(3)


@pytest.mark.parametrize(
    ("first", "second", "alone"),
    [
        ({"free": 1}, {"free": 1}, 7),
        ({}, {"free": 1}, 7),
        ({"free": 1}, {}, 0),  # who used it may have had the GIL
        ({"free": 2}, {"free": 1}, 0),  # both cores were in use
        ({"free": 1}, {"free": 2}, 0),
        ({"wanting": 1}, {"free": 1}, 0),
        ({"free": 1}, {"free": 1, "wanting": 1}, 0),
    ],
)
def test_cpu_that_a_thread_used_while_a_core_was_free(watched, first, second, alone):
    watchdog = Watchdog(watched, 0.001, cores=2)
    looked(watchdog, Around(used_ns=5 * MS, **first))
    looks = looked(watchdog, Around(used_ns=7 * MS, **second))
    assert (looks.used * 1e3, looks.used_alone * 1e3) == pytest.approx((12, alone))


@pytest.mark.parametrize("late", [(0, 3), (3, 0)])
def test_cpu_beside_a_wait_for_the_gil_may_have_needed_it(watched, late):
    # The thread that releases it for a moment is then seen running without it.
    watchdog = Watchdog(watched, 0.001, cores=2)
    for each in late:
        looks = looked(watchdog, Around(free=1, used_ns=5 * MS), late=each)
    assert (looks.used * 1e3, looks.used_alone) == pytest.approx((10, 0))


@pytest.mark.parametrize(
    ("count", "several"),
    [
        ({"free": 1}, 0),
        ({"wanting": 5}, 0),  # one of them has the GIL
        ({"free": 1, "wanting": 1}, 8),
        ({"free": 2}, 8),
    ],
)
def test_the_time_in_which_two_could_run_at_once(watched, count, several):
    watchdog = Watchdog(watched, 0.001, cores=4)
    assert looked(watchdog, Around(**count)).several * 1e3 == pytest.approx(several)


def test_a_thread_in_a_system_call_may_wait_for_another_process(watchdog):
    assert looked(watchdog, Around(blocked=True)).external == 1
    assert looked(watchdog, Around()).external == 1  # and this one does not


def test_a_pause_in_which_no_thread_ran_is_no_wait_for_the_gil(watchdog):
    assert looked(watchdog, Around(ran=False), late=3).maybe_held == 0
    assert looked(watchdog, Around(), late=3).held * 1e3 == pytest.approx(8)


def test_a_thread_that_waits_for_a_core_is_runnable(monkeypatch):
    monkeypatch.setattr(clock, "has_schedstat", lambda: True)
    monkeypatch.setattr(clock, "opened", lambda path: 7)
    monkeypatch.setattr(clock, "reader", lambda: lambda file: b"0 700 3")
    monkeypatch.setattr(clock, "cpu_of_other_thread", lambda thread_id: 100)
    assert clock.RunnableTime(1).read_ns() == 800


@pytest.mark.skipif(not DESCRIPTORS.exists(), reason="there is no clock of other threads")
def test_a_thread_that_has_ended_was_never_runnable():
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    runnable = clock.RunnableTime(thread.native_id)
    assert runnable.read_ns() > 0
    over.set()
    while thread.native_id in clock.thread_ids():
        time.sleep(0.001)
    assert runnable.read_ns() == 0
    runnable.close()
    runnable.close()
    assert runnable.read_ns() == 0


@pytest.mark.skipif(not DESCRIPTORS.exists(), reason="there is no list of threads")
def test_the_number_of_threads_is_that_of_the_system(watchdog):
    before = clock.number_of_threads()
    watchdog.start()
    assert clock.number_of_threads() == before + 1


class Woken:
    """A witness of threads that all wait for the GIL."""

    works = False

    def state(self, thread_id):
        return "gil"


@pytest.fixture
def two_threads():
    """Two threads that wait; a call makes one of them compute for 5 ms."""
    leave, asked, done = threading.Event(), threading.Semaphore(0), threading.Semaphore(0)

    def compute():
        while asked.acquire() and not leave.is_set():
            end = time.thread_time() + 0.005
            while time.thread_time() < end:
                pass
            done.release()

    threads = [threading.Thread(target=leave.wait), threading.Thread(target=compute)]
    for thread in threads:
        thread.start()

    def work():
        asked.release()
        done.acquire()

    yield work
    leave.set()
    asked.release()
    for thread in threads:
        thread.join()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux knows the CPU time of a thread")
def test_a_thread_weighs_what_it_has_computed_since_its_last_sample(watchdog, two_threads):
    work = two_threads
    watchdog._sample_threads(Woken(), 0.02)
    assert all(sample.weight < 0.001 for sample in watchdog.take_thread_samples())
    watchdog._sample_threads(Woken(), 0.02)
    work()
    watchdog.thread_samples.clear()
    watchdog._sample_threads(Woken(), 0.02)
    samples = watchdog.take_thread_samples()
    (computed,) = (one.weight for one in samples if any("compute" in f.function for f in one.stack))
    assert computed >= 0.005
    assert all(one.weight < 0.001 for one in samples if one.weight != computed)


class Asked(Woken):
    works = True

    def __init__(self):
        self.asked_for = set()

    def state(self, thread_id):
        self.asked_for.add(thread_id)
        return super().state(thread_id)


def test_a_look_does_not_read_the_states_of_idle_threads(watchdog, two_threads):
    computing, witness = threading.enumerate()[-1].native_id, Asked()
    watchdog._computing = SimpleNamespace(threads=lambda: {computing})
    watchdog._sample_threads(witness, 0.02)
    assert witness.asked_for == {computing}
    assert len(watchdog.take_thread_samples()) == 1
