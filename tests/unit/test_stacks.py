"""Looking at stacks harms nothing."""

import asyncio
import gc
import sys
import threading
import time
import types

import pytest

from pytest_nonblocking.sentinel.stacks import (
    count_stacks,
    is_in,
    other_thread_stacks,
    spot_of,
    suspended_frames,
    suspended_stack,
    thread_stack,
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
    assert "_at_once" not in begun
    assert gc.isenabled()


def test_no_python_code_sees_the_collector_off_meanwhile():
    # Another thread that saw it off, between two calls of ours, would leave it off for good.
    states = set()
    sys.setprofile(lambda *event: states.add(gc.isenabled()))
    try:
        for ident in threading.get_ident(), -1:
            assert bool(thread_stack(ident)) == (ident > 0)
            assert gc.isenabled()
        other_thread_stacks(set())
    finally:
        sys.setprofile(None)
    assert states == {True}


def test_a_collector_that_was_off_stays_off():
    gc.disable()
    try:
        assert thread_stack(threading.get_ident())
        assert not gc.isenabled()
    finally:
        gc.enable()


def deep(calls, event, leave):
    if calls > 1:
        deep(calls - 1, event, leave)
    else:
        event.set()
        leave.wait()


@pytest.fixture
def parked():
    """Park a thread so many calls deep, and return its identifier."""
    leave = threading.Event()
    threads = []

    def park(calls):
        event = threading.Event()
        threads.append(threading.Thread(target=deep, args=(calls, event, leave)))
        threads[-1].start()
        event.wait()
        return threads[-1].ident

    yield park
    leave.set()
    for thread in threads:
        thread.join()


def test_a_stack_is_told_from_the_outside_in(parked):
    stack = thread_stack(parked(3))
    assert stack[0].function.endswith("_bootstrap")
    mine = [frame for frame in stack if frame.file == __file__]
    assert [frame.function for frame in mine] == ["deep"] * 3
    assert mine[0].line < mine[2].line
    assert mine[0].module == __name__


def test_of_a_very_deep_stack_the_innermost_calls_are_told(parked):
    stack = thread_stack(parked(400))
    assert len(stack) == 200
    assert stack[-1].module == "threading"
    assert stack[0].function == "deep"


def test_threads_are_known_by_what_they_run(parked):
    assert is_in(deep.__code__, parked(1))
    assert not is_in(deep.__code__, threading.get_ident())
    assert [s[-1].module for s in other_thread_stacks({threading.get_ident()})].count("threading")


def test_a_thread_that_is_gone_has_no_stack():
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    assert thread_stack(thread.ident) == ()


@types.coroutine
def suspend():
    yield


async def generated():
    await suspend()


def test_a_frame_of_code_without_lines_is_at_line_1():
    # No record may hold a line 0.
    code = generated.__code__
    without = code.replace(co_firstlineno=0, co_linetable=b"")
    coroutine = types.FunctionType(without, {"suspend": suspend})()
    coroutine.send(None)
    assert suspended_stack(coroutine)[0].line == 1
    coroutine.close()


async def outer(event, first):
    if first:
        await event.wait()
    else:
        await event.wait()


def test_tasks_are_counted_by_the_line_at_which_they_wait():
    async def main():
        event = asyncio.Event()
        tasks = [asyncio.create_task(outer(event, first)) for first in (True, True, False)]
        await asyncio.sleep(0)
        coroutines = [task.get_coro() for task in tasks]
        walks = [tuple(suspended_frames(one)) for one in coroutines]
        counted = count_stacks((spot_of(walk), walk) for walk in walks)
        singly = [suspended_stack(one) for one in coroutines]
        event.set()
        await asyncio.gather(*tasks)
        return counted, singly

    counted, singly = asyncio.run(main())
    assert counted == {singly[0]: 2, singly[2]: 1}
    assert [frame.leaf for frame in singly[0]] == ["outer", "wait"]
