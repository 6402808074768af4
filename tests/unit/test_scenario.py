"""What is run, and what of the machine is measured meanwhile."""

import time

import pytest

from pytest_nonblocking import scenario, verdict
from pytest_nonblocking.results import Calibration, Limits
from pytest_nonblocking.sentinel import Sentinel

pytestmark = pytest.mark.asyncio


async def compute():
    end = time.thread_time() + 0.010
    while time.thread_time() < end:
        sum(range(100))


@pytest.mark.parametrize(("later", "word"), [(1.0, "fail"), (4.0, "pass")])
async def test_a_machine_that_slows_down_between_bursts_is_noticed(monkeypatch, later, word):
    factors = iter([1.0])
    monkeypatch.setattr(scenario, "machine_factor", lambda: next(factors, later))
    evidence = await scenario.measure(compute, Limits(), Sentinel(), calibration=Calibration())
    assert evidence.calibration.factor == later
    assert verdict.judge(evidence, Limits()).word == word
