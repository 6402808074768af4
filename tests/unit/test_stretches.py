"""Totals over stretches of time, from literal marks."""

import pytest

from pytest_nonblocking.model import CopyEnd, Looks
from pytest_nonblocking.sentinel.stretches import Mark, Stretches
from pytest_nonblocking.sentinel.system.pressure import Counters

MS = 1_000_000


class Machine:
    """A clock, and what the machine and the plugin have taken so far, in milliseconds."""

    def __init__(self):
        self.now = self.taken = 0

    def parts(self):
        return {"descheduled": self.taken * MS, "own": 0}

    def mark(self):
        parts, ns = self.parts(), self.now * MS
        return Mark(ns, parts, ns, parts, 0, 0, Counters(0.0, 0.0, 0.0, 0.0), Looks())

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
