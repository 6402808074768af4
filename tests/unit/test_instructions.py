"""Where the system does not report it, a thread's bytecode shows that it waits for a lock."""

import queue
import threading
import time
from types import SimpleNamespace

import pytest

from pytest_nonblocking.sentinel.stacks import thread_acquires_a_lock

LONG = SimpleNamespace(timeout=30)


@pytest.fixture
def taken():
    """A lock, a semaphore and a condition that are held until the test is over."""
    lock, semaphore = threading.Lock(), threading.Semaphore(0)
    lock.acquire()
    waiting = SimpleNamespace(lock=lock, semaphore=semaphore, over=threading.Event())
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
        while not taken.over.is_set():
            time.sleep(0.05)


def computes_after_acquiring(taken):
    lock = threading.Lock()
    lock.acquire()
    while not taken.over.is_set():
        sum(range(100_000))
    lock.release()


def gets_from_a_queue(taken):
    jobs = queue.SimpleQueue()
    while not taken.over.is_set():
        try:
            jobs.get(timeout=0.05)
        except queue.Empty:
            continue


def seen(waits, taken):
    """Return how many of 20 looks at a thread in ``waits`` saw it acquire a lock."""
    thread = threading.Thread(target=waits, args=(taken,), daemon=True)
    thread.start()
    time.sleep(0.05)
    looks = []
    for _ in range(20):
        looks.append(thread_acquires_a_lock(thread.ident))
        time.sleep(0.001)
    return sum(looks)


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
    assert seen(waits, taken) == 20


@pytest.mark.parametrize(
    "works", [sleeps_within_a_lock, computes_after_acquiring, gets_from_a_queue]
)
def test_a_thread_that_holds_one_or_needs_none_is_not(works, taken):
    assert seen(works, taken) == 0


def test_a_thread_that_has_ended_acquires_nothing():
    assert not thread_acquires_a_lock(0)
