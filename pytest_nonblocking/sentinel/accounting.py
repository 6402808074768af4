"""From two readings of the clocks to the parts of the loop-time budget. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from ..model import Sample

_PREEMPTED = 1 / 3
"""Processor time for each second off the processor from which a step was preempted, where the
system does not say. Four busy processes on two cores leave a thread a third of a processor."""
_SURE = 2
"""How many times as long as the canary was ever late a wait must be to be called blocking."""


class Reading(NamedTuple):
    """All clocks at one instant, in nanoseconds.

    ``sleeps`` counts how often the loop's thread gave up the processor of its own accord, None
    where the system does not tell. ``process`` is the processor time of all other threads but the
    plugin's and the loop's own included.
    """

    wall: int
    cpu: int
    delay: int
    sleeps: int | None
    process: int


class Slice(NamedTuple):
    """The parts of the time between two readings, in nanoseconds; they sum to its length."""

    cpu: int = 0
    gc: int = 0
    blocked: int = 0
    gil: int = 0
    descheduled: int = 0
    idle: int = 0
    gil_cpu: int = 0
    gil_seen: int = 0
    idle_cpu: int = 0
    unwitnessed: int = 0


@dataclass(slots=True)
class Parts:
    """Running totals of the budget in nanoseconds."""

    cpu: int = 0
    blocked: int = 0
    gil: int = 0
    gc: int = 0
    descheduled: int = 0
    idle: int = 0
    own: int = 0
    idle_cpu: int = 0
    gil_cpu: int = 0
    gil_seen: int = 0
    unwitnessed: int = 0

    def add(self, part: Slice) -> None:
        """Add the parts of a slice."""
        self.cpu += part.cpu
        self.gc += part.gc
        self.blocked += part.blocked
        self.gil += part.gil
        self.descheduled += part.descheduled
        self.idle += part.idle
        self.gil_cpu += part.gil_cpu
        self.gil_seen += part.gil_seen
        self.idle_cpu += part.idle_cpu
        self.unwitnessed += part.unwitnessed

    def snapshot(self) -> dict[str, int]:
        """Return the totals now."""
        return {name: getattr(self, name) for name in self.__slots__}

    def seconds(self) -> dict[str, float]:
        """Return the totals now, in seconds."""
        return {name: ns / 1e9 for name, ns in self.snapshot().items()}


def slice_of_steps(
    before: Reading,
    after: Reading,
    *,
    collector: int,
    asleep: int = 0,
    seen: Iterable[Sample] = (),
    worst: int = 0,
) -> Slice:
    """Return the parts of the time between two readings in which callbacks ran.

    ``collector`` is the processor time of collections on this thread, ``asleep`` how much of the
    time may have been sleep at most, ``seen`` what the watchdog saw the thread do, and ``worst``
    the canary's longest delay where there is one.
    """
    wall = after.wall - before.wall
    used = min(wall, after.cpu - before.cpu)
    # Only the collector's processor time is the collector's: counted by the wall, what the
    # machine took from it would stand in two parts.
    collector = min(collector, used)
    delay = min(wall - used, after.delay - before.delay)
    off = wall - used - delay
    idle = min(off, asleep)
    off -= idle
    others = max(0, after.process - before.process - (after.cpu - before.cpu))
    idle_cpu = others * idle // wall if idle else 0
    others -= idle_cpu
    if _was_preempted(before, after, used, off):
        delay, off = delay + off, 0
    off_parts = _divided(off, others, _weights(seen), _SURE * worst)
    return Slice(
        cpu=used - collector,
        gc=collector,
        blocked=off_parts.blocked,
        gil=off_parts.gil,
        descheduled=delay + off_parts.machine,
        idle=idle,
        gil_cpu=min(off_parts.gil, others),
        gil_seen=min(off_parts.gil, others) if off_parts.gil_seen else 0,
        idle_cpu=idle_cpu,
        unwitnessed=off_parts.unwitnessed,
    )


def slice_of_sleep(before: Reading, after: Reading, *, collector: int) -> Slice:
    """Return the parts of the time between two readings in which the loop slept."""
    wall = after.wall - before.wall
    used = min(wall, after.cpu - before.cpu)
    collector = min(collector, used)
    delay = min(wall - used, after.delay - before.delay)
    others = after.process - before.process - (after.cpu - before.cpu)
    return Slice(
        cpu=used - collector,
        gc=collector,
        descheduled=delay,
        idle=wall - used - delay,
        idle_cpu=max(0, others),
    )


def _was_preempted(before: Reading, after: Reading, used: int, off: int) -> bool:
    if after.sleeps is not None:
        # It never gave the processor up: a hypervisor took the processor itself away, which is
        # neither in the processor time nor in the run-queue delay (1 ms a request was seen).
        return after.sleeps == before.sleeps
    # Nobody tells why it left the processor, but a step that computes is more likely to have been
    # preempted than to have waited.
    return used >= off * _PREEMPTED


class _Off(NamedTuple):
    """What time off the processor went into; ``unwitnessed`` is what nobody saw of ``blocked``."""

    blocked: int
    gil: int
    machine: int = 0
    unwitnessed: int = 0
    gil_seen: bool = False


class _Weights(NamedTuple):
    """For how many seconds the looks stand that saw the thread off the processor, by its state."""

    waits: float
    gil: float
    handover: float
    unknown: float


def _weights(seen: Iterable[Sample]) -> _Weights:
    sums: Counter[str] = Counter()
    for sample in seen:
        sums[sample.state] += sample.weight  # type: ignore[assignment]  # seconds add up too
    waits = sums["blocked"] + sums["sleep"] + sums["lock"]
    return _Weights(waits, sums["gil"], sums["handover"], sums["unknown"])


def _divided(off: int, other_cpu: int, seen: _Weights, noise: int) -> _Off:
    """Divide the time off the processor.

    What the kernel showed the thread to wait for decides, each by the time that it was seen.
    Without such a witness the other threads' processor time over the same interval is what the GIL
    may have been held for. Where the kernel shows nothing at all, a stack that was seen is a
    witness for more than ``noise``.
    """
    held = min(off, other_cpu)
    whole = seen.waits + seen.gil + seen.handover
    if whole <= 0:
        unwitnessed = 0 if seen.unknown > 0 and off > noise else off - held
        return _Off(off - held, held, 0, unwitnessed, seen.unknown > 0)
    # After the last look others may have held the GIL: a sleep of 3 ms ends 20 ms later beside
    # Python in a thread, which keeps the watchdog from looking, too.
    unseen = min(max(0, off - int(whole * 1e9)), held)
    off, held = off - unseen, held - unseen
    waits, gil = int(off * seen.waits / whole), int(off * seen.gil / whole)
    # The watchdog itself holds the GIL when a wait ends under its eyes: beside a wait, only what
    # others computed is a wait for the GIL.
    sure_gil = min(gil, held) if waits else gil
    handed = off - waits - gil
    held_up = min(handed, held - min(held, sure_gil))
    return _Off(
        blocked=waits + gil - sure_gil,
        gil=unseen + sure_gil + held_up,
        machine=handed - held_up,
        unwitnessed=gil - sure_gil,
        gil_seen=sure_gil > 0,
    )
