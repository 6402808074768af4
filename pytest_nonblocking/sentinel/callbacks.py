"""The record of a loop's callbacks: the longest ones, their samples, and where tasks yield."""

from __future__ import annotations

import heapq
from typing import NamedTuple

from ..model import Frame, Sample, Slices, Stack, State, Step

_STEPS_KEPT = 64
_SLICES_KEPT = 256
_SAMPLES_KEPT = 2048
_HANDOVERS = {
    ("threading", "start"),
    ("subprocess", "_execute_child"),
    ("subprocess", "_posix_spawn"),
    ("concurrent.futures.thread", "submit"),
    ("queue", "put_nowait"),
    ("queue", "get_nowait"),
    ("trio._core._entry_queue", "run_sync_soon"),
    ("trio._core._thread_cache", "start_thread_soon"),
}
"""Functions that only wait for another thread or process to get the GIL or a core.

Thread.start() waits until the new thread has had the GIL (31 ms on CPython 3.10 beside two busy
threads), Popen() until the child has started (11 ms beside busy neighbours). The lock of a work
queue is held for microseconds, or until its holder gets the GIL back (110 ms under trio beside
Python in threads)."""


def _is_handover(frame: Frame) -> bool:
    return (frame.module, frame.leaf) in _HANDOVERS


class _Longest:
    """The longest callbacks of those that were added."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Step]] = []
        self._serial = 0

    def add(self, step: Step) -> None:
        self._serial += 1
        entry = (step.loop_time, self._serial, step)
        if len(self._heap) < _STEPS_KEPT:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    def steps(self) -> tuple[Step, ...]:
        """Return them, longest first."""
        return tuple(step for _, _, step in sorted(self._heap, reverse=True))


class _Seen(NamedTuple):
    """A sample of the loop thread during the callback that started at ``step_ns``."""

    step_ns: int
    sample: Sample


class Callbacks:
    """The callbacks of one loop; samples may be added in any thread, all else on the loop's."""

    def __init__(self) -> None:
        self._steps = _Longest()  # since they were taken
        self._all_steps = _Longest()  # since the start
        self._samples: list[_Seen] = []
        self._slices: dict[Stack, Slices] = {}

    def add(self, step: Step) -> None:
        """Record a callback that was slow enough to be of interest."""
        self._steps.add(step)
        self._all_steps.add(step)

    def add_sample(self, step_ns: int, state: State, stack: Stack, weight: float) -> None:
        """Record a sample of the loop's thread during the callback that started at ``step_ns``."""
        if state in ("blocked", "lock", "unknown") and any(map(_is_handover, stack[-4:])):
            state = "handover"
        if len(self._samples) >= _SAMPLES_KEPT:
            del self._samples[: _SAMPLES_KEPT // 2]
        self._samples.append(_Seen(step_ns, Sample(stack, state, weight)))

    def add_slice(self, stack: Stack | None, cpu: float) -> None:
        """Record that a task yielded to the loop at ``stack`` after ``cpu`` seconds of work.

        CPU work in slices shorter than the watchdog's interval leaves no stack samples, since the
        watchdog gets the GIL only between the slices.
        """
        if stack and (len(self._slices) < _SLICES_KEPT or stack in self._slices):
            seen = self._slices.get(stack, Slices(stack, 0.0, 0))
            self._slices[stack] = Slices(stack, seen.cpu + cpu, seen.times + 1)

    def samples_of(self, step_ns: int) -> list[Sample]:
        """Return the samples of the callback that started at ``step_ns``, the latest one first."""
        seen: list[Sample] = []
        # A copy, since the watchdog may append at any time.
        for one in reversed(self._samples[:]):
            if one.step_ns < step_ns:
                break
            if one.step_ns == step_ns:
                seen.append(one.sample)
        return seen

    def longest(self) -> tuple[Step, ...]:
        """Return the longest callbacks since the start, taken or not, longest first."""
        return self._all_steps.steps()

    def take_steps(self) -> tuple[Step, ...]:
        """Return the longest callbacks since the last time, longest first."""
        steps, self._steps = self._steps.steps(), _Longest()
        return steps

    def take_samples(self) -> tuple[Sample, ...]:
        """Return the samples so far, and clear them."""
        seen, self._samples = self._samples, []
        return tuple(one.sample for one in seen if one.sample.stack)

    def take_slices(self) -> tuple[Slices, ...]:
        """Return the slices so far, most CPU first, and clear the record."""
        slices, self._slices = self._slices, {}
        return tuple(sorted(slices.values(), key=lambda one: -one.cpu))
