"""What a record keeps of the evidence, from literal runs."""

from pathlib import Path

from budgets import run

from pytest_nonblocking.model import Evidence, Frame, Waiters
from pytest_nonblocking.reporting.details import stacks

ROOT = Path("/app")


def waits(line, count):
    return Waiters((Frame("/app/api.py", line, "handler", "api"),), count, 0.1)


def test_a_wait_that_the_fullest_look_did_not_see_is_no_common_stack():
    # Its count was 0, which no record may hold: the test ended as not-measured.
    looked = run(8, waiters=(waits(12, 40), waits(20, 0)))
    told = stacks(Evidence(bursts=(looked,)), "serialised-wait", ROOT)
    assert [(stack.frames, stack.count) for stack in told] == [(("handler (api.py:12)",), 40)]
