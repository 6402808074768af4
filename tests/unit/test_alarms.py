"""Timed calls are made whatever else fails, and their thread leaves nothing behind."""

import threading

import pytest

from pytest_nonblocking.sentinel.alarms import Alarms

NAME = "pytest-nonblocking-alarms"


@pytest.fixture
def alarms():
    alarms = Alarms()
    yield alarms
    alarms.stop()


def fault():
    raise ZeroDivisionError("a fault of ours")


def threads():
    return [thread for thread in threading.enumerate() if thread.name == NAME]


def test_a_call_is_made_once(alarms):
    times, later = [], threading.Event()
    alarms.call_after(0.0, lambda: times.append(1))
    alarms.call_after(0.02, later.set)
    assert later.wait(5)
    assert times == [1]


def test_a_call_that_returns_a_delay_is_made_again(alarms):
    times, enough = [], threading.Event()

    def again():
        times.append(1)
        if len(times) == 3:
            enough.set()
            return None
        return 0.001

    alarms.call_after(0.0, again)
    assert enough.wait(5)


def test_a_call_that_is_due_sooner_does_not_wait_for_one_that_is_due_later(alarms):
    order, both = [], threading.Event()
    alarms.call_after(3600.0, fault)
    alarms.call_after(0.02, lambda: (order.append("second"), both.set())[1])
    alarms.call_after(0.0, lambda: order.append("first"))
    assert both.wait(5)
    assert order == ["first", "second"]


def test_a_delay_longer_than_a_lock_can_wait_is_no_fault(alarms):
    called = threading.Event()
    alarms.call_after(threading.TIMEOUT_MAX * 2, fault)
    alarms.call_after(0.0, called.set)
    assert called.wait(5)
    assert alarms.fault is None


def test_a_call_that_faults_is_made_once_and_stops_no_other(alarms):
    times, called = [], threading.Event()

    def first():
        times.append(1)
        fault()

    alarms.call_after(0.0, first)
    alarms.call_after(0.02, called.set)
    assert called.wait(5)
    assert times == [1]
    assert isinstance(alarms.fault, ZeroDivisionError)


def test_cancelled_calls_are_not_made(alarms):
    called = threading.Event()
    alarms.call_after(0.02, fault)
    alarms.forget()
    alarms.call_after(0.03, called.set)
    assert called.wait(5)
    assert alarms.fault is None


def test_a_call_cancelled_while_it_runs_is_not_made_again(alarms):
    times, cancelled, later = [], threading.Event(), threading.Event()

    def cancels():
        times.append(1)
        alarms.forget()
        cancelled.set()
        return 0.0

    alarms.call_after(0.0, cancels)
    assert cancelled.wait(5)
    alarms.call_after(0.02, later.set)
    assert later.wait(5)
    assert times == [1]


def test_the_thread_starts_with_the_first_call_and_ends_with_the_alarms(alarms):
    assert threads() == []
    alarms.call_after(3600.0, fault)
    assert len(threads()) == 1
    alarms.stop()
    assert threads() == []


def test_alarms_that_were_never_set_can_be_stopped_twice():
    alarms = Alarms()
    alarms.stop()
    alarms.stop()


def test_the_time_that_the_thread_itself_uses_is_reported():
    used, called = [], threading.Event()

    def note(ns):
        used.append(ns)
        called.set()

    alarms = Alarms(note)
    alarms.call_after(0.0, lambda: None)
    assert called.wait(5)
    alarms.stop()
    assert used[0] > 0
