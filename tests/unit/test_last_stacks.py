"""The one timer of faulthandler is ours only while nobody else uses it."""

import faulthandler
import gc
import os
import time

import pytest

from pytest_nonblocking.sentinel import LastStacks, Sentinel, last_stacks
from pytest_nonblocking.sentinel.system.clock import thread_ids


def timers():
    """Return the files to which faulthandler would print."""
    return [one for one in gc.get_referents(faulthandler) if hasattr(one, "fileno")]


@pytest.fixture
def written(tmp_path):
    """A descriptor, and what was written to it."""
    path = tmp_path / "stderr"
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY)
    yield descriptor, path.read_text
    os.close(descriptor)


@pytest.fixture(autouse=True)
def nothing_left():
    assert timers() == []
    yield
    left = timers()
    faulthandler.cancel_dump_traceback_later()
    assert left == []


def test_the_stacks_are_printed_after_the_delay(written):
    descriptor, text = written
    stacks = LastStacks(descriptor)
    stacks.print_after(0.01)
    # In one call of C: a frame of a thread that runs may be freed while it is printed without the
    # GIL, and CPython 3.13 crashed.
    time.sleep(0.2)
    while "test_the_stacks_are_printed_after_the_delay" not in text():
        time.sleep(0.2)
    stacks.cancel()


def test_what_is_cancelled_is_not_printed_and_may_be_cancelled_again(written):
    descriptor, text = written
    stacks = LastStacks(descriptor)
    stacks.print_after(3600)
    assert len(timers()) == 1
    stacks.print_after(3600)
    assert len(timers()) == 1
    stacks.announce("why")
    stacks.cancel()
    stacks.announce("why not")
    stacks.cancel()
    assert text() == "\nwhy\n"


@pytest.mark.skipif(not thread_ids(), reason="threads are not listed here")
def test_the_thread_of_the_timer_is_known_while_it_is_set(written):
    stacks, before = LastStacks(written[0]), {*thread_ids()}
    stacks.print_after(3600)
    assert len(stacks.threads) == 1
    assert stacks.threads == {*thread_ids()} - before
    stacks.cancel()
    assert stacks.threads == set()


@pytest.mark.skipif(not thread_ids(), reason="threads are not listed here")
@pytest.mark.asyncio
async def test_the_thread_of_the_timer_is_none_of_the_apps(written):
    # Its wait for a core counted as the app's: 5 of the 12 ms of a handler that only sleeps.
    sentinel = Sentinel()
    sentinel.last_stacks = LastStacks(written[0])
    with sentinel:
        before = sentinel.reading().threads.keys()
        sentinel.last_stacks.print_after(3600)
        assert sentinel.reading().threads.keys() == before


def test_a_thread_that_starts_with_the_timer_is_not_taken_for_its_own(written, monkeypatch):
    listed = iter([[1, 2], [1, 2, 3, 4]])
    monkeypatch.setattr(last_stacks, "thread_ids", lambda: next(listed))
    stacks = LastStacks(written[0])
    stacks.print_after(3600)
    assert stacks.threads == set()
    stacks.cancel()


def test_a_timer_that_somebody_has_set_is_left_alone(written, tmp_path):
    with (tmp_path / "theirs").open("w") as theirs:
        faulthandler.dump_traceback_later(3600, file=theirs)
        stacks = LastStacks(written[0])
        stacks.print_after(0.0)
        stacks.cancel()
        assert timers() == [theirs]
        faulthandler.cancel_dump_traceback_later()


def test_a_timer_that_replaces_ours_is_left_alone(written, tmp_path):
    stacks = LastStacks(written[0])
    stacks.print_after(3600)
    with (tmp_path / "theirs").open("w") as theirs:
        faulthandler.dump_traceback_later(3600, file=theirs)
        stacks.cancel()
        assert timers() == [theirs]
        faulthandler.cancel_dump_traceback_later()


@pytest.mark.parametrize("delay", [float("inf"), 1e300, -1.0])
def test_an_impossible_delay_prints_nothing_and_is_no_error(written, delay):
    LastStacks(written[0]).print_after(delay)
    assert timers() == []


def test_a_descriptor_that_is_closed_prints_nothing_and_is_no_error():
    read, write = os.pipe()
    os.close(read)
    os.close(write)
    stacks = LastStacks(write)
    stacks.print_after(3600)
    stacks.announce("why")
    stacks.cancel()


def test_without_a_descriptor_no_timer_is_set():
    LastStacks().print_after(0.0)
    LastStacks().cancel()
    assert timers() == []
