"""Hooks that several probes of one loop share, as nested sentinels need them."""

from __future__ import annotations

import abc
from typing import Any

from ...originals import threading
from .probe import Probe


class Several:
    """Stands for several probes of one loop where a hook expects one of them."""

    due_ns = 0
    """Always past, so that a hook passes each callback on."""

    def __init__(self, probes: tuple[Probe, ...]) -> None:
        self._probes = probes

    def tick(self, now: int, step: Any, asleep_ns: int = 0) -> None:
        """Pass the end of a callback, or of a possible sleep, on to each probe."""
        for probe in self._probes:
            if asleep_ns:
                probe.tick(now, step, now - probe.step_ns)
            elif now >= probe.due_ns:
                probe.tick(now, step)
            else:
                probe.step_ns = now

    def begin_idle(self) -> None:
        """Mark the loop idle."""
        for probe in self._probes:
            probe.begin_idle()

    def end_idle(self) -> None:
        """Mark the loop active."""
        for probe in self._probes:
            probe.end_idle()

    @property
    def idle(self) -> bool:
        """Whether the loop is idle, which is the same for all."""
        return self._probes[0].idle

    @idle.setter
    def idle(self, idle: bool) -> None:
        for probe in self._probes:
            probe.idle = idle

    @property
    def step_ns(self) -> int:
        """The start of the current callback, up to what the probes themselves take."""
        return self._probes[0].step_ns

    @step_ns.setter
    def step_ns(self, now: int) -> None:
        for probe in self._probes:
            probe.step_ns = now


def as_one(probes: tuple[Probe, ...]) -> Probe | Several | None:
    """Return what a hook passes callbacks to, None without a probe."""
    if len(probes) > 1:
        return Several(probes)
    return probes[0] if probes else None


class SharedHooks(abc.ABC):
    """The hooks of all loops of one kind, and the probes that use them."""

    def __init__(self) -> None:
        self._probes: dict[Any, tuple[Probe, ...]] = {}
        self._lock = threading.RLock()

    def add(self, loop: Any, probe: Probe) -> None:
        """Report the callbacks of ``loop`` to ``probe``, too."""
        with self._lock:
            self._probes[loop] = probes = (*self._probes.get(loop, ()), probe)
            self._serve(loop, probes)

    def discard(self, loop: Any, probe: Probe) -> None:
        """Undo ``add``; may be called twice, and from any thread."""
        with self._lock:
            before = self._probes.pop(loop, ())
            probes = tuple(other for other in before if other is not probe)
            if probes:
                self._probes[loop] = probes
            if before:
                self._serve(loop, probes)

    @abc.abstractmethod
    def _serve(self, loop: Any, probes: tuple[Probe, ...]) -> None:
        """Hook ``loop`` for ``probes``, unless it is; unhook it if there are none."""
