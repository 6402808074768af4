"""What a record keeps of the evidence, from literal runs."""

from pathlib import Path

from budgets import run

from pytest_nonblocking.model import Evidence, Frame, Step, Waiters
from pytest_nonblocking.reporting.details import stacks, timeline

ROOT = Path("/app")


def waits(line, count):
    return Waiters((Frame("/app/api.py", line, "handler", "api"),), count, 0.1)


def test_a_wait_that_the_fullest_look_did_not_see_is_no_common_stack():
    # Its count was 0, which no record may hold: the test ended as not-measured.
    looked = run(8, waiters=(waits(12, 40), waits(20, 0)))
    shown = stacks(Evidence(bursts=(looked,)), "serialised-wait", ROOT)
    assert [(stack.frames, stack.count) for stack in shown] == [(("handler (api.py:12)",), 40)]


def test_a_blocked_step_is_drawn_with_what_no_sample_confirms():
    step = Step(wall=0.051, cpu=0.001, blocked=0.03, gil=0.0, copy=0, unconfirmed=0.02)
    drawn = timeline(run(8, steps=(step,)))
    assert drawn.copies[0].steps_ms == ((0.0, 51.0, 50.0),)
