"""What several sentinels patch on one loop, or on two, is undone with the last of them."""

import asyncio
import gc
import selectors
import signal
import sys
import threading
from asyncio import events
from types import SimpleNamespace

import pytest

from pytest_nonblocking import originals, sigurg
from pytest_nonblocking.clocks import CLOCKS
from pytest_nonblocking.originals import made
from pytest_nonblocking.sentinel import (
    LoopClosedError,
    LoopsUsed,
    Sentinel,
    UnsupportedLoopError,
    interrupt,
)
from pytest_nonblocking.sentinel.measured_loop import MeasuredLoop
from pytest_nonblocking.sentinel.stacks import raise_within
from pytest_nonblocking.sentinel.system.pressure import Gauge
from pytest_nonblocking.threads import Interruptible

RUN = events.Handle._run
UVLOOP_METHODS = {"call_soon", "call_soon_threadsafe", "call_later", "call_at", "add_reader"}


def patched(loop):
    """Return the names of what is patched for ``loop``."""
    names = {"select"} & vars(getattr(loop, "_selector", loop)).keys()
    names |= UVLOOP_METHODS & vars(loop).keys()
    return names | ({"_run"} if events.Handle._run is not RUN else set())


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request):
    """Run a coroutine on a loop of each kind that can be patched, then see that nothing is left."""
    module = pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    loop = module.new_event_loop()
    yield loop.run_until_complete
    assert patched(loop) == set()
    loop.close()


@pytest.mark.parametrize("first_stopped", [0, 1])
def test_patches_stay_until_the_last_sentinel_has_stopped(run, first_stopped):
    async def main():
        loop, sentinels = asyncio.get_running_loop(), [Sentinel(), Sentinel()]
        for sentinel in sentinels:
            sentinel.start()
        before = patched(loop)
        await asyncio.sleep(0)
        sentinels.pop(first_stopped).stop()
        assert patched(loop) == before != set()
        await asyncio.sleep(0)
        sentinels.pop().stop()
        assert patched(loop) == set()

    run(main())


def test_patches_are_undone_if_the_start_fails(run, monkeypatch):
    def fault(self):
        raise ZeroDivisionError("a fault of ours")

    async def main():
        monkeypatch.setattr(Sentinel, "reading", fault)
        with pytest.raises(ZeroDivisionError):
            Sentinel().start()

    run(main())


def test_what_cannot_be_undone_is_a_fault_and_no_exception(run, monkeypatch):
    # The exception would take the place of the test's own, which is then lost.
    close = Gauge.close

    def fault(self):
        close(self)
        raise OSError("a descriptor that the test has closed")

    async def main():
        sentinel = Sentinel()
        monkeypatch.setattr(Gauge, "close", fault)
        with pytest.raises(ValueError, match="the test's own"), sentinel:
            raise ValueError("the test's own")
        assert isinstance(sentinel.fault, OSError)
        assert not sentinel.running

    run(main())


def test_patches_of_somebody_else_over_ours_stay(run):
    async def main():
        loop, sentinel = asyncio.get_running_loop(), Sentinel()
        calls = []
        sentinel.start()
        inner = loop.call_soon

        def call_soon(*args, **kwargs):
            calls.append(args)
            return inner(*args, **kwargs)

        loop.call_soon = call_soon
        sentinel.stop()
        assert loop.call_soon is call_soon
        await asyncio.sleep(0)
        assert calls
        del loop.call_soon

    run(main())


def test_patches_of_somebody_else_below_ours_are_put_back(run):
    async def main():
        loop, calls = asyncio.get_running_loop(), []
        original = loop.call_soon

        def call_soon(*args, **kwargs):
            calls.append(args)
            return original(*args, **kwargs)

        loop.call_soon = call_soon
        with Sentinel():
            await asyncio.sleep(0)
        assert vars(loop)["call_soon"] is call_soon
        await asyncio.sleep(0)
        assert calls
        del loop.call_soon

    run(main())


class Slotted:
    """A selector that takes no attributes."""

    __slots__ = ("_inner",)

    def __init__(self):
        self._inner = selectors.DefaultSelector()

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def select(self, timeout=None):
        return self._inner.select(timeout)


class ReadOnly(selectors.DefaultSelector):
    """A selector with a ``select`` that cannot be set."""

    @property
    def select(self):
        return super().select


class Refusing(selectors.DefaultSelector):
    """A selector that refuses all that is set."""

    def __setattr__(self, name, value):
        if name == "select":
            raise TypeError("it is the test's own")
        super().__setattr__(name, value)


