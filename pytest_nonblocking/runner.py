"""Running one test: from its settings to its outcomes."""

from __future__ import annotations

import functools
import inspect
import itertools
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from .analysis.places import Place
from .analysis.user_code import FRAMEWORKS, is_own_code, is_user_code
from .asgi import apps
from .asgi.lifecycle import Clients
from .asgi.lifespan import place_text
from .clocks import CLOCKS
from .config import Settings
from .ctrl_c import CtrlC, on_ctrl_c
from .enforcement import Outcomes
from .gate import session as session  # while a file can be opened: no test has run yet
from .guard import load_shipped, rules_of
from .load import scenario
from .load import sync_tests as threads
from .load.burst import Body, BodyFailedError
from .load.gathering import gather, only_in_a_burst, seconds_since, why_unmeasured
from .load.guarded import guard_of
from .load.schedule import Progress as ProgressOf
from .load.time_limit import TimeLimit
from .load.watching import Watch
from .model import Evidence, Limit, Limits, Outcome
from .originals import asyncio, gc, signal, threading
from .outcomes import Subject, limits_of, place_of
from .reporting import failures_shown as failures_shown  # as above
from .reporting import junit as junit  # as above
from .reporting.output import Output
from .reporting.progress import Progress
from .reporting.record import Measurement
from .sentinel import (
    Driver,
    LastStacks,
    LoopsUsed,
    Sentinel,
    cpu_of_other_thread,
    load_trio,
)

_UNFINISHED = (
    "the run ended before this test finished (worker crash, interrupt or pytest.exit); run it again"
)
_STUCK_NS = 50_000_000
"""Age of a callback that Ctrl-C interrupts."""
_TEARDOWN_WITHIN = 2.0
_FORGOTTEN: pytest.StashKey[Iterator[int]] = pytest.StashKey()
_COLLECT_EVERY = 32
"""Tests after which their garbage, 0.1 MB each, is collected: freezing the heap makes it old, and
Python collects old objects only when a quarter of the heap is new."""
_MEASURES = "loop_sentinel"
"""The fixture of tests that decide by themselves what is measured."""


def prepare(item: pytest.Item) -> None:
    """Load what the measurement of ``item`` needs, which its own patches may make unreadable."""
    load_shipped()
    if "anyio_backend" in getattr(item, "fixturenames", ()) or item.get_closest_marker("trio"):
        load_trio()


