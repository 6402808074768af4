"""Where the system does not report it, a thread's bytecode shows that it waits for a lock."""

import queue
import threading
import time
from types import SimpleNamespace

import pytest

from pytest_nonblocking.sentinel.stacks import thread_acquires_a_lock

LONG = SimpleNamespace(timeout=30)
PATIENCE = 10
"""Seconds until a test that hangs fails."""


@pytest.fixture
def taken():
    """A lock, a semaphore and a condition that are held until the test is over."""
    lock, semaphore = threading.Lock(), threading.Semaphore(0)
    lock.acquire()
    events = {"works": threading.Event(), "over": threading.Event()}
    waiting = SimpleNamespace(lock=lock, semaphore=semaphore, **events)
    yield waiting
    lock.release()
    semaphore.release()
    waiting.over.set()


def enters(taken):
    with taken.lock:
        pass


def enters_one_of_two(taken):
    with threading.Lock(), taken.lock:
        pass


def acquires(taken):
    taken.lock.acquire()
    taken.lock.release()


def acquires_with_a_time_out(taken):
    if taken.lock.acquire(timeout=LONG.timeout):
        taken.lock.release()


def enters_a_semaphore(taken):
    with taken.semaphore:
        pass


def waits_for_an_event(taken):
    taken.over.wait()


def sleeps_within_a_lock(taken):
    with threading.Lock():
        taken.works.set()
        while not taken.over.is_set():
            time.sleep(0.05)


def computes_after_acquiring(taken):
    lock = threading.Lock()
    lock.acquire()
    taken.works.set()
    while not taken.over.is_set():
        sum(range(100_000))
    lock.release()


def gets_from_a_queue(taken):
    jobs = queue.SimpleQueue()
    taken.works.set()
    while not taken.over.is_set():
        try:
            jobs.get(timeout=0.05)
        except queue.Empty:
            continue


def started(work, taken):
    thread = threading.Thread(target=work, args=(taken,), daemon=True)
    thread.start()
    return thread.ident


def looks_at(ident):
    """Return what 20 looks at a thread see, a millisecond apart."""
    for _ in range(20):
        yield thread_acquires_a_lock(ident)
        time.sleep(0.001)


@pytest.mark.parametrize(
    "waits",
    [
        enters,
        enters_one_of_two,
        acquires,
        acquires_with_a_time_out,
        enters_a_semaphore,
        waits_for_an_event,
    ],
)
def test_a_thread_that_waits_for_a_lock_is_seen(waits, taken):
    ident, end = started(waits, taken), time.monotonic() + PATIENCE
    while not thread_acquires_a_lock(ident) and time.monotonic() < end:
        time.sleep(0.001)
    assert all(looks_at(ident))


@pytest.mark.parametrize(
    "works", [sleeps_within_a_lock, computes_after_acquiring, gets_from_a_queue]
)
def test_a_thread_that_holds_one_or_needs_none_is_not(works, taken):
    ident = started(works, taken)
    assert taken.works.wait(PATIENCE)
    assert not any(looks_at(ident))


def test_a_thread_that_has_ended_acquires_nothing():
    assert not thread_acquires_a_lock(0)
