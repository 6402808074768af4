"""One closed burst: copies of a scenario that are released at the same instant."""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from ..asgi.door import Door
from ..clocks import CLOCKS
from ..model import CopyEnd, Exchange, Limits, Run, Slices, Stack, Step
from ..originals import anyio, made, os
from ..sentinel import (
    BREAK_EVERY,
    COPY,
    LoopStuck,
    LoopUnreachableError,
    Sentinel,
    end_child,
    suspended_stack,
    uninterrupted,
)
from ..sentinel.system import descriptors
from ..sentinel.thread_pools import worker_ids
from ..tasks import PATIENCE, Task, TaskFactoryError, all_ended, ended_in_time, running_tasks, wake
from .budget_window import BudgetWindow
from .wait_looks import LOOK_EVERY, WaitLooks

Body = Callable[[], Awaitable[object]]
"""A scenario: called once per copy, without arguments."""

_PATIENCE_WHEN_INTERRUPTED = 0.3
_GRACE = 5.0
"""Seconds after the timeout at which the stacks of all threads are printed."""
_ANNOUNCE = 0.1
_NEITHER = (
    "nonblocking: a run still goes on {:g} s after its timeout ({:g} s): its code can be neither "
    "cancelled nor interrupted. The stacks of all threads follow; kill the process if it does not "
    "end, and fix what its innermost lines wait for."
)


class Transport(Protocol):
    """The part of a client's transport that a scenario uses."""

    def drain(self) -> list[Exchange]:
        """Return the exchanges recorded so far and clear the record."""

    def in_flight(self) -> list[Exchange]:
        """Return the exchanges that the app is still processing."""

    async def settle(self) -> None:
        """Wait until the app has no request in progress."""


class BodyFailedError(Exception):
    """The body raised ``error`` in copy number ``copy`` of ``concurrency``."""

    def __init__(self, error: BaseException, copy: int, concurrency: int) -> None:
        super().__init__(error, copy, concurrency)
        self.error = error
        self.copy = copy
        self.concurrency = concurrency


_BURST: ContextVar[weakref.ref[_Burst] | None] = ContextVar("nonblocking_burst", default=None)
"""The burst of the current context, not kept alive: the app's own tasks inherit it, and live on."""


@asynccontextmanager
async def set_up() -> AsyncIterator[None]:
    """Leave what a copy does inside of the block out of the measurement.

    At its end the copies wait for one another: the burst is released once each is ready.
    """
    yield
    reference = _BURST.get()
    burst = None if reference is None else reference()
    if burst is not None:
        await burst.is_set_up()


VirtualUser = Callable[[], int]
"""The type of the fixture ``virtual_user``, which is ``current_copy``."""


def current_copy() -> int:
    """Return the index of the running copy, from 0; 0 outside of a burst."""
    return COPY.get() or 0


async def run_burst(
    body: Body,
    concurrency: int,
    limits: Limits,
    sentinel: Sentinel,
    transports: Sequence[Transport],
    alone: tuple[float, ...] = (),
    door: Door | None = None,
    begin: Callable[[], None] | None = None,
    first: int = 0,
) -> Run:
    """Run one closed burst under a started sentinel; raises BodyFailedError.

    ``first`` is the index of its first copy.

    ``alone`` holds the latencies of the single runs in seconds. With them, the thread pools are
    inspected right after the release, and waiting tasks once a healthy burst would be over (halfway
    through the first pass if few may follow).
    ``door`` is the application's, if its clients run outside of its loop. ``begin`` is called on
    the loop's thread at the release.
    """
    burst = _Burst(body, concurrency, sentinel, transports, limits, alone, door, begin, first)
    return await burst.run()


