"""A fault in a look ends the watchdog, and is kept for the verdict."""

import threading
import time
from pathlib import Path

import pytest

from pytest_nonblocking.sentinel import watchdog as module
from pytest_nonblocking.sentinel.system.clock import FallbackThreadClock, thread_clock
from pytest_nonblocking.sentinel.system.procfs import NoDescriptorLeftError
from pytest_nonblocking.sentinel.watchdog import Watchdog

DESCRIPTORS = Path("/proc/self/fd")


class Watched:
    """A probe of a loop that sleeps."""

    idle = True
    step_ns = 0

    def __init__(self):
        self.thread_ident = threading.get_ident()
        self.thread_id = threading.get_native_id()
        self.clock = thread_clock(self.thread_id)
        self.helpers = []
        self.helper_used = self.helpers.append

    def sampled(self, step_ns, state, stack, weight):
        pass

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
