"""Tracers are away while a measurement runs, and back after it."""

import cProfile
import sys
import threading

import pytest

from pytest_nonblocking import originals
from pytest_nonblocking.sentinel import tracers


@pytest.fixture
def traced():
    """Trace this thread and new ones with a function that counts calls."""
    calls = []

    def trace(frame, event, argument):
        calls.append(frame.f_code.co_name)

    before = sys.gettrace(), threading.gettrace()
    threading.settrace(trace)
    sys.settrace(trace)
    yield trace, calls
    sys.settrace(before[0])
    threading.settrace(before[1])


def work():
    return 1


def test_a_tracer_is_suspended_and_comes_back(traced):
    trace, calls = traced
    work()
    with tracers.suspended() as tracer:
        work()
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert sys.gettrace() is None
    assert "trace" in tracer
    assert calls.count("work") == 1
    assert sys.gettrace() is trace
    assert threading.gettrace() is trace
    work()
    assert calls.count("work") == 2


def test_a_tracer_comes_back_after_an_exception(traced):
    trace, _ = traced
    with pytest.raises(ValueError, match="x"), tracers.suspended():
        raise ValueError("x")
    assert sys.gettrace() is trace


def test_a_tracer_comes_back_where_it_cannot_be_suspended_for_new_threads(traced, monkeypatch):
    trace, _ = traced
    original, errors = threading.settrace, [KeyboardInterrupt()]

    def interrupted(function):
        if errors:
            raise errors.pop()
        original(function)

    monkeypatch.setattr(originals.threading, "settrace", interrupted)
    with pytest.raises(KeyboardInterrupt), tracers.suspended():
        pass
    assert sys.gettrace() is trace


@pytest.mark.skipif(sys.gettrace() is not None, reason="this run is traced itself")
def test_nothing_is_touched_where_nothing_traces(monkeypatch):
    def refuse(function):
        raise AssertionError("settrace was called")

    monkeypatch.setattr(originals.sys, "settrace", refuse)
    with tracers.suspended() as tracer:
        assert tracer is None


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring is new in CPython 3.12")
def test_a_monitoring_tool_is_suspended_and_comes_back():
    monitoring = sys.monitoring
    tool, calls = 3, []
    monitoring.use_tool_id(tool, "a tool")
    try:
        monitoring.register_callback(
            tool, monitoring.events.PY_START, lambda code, _: calls.append(code.co_name)
        )
        monitoring.set_events(tool, monitoring.events.PY_START)
        work()
        with tracers.suspended() as tracer:
            work()
        work()
    finally:
        monitoring.set_events(tool, 0)
        monitoring.free_tool_id(tool)
    assert tracer == "sys.monitoring (a tool)"
    assert calls.count("work") == 2


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="cProfile uses sys.monitoring there")
def test_a_profiler_written_in_c_is_suspended_and_comes_back():
    profile = cProfile.Profile()
    profile.enable()
    try:
        with tracers.suspended() as tracer:
            work()
            assert sys.getprofile() is None
        work()
        assert sys.getprofile() is profile
    finally:
        profile.disable()
    assert tracer == "cProfile.Profile"
    assert [one.callcount for one in profile.getstats() if one.code is work.__code__] == [1]


def test_what_cannot_be_put_back_stays():
    put = []
    tracers._switch(put.append, None, object())
    assert put == []