class _Burst:
    """Runs the copies and measures them from the release of all of them.

    Measured from its own start, a blocking handler's latency would look flat: request k starts
    only when request k - 1 has ended (coordinated omission).
    """

    def __init__(
        self,
        body: Body,
        concurrency: int,
        sentinel: Sentinel,
        transports: Sequence[Transport],
        limits: Limits,
        alone: tuple[float, ...],
        door: Door | None,
        begin: Callable[[], None] | None,
        first: int,
    ) -> None:
        self._door = door
        self._indices = range(first, first + concurrency)
        self._also_begin = begin
        self._body = body
        self._concurrency = concurrency
        self._sentinel = sentinel
        self._transports = transports
        self._timeout = limits.timeout
        self._alone = alone
        self._gate = made(anyio.Event)
        self._ready = self._set_up = 0
        self._all_set_up = made(anyio.Event)
        self._left = concurrency
        self._ends: dict[int, CopyEnd] = {}
        self._failure: BodyFailedError | None = None
        self._fault: Exception | None = None
        window = self._window = BudgetWindow(sentinel, door)
        self._looks = WaitLooks(
            sentinel, door, concurrency, limits, alone, lambda: window.age, lambda: self._left
        )
        tasks = self._tasks = running_tasks()
        self._copies: list[Task] = []
        self._all_ready = tasks.signal()
        self._over = tasks.signal()  # set when the copies are to end
        self._settling = made(anyio.CancelScope)
        self._cancelling = False
        self._others = tasks.independent()
        self._given_up: tuple[Stack, ...] = ()
        self._timed_out = self._announced = False
        self._descriptors: frozenset[str] = frozenset()
        self._workers: frozenset[int] = frozenset()
        self._stuck: Stack | None = None
        self._process = os.getpid()

    @uninterrupted
    async def run(self) -> Run:
        """Run the burst; raises BodyFailedError with the exception of the first failing copy."""
        try:
            await self._run_copies()
            if self._failure is None and not self._timed_out:
                with self._settling:
                    await self._settle()
        finally:
            self._sentinel.alarms.forget()
            self._sentinel.last_stacks.cancel()
            self._looks.close()
            if self._door is not None:
                self._door.open()
        exchanges = [e for transport in self._transports for e in transport.drain()]
        if self._timed_out:
            exchanges += [e for transport in self._transports for e in transport.in_flight()]
            self._close()
        elif self._failure is not None:
            raise self._failure from None
        elif self._fault is not None:
            raise self._fault
        return self._run_of(tuple(exchanges))

    def _run_of(self, exchanges: tuple[Exchange, ...]) -> Run:
        watchdog, probe = self._sentinel.watchdog, self._sentinel.probe
        sampler = self._looks.sampler
        steps, slices = self._steps_and_slices()
        return Run(
            concurrency=self._concurrency,
            latencies=tuple(end.latency for end in self._ends.values()),
            taken=tuple(end.taken for end in self._ends.values()),
            released_ns=self._window.began_ns,
            ended=tuple(self._ends),
            steps=steps,
            samples=probe.callbacks.take_samples(),
            slices=slices,
            thread_samples=watchdog.take_thread_samples(),
            waiters=sampler.waiters,
            pools=sampler.pools,
            workers=tuple(sampler.workers),
            contended=sampler.contended,
            queued=sampler.queued,
            requests=len(exchanges),
            background=max((_background(e) for e in exchanges), default=0.0),
            exchanges=exchanges,
            residences=tuple(_residences(exchanges)),
            timed_out=self._timed_out,
            stuck=self._stuck,
            given_up=self._given_up,
            opened=descriptors.opened_since(self._descriptors),
            started=len(worker_ids() - self._workers),
            **self._window.figures,
        )

    def _steps_and_slices(self) -> tuple[tuple[Step, ...], tuple[Slices, ...]]:
        """Take both on the loop's thread, which adds to them; empty if the loop is held."""
        probe = self._sentinel.probe
        try:
            return self._sentinel.loop.call(
                lambda: (probe.callbacks.take_steps(), probe.callbacks.take_slices())
            )
        except LoopUnreachableError:
            return (), ()

    # The copies

    async def _run_copies(self) -> None:
        # Tasks of their own: a task group would wait for ever for one that ignores cancellation.
        try:
            for index in self._indices:
                self._copies.append(self._tasks.start(self._copy(index)))
            await self._all_ready
            self._release()
            await all_ended(self._copies, self._over)
        except (self._tasks.cancelled, TaskFactoryError):
            await self._end_copies(_PATIENCE_WHEN_INTERRUPTED)
            raise
        await self._end_copies(PATIENCE)

    async def _end_copies(self, patience: float) -> None:
        """End the copies that still run: cancel them, cancel them again, then give them up."""
        self._cancelling = True
        with made(anyio.CancelScope, shield=True):
            for tasks in self._copies, self._started():
                for task in tasks:
                    if not task.done():
                        task.cancel()
                if await ended_in_time(self._copies, patience):
                    return
        given_up = self._tasks.give_up(self._started())
        self._given_up = tuple(map(suspended_stack, given_up))

    def _started(self) -> list[Any]:
        """Return the copies and all other tasks that are new since the start of the burst."""
        return [*self._copies, *(self._tasks.independent() - self._others - {*self._copies})]

    def _release(self) -> None:
        """Start all bodies at once, and the window with them unless a door starts it later."""
        alarms = self._sentinel.alarms
        if self._door is not None:
            self._door.shut(self._indices, self._window.stretches(), self._begin_at_door)
            alarms.call_after(LOOK_EVERY, self._look_at_door)
        alarms.call_after(self._timeout, self._on_timeout)
        self._sentinel.last_stacks.print_after(self._timeout + _GRACE)
        self._open_window()
        if self._alone:
            alarms.call_after(self._looks.first_after, self._looks.on_late)
        self._gate.set()
        if self._alone and self._door is None:
            self._looks.look_at_pools_soon()

    async def is_set_up(self) -> None:
        """Wait until all copies that still run are set up, and start the window then."""
        self._set_up += 1
        event = self._all_set_up
        self._release_if_set_up()
        await event.wait()

    def _release_if_set_up(self) -> None:
        if self._set_up and self._set_up >= self._left:
            for transport in self._transports:
                transport.drain()
            self._set_up, ready, self._all_set_up = 0, self._all_set_up, made(anyio.Event)
            if self._door is not None:
                left = [index for index in self._indices if index not in self._ends]
                self._door.shut(left, self._window.stretches(), self._begin_at_door)
            self._open_window()
            ready.set()

    def _open_window(self) -> None:
        self._list_held()  # before the window, for it takes 4 ms with 900 descriptors
        self._window.open(self._begin)

    def _list_held(self) -> None:
        """Leave out what a set-up, or a client on its way to the door, has opened or started."""
        self._descriptors, self._workers = descriptors.held(), worker_ids()

    def _begin(self) -> None:
        """Discard everything recorded before the release; on the loop's thread."""
        self._window.began_ns = CLOCKS.wall_ns()
        probe = self._sentinel.probe
        probe.callbacks.take_steps()
        probe.callbacks.take_samples()
        probe.callbacks.take_slices()
        self._sentinel.watchdog.take_thread_samples()
        self._looks.begin(self._window.began_ns)
        if self._also_begin is not None:
            self._also_begin()

    def _begin_at_door(self) -> None:
        """Restart the measurement: the first requests enter the app now."""
        probe = self._sentinel.probe
        probe.as_own(self._list_held)
        probe.as_own(self._begin)
        probe.as_own(lambda: self._sentinel.last_stacks.print_after(self._timeout + _GRACE))
        if self._alone:
            probe.call_soon(self._looks.look_at_pools_soon)

    async def _copy(self, index: int) -> None:
        __tracebackhide__ = True
        COPY.set(index)
        _BURST.set(weakref.ref(self))
        self._ready += 1
        if self._ready == self._concurrency:
            wake(self._all_ready)
        await self._gate.wait()
        try:
            try:
                await self._body()
            except BaseException as error:
                self._end_child(error)
                raise
            self._end_child(None)
        except self._tasks.cancelled:
            if self._cancelling:
                raise
            self._failed(index, RuntimeError("the test body cancelled itself"))
        except LoopStuck:
            self._timed_out = True
        except BaseException as error:
            self._failed(index, error)
        else:
            self._ends[index] = self._window.end_now()
            self._left -= 1
            if self._door is not None:
                self._door.ended(index)
            if self._left == 0:
                try:
                    self._close()
                except Exception as fault:  # which nothing would retrieve from the copy's task
                    self._fault = fault
            else:
                self._release_if_set_up()

    def _end_child(self, error: BaseException | None) -> None:
        if os.getpid() != self._process:
            end_child(error)

    def _close(self) -> None:
        self._window.close(self._timed_out)
        if (by_door := self._window.ends) is not None:
            # A copy that hangs after its requests has not ended.
            ended = self._ends if self._timed_out else by_door
            self._ends = {copy: by_door[copy] for copy in by_door if copy in ended}

    def _failed(self, index: int, error: BaseException) -> None:
        if self._failure is None:
            ours = error.__traceback__  # a frame of the burst, which holds all of its samples
            error.__traceback__ = ours and ours.tb_next
            self._failure = BodyFailedError(error, index, self._concurrency)
        wake(self._over)

    async def _settle(self) -> None:
        """Wait until the app is done with all requests, and measure that time separately."""
        for transport in self._transports:
            try:
                await transport.settle()
            except Exception as error:  # raised by the app after its response
                self._failure = BodyFailedError(error, self._indices[0], self._concurrency)
        if not self._timed_out:
            self._window.measure_after()

    @uninterrupted
    def _stop(self) -> None:
        wake(self._over)
        self._settling.cancel()

    # On the alarms' thread

    def _look_at_door(self) -> float | None:
        """Release requests held at the door for copies that will not send one."""
        assert self._door is not None
        self._door.look()
        return LOOK_EVERY

    def _on_timeout(self) -> float | None:
        """Record where the copies wait, then cancel them; repeat while any remains."""
        if (age := self._window.age) < self._timeout:  # the door has restarted the measurement
            return self._timeout - age
        if not self._timed_out:
            self._timed_out = True
            self._stuck = self._sentinel.loop_stack()
            self._sentinel.probe.call_soon_threadsafe(self._looks.look)
            self._tasks.call_soon_threadsafe(self._stop)
        else:
            self._sentinel.break_step()
            if not self._announced and age >= self._timeout + _GRACE - _ANNOUNCE:
                self._announced = True
                self._sentinel.last_stacks.announce(_NEITHER.format(_GRACE, self._timeout))
        return BREAK_EVERY


def _residences(exchanges: Sequence[Exchange]) -> Iterator[float]:
    """Yield the seconds that each finished request spent in the app."""
    for exchange in exchanges:
        if exchange.app_return_ns is not None:
            yield (exchange.app_return_ns - exchange.start_ns) / 1e9


def _background(exchange: Exchange) -> float:
    if exchange.app_return_ns is None or exchange.last_byte_ns is None:
        return 0.0
    return max(0, exchange.app_return_ns - exchange.last_byte_ns) / 1e9