@pytest.mark.parametrize("kind", [Slotted, ReadOnly, Refusing])
def test_a_selector_whose_method_cannot_be_set_is_timed_too(kind):
    selector = kind()
    loop = asyncio.SelectorEventLoop(selector)

    async def main():
        with Sentinel() as sentinel:
            await asyncio.sleep(0.05)
        return sentinel

    sentinel = loop.run_until_complete(main())
    assert sentinel.fault is None
    assert sentinel.budget.idle > 0
    assert loop._selector is selector
    assert "select" not in getattr(selector, "__dict__", {})
    loop.close()


def test_a_loop_whose_selector_can_be_neither_timed_nor_replaced_is_refused_in_words():
    class Own(asyncio.SelectorEventLoop):
        def __setattr__(self, name, value):
            if isinstance(getattr(self, "_selector", None), Slotted) and value is not None:
                assert name != "_selector"
            super().__setattr__(name, value)

    async def main():
        with pytest.raises(UnsupportedLoopError, match=r"Own with a selector that can be neither"):
            Sentinel().start()
        assert events.Handle._run is RUN

    loop = Own(Slotted())
    loop.run_until_complete(main())
    loop.close()


def test_what_we_make_needs_no_name_that_a_test_has_deleted_and_brings_none_back(monkeypatch):
    monkeypatch.delattr(threading, "Condition")
    monkeypatch.setattr(threading, "Lock", lock := object())
    assert not made(originals.threading.Event).is_set()
    assert not hasattr(threading, "Condition")
    assert threading.Lock is lock


def test_a_handle_patched_over_ours_stays_and_ours_does_nothing():
    async def main():
        sentinel, seen = Sentinel(), []
        sentinel.start()
        inner = events.Handle._run

        def counted(self):
            seen.append(self)
            inner(self)

        events.Handle._run = counted
        sentinel.stop()
        try:
            assert events.Handle._run is counted
            await asyncio.sleep(0)
            with Sentinel() as again:
                await asyncio.sleep(0)
            assert events.Handle._run is counted
            assert again.fault is None
            assert seen
        finally:
            events.Handle._run = RUN

    asyncio.run(main())


def test_a_loop_is_discovered_before_its_first_callback():
    order = []

    async def main():
        order.append("first callback")

    with LoopsUsed(lambda: order.append("discovered")):
        asyncio.run(main())
    assert order[:2] == ["discovered", "first callback"]
    assert events.Handle._run is RUN


def test_each_sentinel_has_the_callbacks_since_its_own_start(run):
    async def main():
        loop = asyncio.get_running_loop()
        outer, inner = Sentinel(), Sentinel()
        with outer:
            await asyncio.sleep(0)
            with inner:
                for _ in range(3):
                    await asyncio.sleep(0.001)
            assert outer.budget.wall > inner.budget.wall > 0
            assert patched(loop)
        assert outer.fault is None
        assert inner.fault is None

    run(main())


@pytest.mark.skipif(not hasattr(signal, "SIGURG"), reason="needs POSIX signals")
@pytest.mark.parametrize("first_stopped", [0, 1])
def test_the_signal_handler_is_restored_with_the_last_sentinel(first_stopped):
    async def main():
        before = signal.getsignal(signal.SIGURG)
        sentinels = [Sentinel(), Sentinel()]
        for sentinel in sentinels:
            sentinel.start()
        sentinels.pop(first_stopped).stop()
        assert signal.getsignal(signal.SIGURG) != before
        sentinels.pop().stop()
        assert signal.getsignal(signal.SIGURG) == before

    asyncio.run(main())


@pytest.mark.parametrize("hook", ["after_task_step", "before_io_wait", "after_io_wait"])
def test_what_a_signal_handler_raises_in_the_probe_of_trio_ends_the_run(hook, monkeypatch):
    trio = pytest.importorskip("trio", reason="trio is not installed")
    wall_ns, raised = CLOCKS.wall_ns, []

    class LateError(BaseException):
        """As pytest-timeout raises it from its handler, in whatever code runs."""

    def interrupted():
        callers = {sys._getframe(depth).f_code.co_name for depth in range(1, 7)}
        if hook in callers and not raised:
            raised.append(True)
            raise LateError
        return wall_ns()

    async def main():
        with Sentinel():
            monkeypatch.setattr(CLOCKS, "wall_ns", interrupted)
            await trio.sleep(5)

    with pytest.raises(trio.TrioInternalError) as error:
        trio.run(main)
    assert "LateError" in repr(error.value.__cause__)


