"""Totals over stretches of time, from literal marks."""

import pytest

from pytest_nonblocking.model import CopyEnd, Looks
from pytest_nonblocking.sentinel.stretches import Mark, Stretches
from pytest_nonblocking.sentinel.system.pressure import Counters

MS = 1_000_000


class Machine:
    """A clock, and what the machine and the plugin have taken so far, in milliseconds."""

    def __init__(self):
        self.now = self.taken = self.gil = 0

    def parts(self):
        return {"descheduled": self.taken * MS, "own": 0, "gil": 0, "gil_cpu": 0}

    def mark(self):
        """Take a mark, which waits for the GIL."""
        parts, ended = self.parts(), self.now * MS
        self.now += self.gil
        began, gil = self.now * MS, self.gil * MS
        counters = Counters(0.0, 0.0, 0.0, 0.0)
        return Mark(ended, parts, began, parts, gil, ended, began, 0, counters, Looks())

    def passes(self, ms, taken=0):
        self.now += ms
        self.taken += taken


@pytest.fixture
def machine():
    return Machine()


@pytest.fixture
def stretches(machine):
    return Stretches(machine.mark, machine.parts)


def test_a_copy_ends_after_the_time_of_all_its_stretches_and_what_was_taken_in_them(
    machine, stretches
):
    stretches.turn("window")
    machine.passes(20, taken=5)
    stretches.turn(None)
    machine.passes(100, taken=60)  # clients
    stretches.turn("window")
    machine.passes(30, taken=10)
    assert stretches.end_at("window", machine.now * MS) == CopyEnd(0.050, 0.015)


def test_a_copy_that_ends_with_its_stretch_has_what_was_taken_in_it(machine, stretches):
    machine.passes(40, taken=40)
    stretches.turn("window")
    machine.passes(20, taken=5)
    stretches.turn("after")
    machine.passes(20, taken=20)
    assert stretches.end_at("window", machine.now * MS) == CopyEnd(0.020, 0.005)


def test_a_stretch_after_another_begins_with_the_wait_for_the_gil_of_the_mark_between(
    machine, stretches
):
    machine.gil = 15
    stretches.turn("window")
    machine.passes(20)
    stretches.turn("after")
    machine.passes(30)
    machine.gil = 0
    stretches.turn(None)
    window, after = stretches.total("window"), stretches.total("after")
    assert (window.wall_ns, window.parts["gil"]) == (20 * MS, 0)  # its release was after the wait
    assert (window.other_cpu_ns, after.other_cpu_ns) == (20 * MS, 45 * MS)
    assert after.wall_ns == 45 * MS
    assert after.parts["gil"] == after.parts["gil_cpu"] == 15 * MS
