"""What threads share is read at once."""

import contextlib
import gc
import subprocess
import sys
from collections import deque

import pytest

from pytest_nonblocking.threads import snapshot


@contextlib.contextmanager
def at_each_collection(call):
    """Call ``call`` at the start of each collection, which almost every allocation starts."""
    thresholds = gc.get_threshold()

    def begins(phase, info):
        if phase == "start":
            call()

    gc.callbacks.append(begins)
    gc.set_threshold(1, 1, 1)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.callbacks.remove(begins)


@pytest.mark.parametrize(
    ("container", "add"),
    [
        (set(range(30)), lambda shared: shared.add(object())),
        (dict.fromkeys(range(30)), lambda shared: shared.setdefault(object())),
        (deque(range(30)), lambda shared: shared.append(object())),
    ],
    ids=["set", "dict", "deque"],
)
def test_a_container_that_changes_meanwhile_is_read_all_the_same(container, add):
    # As another thread may change it that gets the GIL in a callback of the collector.
    with at_each_collection(lambda: add(container)):
        for _ in range(100):
            snapshot(container)


def test_an_exception_that_waits_for_a_thread_in_c_is_withdrawn():
    # CPython 3.11 spins in each profiled call as long as it waits.
    program = """
import sys, threading
from pytest_nonblocking import threads

lock = threading.Lock()
lock.acquire()
thread = threading.Thread(target=lock.acquire)
thread.start()
list(threads.raising([thread.ident], SystemExit))
threads.withdraw([thread.ident])
sys.setprofile(lambda *_: None)
(lambda: None)()
sys.setprofile(None)
lock.release()
thread.join()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=20)