# Start and stop


def test_a_stop_without_a_start_is_an_error_in_words():
    with pytest.raises(RuntimeError, match=r"not started: call start\(\) once before each stop"):
        Sentinel().stop()


def test_each_start_needs_its_stop():
    async def main():
        sentinel = Sentinel()
        sentinel.start()
        sentinel.start()
        sentinel.stop()
        assert sentinel.running
        sentinel.stop()
        assert not sentinel.running
        with pytest.raises(RuntimeError, match="not started"):
            sentinel.stop()

    asyncio.run(main())


def test_a_stop_after_the_plugin_has_ended_the_measurement_is_no_error():
    async def main():
        sentinel = Sentinel()
        with sentinel:  # as in a fixture, whose teardown comes after the test
            await asyncio.sleep(0.001)
            sentinel.abandon()
            assert not sentinel.running
        assert sentinel.budget.wall > 0
        with pytest.raises(RuntimeError, match="not started"):
            sentinel.stop()

    asyncio.run(main())


def test_a_late_callback_is_not_interrupted_within_the_measurement_itself(monkeypatch):
    def stuck(frame):
        raise interrupt.LoopStuck

    monkeypatch.setattr(sigurg.SIGURG, "_listeners", (stuck,))
    ours = SimpleNamespace(f_globals={"__name__": "pytest_nonblocking.sentinel.probes.probe"})
    sigurg.SIGURG._on_signal(0, ours)
    with pytest.raises(interrupt.LoopStuck):
        sigurg.SIGURG._on_signal(0, SimpleNamespace(f_globals={"__name__": "webapp"}))


def loops_own(frame):
    while frame.f_code.co_name not in ("_run_once", "unrolled_run"):
        frame = frame.f_back
    return frame


@pytest.mark.parametrize("library", ["asyncio", "trio"])
def test_an_interrupt_ends_a_callback_and_neither_its_loop_nor_a_burst(library):
    module = pytest.importorskip(library, reason=f"{library} is not installed")

    async def main():
        with Sentinel() as sentinel:
            interrupter = sentinel._interrupter

            def come(frame):
                interrupter._breaks_step = sentinel.probe.step_ns
                interrupter._on_signal(frame)

            @interrupt.uninterrupted
            def runs_burst():
                come(sys._getframe())

            come(loops_own(sys._getframe()))
            runs_burst()
            with pytest.raises(interrupt.LoopStuck):
                come(sys._getframe())

    module.run(main() if library == "asyncio" else main)


def test_an_exception_for_a_block_of_another_thread_never_comes_after_it():
    blocks, caught, stop, unharmed = [], [], threading.Event(), []

    def block():
        blocks[:] = [Interruptible()]
        try:
            sum(range(300))
        finally:
            blocks[0].end()

    def work():
        while not stop.is_set():
            try:
                block()
            except interrupt.LoopStuck:
                caught.append(True)
            sum(range(300))
        unharmed.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    while thread.is_alive() and not caught:
        for block_of_thread in blocks:
            block_of_thread.interrupt(interrupt.LoopStuck)
    stop.set()
    thread.join()
    assert unharmed


def test_an_exception_for_a_call_in_another_thread_comes_only_while_it_lasts():
    caught, enter, leave = [], threading.Event(), threading.Event()

    def call():
        enter.set()
        leave.wait()

    def work():
        try:
            call()
        except interrupt.LoopStuck:
            caught.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    enter.wait()
    raise_within(loops_own.__code__, thread.ident, interrupt.LoopStuck)
    raise_within(call.__code__, thread.ident, interrupt.LoopStuck, (False,))
    assert not caught
    raise_within(call.__code__, thread.ident, interrupt.LoopStuck, (True,))
    leave.set()
    thread.join()
    assert caught


def test_a_loop_that_closes_meanwhile_leaves_no_coroutine_behind(recwarn):
    gc.collect()  # what other tests have left
    recwarn.clear()
    measured, loop = MeasuredLoop(), asyncio.new_event_loop()
    loop.close()
    loop.is_closed = lambda: False  # as it was before the last look
    measured.runs_in(threading.get_ident(), loop)
    with pytest.raises(LoopClosedError):
        measured.call(list)
    gc.collect()
    assert [str(warning.message) for warning in recwarn.list] == []
