"""A time limit ends its block whatever fails, and leaves neither a handler nor an error behind."""

import signal
import threading

import pytest

from pytest_nonblocking.load.time_limit import TimeLimit

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGURG"), reason="needs POSIX signals")


class LateError(Exception):
    """Ends the block."""


def fault():
    raise ZeroDivisionError("a fault of ours")


@pytest.fixture
def same_handler():
    before = signal.getsignal(signal.SIGURG)
    yield
    assert signal.getsignal(signal.SIGURG) == before


@pytest.mark.usefixtures("same_handler")
def test_a_fault_at_the_limit_does_not_keep_the_block_from_ending():
    limit = TimeLimit(0.01, LateError(), fault)
    with pytest.raises(LateError), limit:
        threading.Event().wait(10)
    assert limit.passed


@pytest.mark.usefixtures("same_handler")
def test_a_block_runs_without_a_limit_where_no_thread_can_be_started(monkeypatch):
    def start(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with TimeLimit(0.01, LateError()) as limit:
        pass
    assert not limit.passed


@pytest.mark.usefixtures("same_handler")
def test_an_interrupt_that_comes_as_the_block_ends_is_ignored():
    class InterruptedEvent(threading.Event):
        def set(self):
            signal.raise_signal(signal.SIGURG)
            super().set()

    limit = TimeLimit(10, LateError())
    limit._over = InterruptedEvent()
    with limit:
        limit.passed = True


@pytest.mark.usefixtures("same_handler")
def test_a_signal_of_somebody_else_is_no_interrupt():
    with TimeLimit(10, LateError()):
        signal.raise_signal(signal.SIGURG)
