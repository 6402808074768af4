"""Looking at stacks harms nothing."""

import gc
import sys
import threading
import time
from pathlib import Path

import pytest

from pytest_nonblocking.sentinel.stacks import (
    is_user_code,
    other_thread_stacks,
    thread_stack,
    walk,
)


@pytest.fixture
def eager_collector():
    """A collector that begins at almost every allocation and lets go of the GIL."""

    def let_go(phase, info):
        time.sleep(0.0001)

    thresholds = gc.get_threshold()
    gc.callbacks.append(let_go)
    gc.set_threshold(1, 1, 1)
    yield
    gc.set_threshold(*thresholds)
    gc.callbacks.remove(let_go)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="it no longer collects while it allocates")
def test_no_collection_begins_while_the_stacks_of_all_threads_are_read(eager_collector):
    # With it, a thread that starts at the wrong moment hangs (CPython's gh-106883).
    begun = []

    def note(phase, info):
        frame = sys._getframe(1)
        begun.append(frame.f_code.co_name)

    gc.callbacks.append(note)
    try:
        for _ in range(20):
            thread_stack(threading.get_ident())
            other_thread_stacks(set())
    finally:
        gc.callbacks.remove(note)
    assert "_current_frames" not in begun
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off():
    gc.disable()
    try:
        assert thread_stack(threading.get_ident())
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_frame_whose_code_is_no_code_ends_the_look_without_a_fault():
    class Broken:
        f_code, f_lineno, f_globals, f_back = object(), 1, {}, None

    assert walk(Broken()) == ()


def test_a_library_made_by_cython_is_not_the_users_code():
    assert not is_user_code("framework/application.pyx")  # its frames tell no more than that
    assert is_user_code(str(Path("application.pyx").absolute()))