class TestRun:
    """Measures one test item: holds its clients, its sentinel and its outcomes."""

    __test__ = False

    def __init__(self, item: pytest.Function, settings: Settings, marked: bool) -> None:
        self._item = item
        self.settings = settings
        self._marked = marked and settings.mode != "off"
        self._rootdir = Path(item.config.rootpath)
        timeout = Limit(settings.timeout, settings.origins["timeout"])
        self._clients = Clients(settings.transport, timeout)
        self._sync_test: threads.SyncTest | None = None
        self._ctrl_c: CtrlC | None = None
        self._on_ctrl_c: Any = None
        self._watch: Watch | None = None
        self._judged: Outcome | None = None  # that of the whole test, which is enforced
        self._rules = rules_of(settings.guard_calls)
        self.before: list[Callable[[], Any]] = []  # what runs once before the copies
        self.notes: list[str] = []  # of the outcomes to come
        self.outcomes = Outcomes(item, settings)
        self.sentinel = Sentinel(settings.max_lag, settings.max_blocked)
        last_stacks = LastStacks(_stderr_for_stacks(item.config))
        self.sentinel.last_stacks = self._clients.last_stacks = last_stacks

    def unfinished(self) -> list[Measurement]:
        """Return the measurements that hold until the test ends, empty if it is not measured."""
        if not self._marked:
            return []
        return [self._subject().unmeasured(_UNFINISHED, self.settings)[1]]

    def client_for(self, app: Any) -> Any:
        """Return a new client for ``app``, whose lifespan spans the body of the test."""
        return self._clients.client_for(app)

    def wrap(self, test: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
        """Return the coroutine function that runs in place of ``test``.

        It measures a marked test, and watches any other one if the settings say so.
        """

        self._on_ctrl_c = signal.getsignal(signal.SIGINT)

        @functools.wraps(test)
        async def run(*args: Any, **kwargs: Any) -> None:
            __tracebackhide__ = True
            ctrl_c = self._ctrl_c = CtrlC(self._is_stuck)
            with ctrl_c.ends_test():
                try:
                    await self._clients.startup()
                    self._measure_live_loop()
                    await self._run_test(functools.partial(test, *args, **kwargs), place_of(test))
                finally:
                    self.sentinel.abandon()
                    # Shut the app down even if the runner has cancelled the test.
                    with ctrl_c.cleanup():
                        failure = await self._shut_down()
            self._clients.raise_failure()
            self._enforce()
            if failure is not None:
                raise failure

        return run

    async def _run_test(self, body: Body, place: Place | None) -> None:
        __tracebackhide__ = True
        try:
            if self._marked:
                await self._measure_test(body, place)
                return
            await self._run_before()
        except scenario.CannotMeasureError as error:
            if self._marked:
                self._conclude(Evidence(unmeasured=str(error)), self.settings, place, 0.0)
            raise _skipped(str(error)) from None
        if self.settings.watches and _MEASURES not in self._item.fixturenames:
            await self._watch_test(body, place)
        else:
            await body()

    def _is_stuck(self) -> bool:
        """Return, at Ctrl-C, whether a callback holds this thread and nothing else can end it."""
        sentinel = self.sentinel
        sentinel.loop.in_a_hurry = True
        if not sentinel.running or sentinel.loop.is_remote or sentinel.probe.idle:
            return False
        if sentinel.break_steps():
            return False
        return CLOCKS.wall_ns() - sentinel.probe.step_ns >= _STUCK_NS

    async def _shut_down(self) -> Exception | None:
        """Shut the apps down; return what failed, reported in case that the test itself fails."""
        try:
            await self._clients.shutdown()
        except Exception as error:
            self._item.add_report_section("call", "nonblocking", f"{type(error).__name__}: {error}")
            return error
        return None

    def _measure_live_loop(self) -> None:
        """Point the sentinel at the loop of a live server; this thread then drives the requests."""
        if self._clients.live is not None:
            live, client = self._clients.live, threading.get_native_id()
            if live.loop is not None:
                self.sentinel.loop.runs_in(live.thread_ident, live.loop)
            self.sentinel.driver = Driver(lambda: cpu_of_other_thread(client), lambda: (client,))

    def wrap_function(self, test: Callable[..., object]) -> Callable[..., None]:
        """Return the function that runs in place of ``test``, which is not a coroutine function."""

        @functools.wraps(test)
        def run(*args: Any, **kwargs: Any) -> None:
            __tracebackhide__ = True
            with on_ctrl_c():
                body = functools.partial(test, *args, **kwargs)
                evidence, wall = self._evidence_of_function(body)
            self._judged = self._conclude(evidence, self.settings, place_of(test), wall)
            self._enforce()

        return run

    def tells_all(self, error: BaseException) -> bool:
        """Return whether the message of ``error`` is enough, without a traceback.

        It is if the plugin raised it, or if it is a cancellation, and no frame of the user's code
        is in the traceback.
        """
        if self._item.config.option.fulltrace:
            return False
        if not isinstance(error, (Exception, asyncio.CancelledError)):  # or an outcome of pytest's
            return False
        files: list[str] = []
        one: BaseException | None = error
        while one is not None:
            files += [frame.f_code.co_filename for frame, _ in traceback.walk_tb(one.__traceback__)]
            # CPython 3.10 raises a new CancelledError; the original is its context.
            one = one.__context__ if isinstance(one, asyncio.CancelledError) else None
        ours = files[files.index(__file__) :] if __file__ in files else []
        if not ours or any(map(is_user_code, ours)):
            return False
        return isinstance(error, asyncio.CancelledError) or is_own_code(ours[-1])

    def teardown_limit(self) -> AbstractContextManager[object]:
        """Return a limit for the teardown, which waits for what nothing can end."""
        test = self._sync_test
        if test is None or test.stays is None:
            return nullcontext()
        why = (
            f"the loop of a test client is held by {place_text(test.stays)}, which cannot be "
            "interrupted; its thread stays until the process ends"
        )
        return TimeLimit(_TEARDOWN_WITHIN, TimeoutError(why))

    def release(self) -> None:
        """Close the port of a live server whose test never ran."""
        self._clients.release()

    def abandon(self) -> None:
        """Undo all patches of the sentinel and the handler of Ctrl-C, whatever happened."""
        try:
            self.sentinel.abandon()
        finally:
            if self._ctrl_c is not None:
                self._ctrl_c.abandon(self._on_ctrl_c)

    def forget_outcomes(self) -> None:
        """Free all stacks and samples, before anything that stays is put between them in memory."""
        self.outcomes.forget_evidence()
        self._judged = self._watch = None
        self.sentinel = Sentinel()

    def forget(self) -> None:
        """Free the rest: the item and its tracebacks live as long as the session."""
        self.forget_outcomes()
        self.outcomes.forget()
        forgotten = self._item.config.stash.setdefault(_FORGOTTEN, itertools.count(1))
        if next(forgotten) % _COLLECT_EVERY == 0 and gc.isenabled():
            gc.collect()

    async def measure(self, body: Body, settings: Settings) -> Outcome:
        """Measure ``body`` on the running loop, and record and return the outcome."""
        self._end_watch()
        evidence, wall = await self._evidence(body, settings)
        return self._conclude(evidence, settings, place_of(body), wall)

    async def _watch_test(self, body: Body, place: Place | None) -> None:
        __tracebackhide__ = True
        # The one run is judged, too, and the guard slows it down: only on demand.
        is_asked = self.settings.origins["guard"] != "default"
        guard = guard_of(self.settings.guard, self._rules) if is_asked else None
        profile = None if guard is None else guard()
        watch = self._watch = Watch(self.sentinel, self._clients.transports, profile)
        try:
            await body()
        finally:
            watch.end()
        if self._watch is None:  # the test measures for itself
            return
        self._watch = None
        wall = watch.took
        self._judged = self._conclude(watch.evidence(place), self.settings, place, wall)

    def left_out(self) -> AbstractContextManager[None]:
        """Leave the block out of what is watched, if the test is."""
        return nullcontext() if self._watch is None else self._watch.without()

    def _end_watch(self) -> None:
        """Stop watching a test that measures for itself."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.end()
            if self.sentinel.running:
                self.sentinel.stop()

    async def _measure_test(self, body: Body, place: Place | None) -> None:
        __tracebackhide__ = True
        evidence, wall = await self._evidence(body, self.settings)
        self._judged = self._conclude(evidence, self.settings, place, wall)

    async def _evidence(self, body: Body, settings: Settings) -> tuple[Evidence, float]:
        """Return the evidence and the seconds that it took; raises what the body raises."""
        __tracebackhide__ = True
        limits, output = limits_of(settings), Output(self._item)
        try:
            return await gather(
                body,
                limits,
                self.sentinel,
                self._clients,
                self._shown(limits, output),
                guard=guard_of(settings.guard, self._rules),
                before=self._run_before if self.before else None,
            )
        except BodyFailedError as failure:
            failed = failure.with_traceback(None)  # whose frames hold the evidence
        self._tell_of_burst(failed, output)
        raise failed.error

    @contextmanager
    def _shown(self, limits: Limits, output: Output) -> Iterator[ProgressOf]:
        """Show how far a measurement has come, and what one of its copies prints."""
        __tracebackhide__ = True
        with Progress(self._item.config, limits) as progress, output:
            yield output.between(progress)

    def is_set_up(self) -> None:
        """Forget the requests recorded so far, which are the set-up's."""
        self._clients.recorder.restart()

    async def _run_before(self) -> None:
        while self.before:
            await self.before.pop(0)()

    def _run_before_function(self) -> None:
        while self.before:
            hook = self.before.pop(0)
            if inspect.iscoroutinefunction(hook):
                raise pytest.UsageError(
                    f"nonblocking.before: {hook.__name__} is a coroutine function, and this test a "
                    "plain one, which has no loop to run it: give a plain function"
                )
            hook()

    def _evidence_of_function(self, body: Callable[[], object]) -> tuple[Evidence, float]:
        """Return the evidence for a plain function, and the seconds that it took."""
        __tracebackhide__ = True
        began = CLOCKS.wall_ns()
        limits, output = limits_of(self.settings), Output(self._item)
        self._run_before_function()
        test = self._sync_test = threads.SyncTest(body, limits, self.sentinel)
        with LoopsUsed() as loops:
            late = test.run(loops)
        if late is not None:
            return threads.timed_out(late), seconds_since(began)
        try:
            guard = guard_of(self.settings.guard, self._rules)
            with self._shown(limits, output) as progress:
                evidence = test.measure(loops, progress, guard)
        except BodyFailedError as failure:
            failed = failure.with_traceback(None)  # whose frames hold the evidence
        except Exception as error:
            return Evidence(unmeasured=why_unmeasured(error)), seconds_since(began)
        else:
            return evidence, seconds_since(began)
        self._tell_of_burst(failed, output)
        raise failed.error

    def _tell_of_burst(self, failed: BodyFailedError, output: Output) -> None:
        output.failed(failed.copy)
        if failed.concurrency > 1:
            self._item.add_report_section(
                "call", "nonblocking", only_in_a_burst(failed, "The test")
            )

    def _conclude(
        self,
        evidence: Evidence,
        settings: Settings,
        place: Place | None,
        wall: float,
    ) -> Outcome:
        notes = tuple(self.notes)
        outcome, measured = self._subject().conclude(evidence, settings, place, wall, notes)
        self.outcomes.add(outcome, measured)
        return outcome

    def _subject(self) -> Subject:
        item = self._item
        return Subject(
            nodeid=item.nodeid,
            name=item.name,
            rootdir=self._rootdir,
            rules=self._rules,
            packages=self._packages,  # which refers to this object: do not keep it
        )

    def _packages(self) -> frozenset[str]:
        """Return the top-level packages of the apps that the test uses.

        Other clients than ours hold their app as an attribute, or their transport does.
        """
        fixtures = list(self._item.funcargs.values())
        transports = [getattr(one, "_transport", None) for one in fixtures]
        held = [getattr(one, "app", None) for one in (*fixtures, *transports)]
        named = self._item.funcargs.get("nonblocking_app")
        return apps.packages_of([*self._clients.apps, named, *held], FRAMEWORKS)

    def _enforce(self) -> None:
        """Enforce the last outcome, in the call phase like any other failure.

        That of a watched test does not count as the failure which an xfail expects.
        """
        __tracebackhide__ = True
        if self._judged is not None and (self._marked or not _expects_failure(self._item)):
            self.outcomes.enforce(self._judged)


def _expects_failure(item: pytest.Item) -> bool:
    from _pytest.skipping import evaluate_xfail_marks

    return not item.config.getoption("runxfail") and evaluate_xfail_marks(item) is not None


def _stderr_for_stacks(config: pytest.Config) -> int | None:
    """Return the descriptor to which pytest's faulthandler prints, past any capture.

    None if that plugin is off, or uses the timer of faulthandler itself.
    """
    try:  # there is no public name for the descriptor
        from _pytest.faulthandler import fault_handler_stderr_fd_key, get_timeout_config_value
    except ImportError:
        return None
    if fault_handler_stderr_fd_key not in config.stash or get_timeout_config_value(config) > 0:
        return None
    return config.stash[fault_handler_stderr_fd_key]


def _skipped(why: str) -> BaseException:
    """Return the exception that skips the test, at the place of the test."""
    try:
        return pytest.skip.Exception(why, _use_item_location=True)
    except TypeError:  # the keyword is not public
        return pytest.skip.Exception(why)
