"""Pure accounting: from two readings of the clocks to the parts of the loop-time budget."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from ..model import Sample

_PREEMPTED = 1 / 3
"""CPU time per second off the CPU from which a callback counts as preempted on systems that do not
say why a thread left the CPU. Four busy processes on two cores leave a thread a third of a core."""
_SURE = 2
"""Multiple of the canary's longest delay from which a wait counts as blocking."""


class Reading(NamedTuple):
    """All clocks at one instant, in nanoseconds.

    ``cpu`` and ``delay`` are the loop thread's CPU time and run-queue delay. ``sleeps`` counts its
    voluntary context switches, None if the system does not report them. ``process`` is the CPU time
    of all threads except the watchdog.
    """

    wall: int
    cpu: int
    delay: int
    sleeps: int | None
    process: int


class Slice(NamedTuple):
    """The parts of the time between two readings, in nanoseconds.

    The parts up to ``idle`` sum to its length; the others are those of ``Budget``.
    """

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
        """Add the parts of a slice to the totals."""
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
        """Return the current totals."""
        return {name: getattr(self, name) for name in self.__slots__}

    def seconds(self) -> dict[str, float]:
        """Return the current totals in seconds."""
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

    ``collector`` is the CPU time of garbage collections on this thread, ``asleep`` an upper bound
    of the sleep, ``seen`` the watchdog's samples of the thread, and ``worst`` the canary's longest
    delay, 0 without a canary; times are in nanoseconds.
    """
    wall, used, delay, others = _elapsed(before, after)
    collector = min(collector, used)
    off = wall - used - delay
    idle = min(off, asleep)
    off -= idle
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
        gil_seen=min(off_parts.gil_seen, others),
        idle_cpu=idle_cpu,
        unwitnessed=off_parts.unwitnessed,
    )


def slice_of_sleep(before: Reading, after: Reading, *, collector: int) -> Slice:
    """Return the parts of the time between two readings in which the loop slept."""
    wall, used, delay, others = _elapsed(before, after)
    collector = min(collector, used)
    return Slice(
        cpu=used - collector,
        gc=collector,
        descheduled=delay,
        idle=wall - used - delay,
        idle_cpu=others,
    )


class OwnSlice(NamedTuple):
    """The time between two readings in which the plugin itself worked, in nanoseconds.

    ``gil`` is the part of ``own`` in which its work waited for the GIL, as far as other threads
    computed meanwhile.
    """

    own: int
    delay: int
    gil: int


def slice_of_own(before: Reading, after: Reading) -> OwnSlice:
    """Return the parts of the time between two readings in which the plugin itself worked."""
    wall, used, delay, others = _elapsed(before, after)
    off = wall - used - delay
    gil = 0 if _was_preempted(before, after, used, off) else min(off, others)
    return OwnSlice(wall - delay, delay, gil)


class _Elapsed(NamedTuple):
    """The time between two readings, the loop thread's part of it, and other threads' CPU."""

    wall: int
    used: int
    delay: int
    others: int


def _elapsed(before: Reading, after: Reading) -> _Elapsed:
    wall, cpu = after.wall - before.wall, after.cpu - before.cpu
    used = min(wall, cpu)
    delay = min(wall - used, after.delay - before.delay)
    return _Elapsed(wall, used, delay, max(0, after.process - before.process - cpu))


def _was_preempted(before: Reading, after: Reading, used: int, off: int) -> bool:
    if after.sleeps is not None:
        # Without a voluntary switch, a hypervisor took the core away, which shows neither in the
        # CPU time nor in the run-queue delay (1 ms per request in one case).
        return after.sleeps == before.sleeps
    # The reason is unknown, but a callback that computes was more likely preempted than waiting.
    return used >= off * _PREEMPTED


class _Off(NamedTuple):
    """How the time off the CPU divides.

    ``unwitnessed`` is the unconfirmed part of ``blocked``, and ``gil_seen`` the confirmed part of
    ``gil``.
    """

    blocked: int
    gil: int
    machine: int = 0
    unwitnessed: int = 0
    gil_seen: int = 0


class _Weights(NamedTuple):
    """The weights in seconds of the samples that saw the thread off the CPU, by its state."""

    waits: float
    gil: float
    handover: float
    unknown: float


def _weights(seen: Iterable[Sample]) -> _Weights:
    sums: Counter[str] = Counter()
    for sample in seen:
        sums[sample.state] += sample.weight  # type: ignore[assignment]  # a Counter of seconds
    waits = sums["blocked"] + sums["sleep"] + sums["lock"]
    return _Weights(waits, sums["gil"], sums["handover"], sums["unknown"])


def _divided(off: int, other_cpu: int, seen: _Weights, noise: int) -> _Off:
    """Divide the time ``off`` the CPU between blocking, the GIL and the machine.

    Thread states decide, each weighted by its time. Without samples, the GIL may have been held for
    as long as other threads used the CPU, and the rest is blocking that nobody confirms. On systems
    without thread states, a sampled stack confirms a wait longer than ``noise``.
    """
    held = min(off, other_cpu)
    whole = seen.waits + seen.gil + seen.handover
    if whole <= 0:
        unwitnessed = 0 if seen.unknown > 0 and off > noise else off - held
        return _Off(off - held, held, 0, unwitnessed, held if seen.unknown > 0 else 0)
    # After the last look others may have held the GIL: a sleep of 3 ms ends 20 ms later beside
    # Python in a thread, which keeps the watchdog from looking, too.
    unseen = min(max(0, off - int(whole * 1e9)), held)
    off, held = off - unseen, held - unseen
    waits, gil = int(off * seen.waits / whole), int(off * seen.gil / whole)
    if waits:
        # The watchdog itself holds the GIL if a wait ends during its look: beside a wait, only what
        # other threads computed counts as a wait for the GIL.
        sure_gil = min(gil, held)
    else:
        # Looks miss a sleep after the last of them: the more of the time they saw, the more of the
        # rest is like it.
        looked_at = min(gil, int(seen.gil * 1e9))
        sure_gil = looked_at + (gil - looked_at) * looked_at // max(1, off)
    handed = off - waits - gil
    held_up = min(handed, held - min(held, sure_gil))
    return _Off(
        blocked=waits + gil - sure_gil,
        gil=unseen + sure_gil + held_up,
        machine=handed - held_up,
        unwitnessed=gil - sure_gil,
        gil_seen=sure_gil,
    )
