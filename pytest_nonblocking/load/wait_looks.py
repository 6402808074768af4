"""When to inspect the waiting tasks and the thread pools of one burst."""

from __future__ import annotations

from collections.abc import Callable

from ..asgi.door import Door
from ..clocks import CLOCKS
from ..model import Limits
from ..originals import statistics
from ..sentinel import Sentinel, uninterrupted

_EARLY_LOOKS = 8
"""Loop iterations after the release in which the thread pools are inspected."""
_LATE = 1.5
"""Multiple of a single run's latency after which a healthy burst would be over."""
_EARLY = 0.5
"""Multiple after which waiting tasks are first inspected if few passes may follow."""
_FEW_PASSES = 3
"""A queue that is over a limit of 0.1 may serve 7 of 8 copies at once: its last pass, in which
no copy waits, may be all that comes after ``_LATE``."""
LOOK_EVERY = 0.010
"""Seconds from one look at a burst to the next."""
_LOOK_DUTY = 20
"""Pause after inspecting all tasks, as a multiple of the inspection's CPU time."""
_COUNT_GROWTH = 1.5
"""Age of the burst at a count of the waiting copies, as a multiple of its age at the one before."""


class WaitLooks:
    """Decides when to inspect waiting tasks and thread pools during one burst.

    ``age`` returns the seconds since the release, ``unfinished`` the number of running copies.
    """

    def __init__(
        self,
        sentinel: Sentinel,
        door: Door | None,
        concurrency: int,
        limits: Limits,
        alone: tuple[float, ...],
        age: Callable[[], float],
        unfinished: Callable[[], int],
    ) -> None:
        self._probe = sentinel.probe
        self._door = door
        self._concurrency = concurrency
        self._age = age
        self._unfinished = unfinished
        self.sampler = sentinel.wait_sampler()
        # The median: one slow single run would put the first look beyond the end of the burst.
        self._first_pass = statistics.median(alone or (0.0,))
        few_passes = concurrency * limits.max_serial_fraction < _FEW_PASSES
        self.first_after = (_EARLY if few_passes else _LATE) * self._first_pass
        self._pause = _LATE * self._first_pass / 2
        self._count_at = 3 * _LATE * self._first_pass
        self._look_at = self._look_cost = 0.0
        self._early_looks = _EARLY_LOOKS
        self._is_over = False

    def begin(self, began_ns: int) -> None:
        """Count waits after the first pass of a burst released at ``began_ns``."""
        self.sampler.from_ns = began_ns + int(self._first_pass * 1e9)

    def on_late(self) -> float | None:
        """Post the looks that are due; return the delay to the next call in seconds.

        Runs on the alarms' thread.
        """
        age = self._age()
        if age < self.first_after:
            return self.first_after - age
        if self._is_with_clients:
            return LOOK_EVERY
        if age >= self._look_at and self._probe.idle:
            self._probe.call_soon_threadsafe(self.look)
            self._look_at = age + max(self._pause, _LOOK_DUTY * self._look_cost)
        if age >= self._count_at and self._unanswered >= self._concurrency / 5:
            self._count_at = _COUNT_GROWTH * age
            self._probe.call_soon_threadsafe(self._count_queued)
        # Counting is cheap and must not wait for a look that was slow on a busy machine.
        return max(min(self._look_at, self._count_at) - age, LOOK_EVERY)

    @property
    def _unanswered(self) -> int:
        has_begun = self._door is not None and self._door.has_begun
        return self._door.inside if self._door is not None and has_begun else self._unfinished()

    @property
    def _is_with_clients(self) -> bool:
        """Whether every copy is waiting for a client rather than the app."""
        door = self._door
        return door is not None and (door.is_gathering or (door.has_begun and not door.inside))

    def close(self) -> None:
        """Close the sampler; no early look follows, whose probe may be removed by then."""
        self._is_over = True
        self.sampler.close()

    # On the loop's thread

    @uninterrupted
    def look_at_pools_soon(self) -> None:
        """Inspect the thread pools in the next iterations, while all copies ask for a thread.

        A healthy burst releases its threads before another thread can look on a busy machine.
        """
        if self._is_over:
            return
        self._probe.as_own(self.sampler.look_at_pools)
        self._early_looks -= 1
        if self._early_looks > 0:
            self._probe.call_soon(self.look_at_pools_soon)

    @uninterrupted
    def look(self) -> None:
        """Inspect all waiting tasks."""
        began = CLOCKS.thread_cpu_ns()
        self._probe.as_own(self.sampler.look)
        self._look_cost = (CLOCKS.thread_cpu_ns() - began) / 1e9

    @uninterrupted
    def _count_queued(self) -> None:
        self._probe.as_own(lambda: self.sampler.count_queued(self._unanswered))
        if not self.sampler.waiters:  # the loop was never idle when a look was due
            self.look()
