"""The watching thread outlives its own faults: what it was asked to ring at is rung."""

import threading

import pytest

from pytest_nonblocking.sentinel.system.clock import thread_clock
from pytest_nonblocking.sentinel.watchdog import Watchdog


class Watched:
    """A probe of a loop that sleeps."""

    idle = True
    step_ns = helper_cpu_ns = 0

    def __init__(self):
        self.thread_ident = threading.get_ident()
        self.thread_id = threading.get_native_id()
        self.clock = thread_clock(self.thread_id)

    def sampled(self, step_ns, state, stack, weight):
        pass

    def waits_for_files(self):
        return False


@pytest.fixture
def watchdog():
    watched = Watched()
    watchdog = Watchdog(watched, 0.001)
    yield watchdog
    watchdog.stop()
    watched.clock.close()


def fault(*args):
    raise ZeroDivisionError("a fault of ours")


def test_after_a_fault_in_a_look_time_outs_still_come(watchdog, monkeypatch):
    monkeypatch.setattr(watchdog, "_look", fault)
    rung = threading.Event()
    watchdog.call_after(0.05, rung.set)
    watchdog.start()
    assert rung.wait(5)
    assert isinstance(watchdog.fault, ZeroDivisionError)


def test_after_a_fault_what_wants_to_be_called_again_is(watchdog, monkeypatch):
    monkeypatch.setattr(watchdog, "_look", fault)
    times, enough = [], threading.Event()

    def again():
        times.append(1)
        if len(times) == 3:
            enough.set()
        return 0.001

    watchdog.call_after(0.0, again)
    watchdog.start()
    assert enough.wait(5)


def test_a_call_that_faults_is_made_once_and_keeps_none_from_the_next(watchdog):
    times, rung = [], threading.Event()

    def first():
        times.append(1)
        fault()

    watchdog.call_after(0.0, first)
    watchdog.call_after(0.02, rung.set)
    watchdog.start()
    assert rung.wait(5)
    watchdog.stop()
    assert times == [1]
    assert isinstance(watchdog.fault, ZeroDivisionError)
