"""A door that separates an app's work from that of slow clients in the same process.

A client that uses a socket or a thread needs 2 to 3 ms of CPU per request, under the same GIL as
the app. Many apps are faster: their loop would wait for the clients, whose time would hide or fake
a queue. So the door admits the requests of a burst together and releases their responses together;
in between, the clients are idle.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import Protocol

from ..clocks import CLOCKS
from ..model import CopyEnd
from ..originals import asyncio

_LONGEST_GAPS = 20
"""Multiple of the longest gap between arrivals for which the door waits for the next one. Gaps of
independent arrivals are exponential: 1 in e**20 exceeds 20 means."""
_LEAST_NS, _MOST_NS = 50_000_000, 2_000_000_000


class Record(Protocol):
    """Records how long requests are in the app; on the loop's thread."""

    def turn(self, name: str | None) -> None:
        """Start a stretch named ``name``; None if only the clients work."""

    def end_at(self, name: str, now_ns: int) -> CopyEnd:
        """Return the end at ``now_ns`` of a copy released with the first stretch named ``name``."""


class _Gathering:
    """Requests or responses held until all have arrived, or until arrivals cease."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []
        self._last_ns = CLOCKS.wall_ns()
        self._longest_ns = 0

    def come(self) -> asyncio.Future[None]:
        """Record an arrival and return the future that it must await."""
        now = CLOCKS.wall_ns()
        self._longest_ns = max(self._longest_ns, now - self._last_ns)
        self._last_ns = now
        signal = asyncio.get_running_loop().create_future()
        self._waiting.append(signal)
        return signal

    def let_go(self) -> None:
        """Release everything held."""
        waiting, self._waiting = self._waiting, []
        for signal in waiting:
            if not signal.done():
                signal.set_result(None)

    @property
    def overdue(self) -> bool:
        """Whether no other arrival is likely; from any thread."""
        grace = min(max(_LEAST_NS, _LONGEST_GAPS * self._longest_ns), _MOST_NS)
        return bool(self._waiting) and CLOCKS.wall_ns() - self._last_ns > grace


class Visit:
    """One request on its way through the door into the app and out again."""

    __slots__ = ("_burst", "_held", "_passes", "copy", "start_ns")

    def __init__(self, burst: _Burst | None = None, copy: int = 0) -> None:
        self._burst = burst
        self._held: asyncio.Future[None] | None = None
        self._passes = burst is None
        self.copy = copy
        self.start_ns = CLOCKS.wall_ns()

    @property
    def keeps_answers(self) -> bool:
        """Whether the app's messages must be held back for now."""
        return not self._passes and self._burst is not None and not self._burst.is_way_out_open

    def answered(self) -> None:
        """Record that the app has sent its complete response; may be called twice."""
        if self._burst is not None:
            self._burst.answered(self)

    def returned(self) -> None:
        """Record that the app has returned."""
        if self._burst is not None:
            self._burst.returned(self)

    async def way_out(self) -> None:
        """Wait until responses may leave."""
        if self.keeps_answers and self._burst is not None:
            self._held = self._burst.out.come()
            await self._held

    def pass_out(self) -> None:
        """Let this response leave without the others."""
        self._passes = True
        if self._held is not None and not self._held.done():
            self._held.set_result(None)

    def gone(self) -> None:
        """Record that the request has left the door entirely."""
        if self._burst is not None:
            self._burst.gone(self)


class _Burst:
    """The door's state during one burst; on the loop's thread."""

    def __init__(self, copies: Collection[int], record: Record, begin: Callable[[], None]) -> None:
        self._live = set(copies)
        self._record = record
        self._begin = begin
        self.out = _Gathering()
        self.into = _Gathering()
        # A single copy delays no other: its response may leave at once.
        self._together = len(copies) > 1
        self.is_way_out_open = True
        self._over = False
        self._entering: list[Visit] = []
        self._outstanding: Counter[int] = Counter()
        # A copy's sequential requests are its rounds. A request of a round that has begun is
        # admitted at once.
        self._rounds: Counter[int] = Counter()
        self._begun = 0
        self._answering: set[Visit] = set()
        self._working: set[Visit] = set()
        self.ends: dict[int, CopyEnd] = {}

    # On the way in

    async def enter(self, copy: int) -> Visit:
        visit = Visit(self, copy)
        self._rounds[copy] += not self._outstanding[copy]
        self._outstanding[copy] += 1
        if self._over or copy not in self._live:
            return visit
        if self._rounds[copy] <= self._begun:
            self._admit([visit])
            return visit
        self._entering.append(visit)
        enters = self.into.come()
        if self._is_complete:
            self.let_in()
        try:
            await enters
        except BaseException:
            self._turned_away(visit)
            raise
        return visit

    def _turned_away(self, visit: Visit) -> None:
        if visit in self._entering:
            self._entering.remove(visit)
        self.returned(visit)
        self.gone(visit)

    @property
    def _is_complete(self) -> bool:
        return self._live <= {visit.copy for visit in self._entering}

    def let_in(self) -> None:
        """Admit all requests held at the door."""
        entering, self._entering = self._entering, []
        into = self.into
        if entering:
            if not self._begun:
                self._begin()
            self._begun = max(self._rounds[visit.copy] for visit in entering)
            self.let_out()
            self.is_way_out_open = not self._together
            self.out = _Gathering()
            self._admit(entering)
        into.let_go()

    def _admit(self, visits: Iterable[Visit]) -> None:
        self._turn("window")
        for visit in visits:
            visit.start_ns = CLOCKS.wall_ns()
            self._answering.add(visit)
            self._working.add(visit)
            self.ends.pop(visit.copy, None)

    # On the way out

    def answered(self, visit: Visit) -> None:
        if visit not in self._answering:
            return
        self._answering.remove(visit)
        end = self._record.end_at("window", CLOCKS.wall_ns())
        self.ends.pop(visit.copy, None)  # keeps the dictionary in the order of the ends
        self.ends[visit.copy] = end
        if not self._answering:
            self._turn("after" if self._working else None)

    def returned(self, visit: Visit) -> None:
        if visit not in self._working:
            return
        self._working.remove(visit)
        self.answered(visit)
        if not self._working:
            self._turn(None)
            self.let_out()

    def let_out(self) -> None:
        """Release all responses, including those of later requests in this round."""
        self.is_way_out_open = True
        self.out.let_go()
        if not self._entering:
            self.into = _Gathering()  # measures gaps between arrivals from now on

    def gone(self, visit: Visit) -> None:
        self._outstanding[visit.copy] -= 1

    # As the burst goes on

    def ended(self, copy: int) -> None:
        """Record that a copy has ended: it sends no request and expects no response."""
        self._live.discard(copy)
        for visit in [visit for visit in self._answering if visit.copy == copy]:
            self.answered(visit)  # its client has disconnected
        if copy not in self.ends:  # it has sent no request
            self.ends[copy] = self._record.end_at("window", CLOCKS.wall_ns())
        if self._entering and self._is_complete:
            self.let_in()

    def hurry(self) -> None:
        """Release what waits for arrivals that have become unlikely."""
        if self.into.overdue:
            self.let_in()
        if self.out.overdue:
            self.let_out()

    def end(self) -> None:
        self._turn(None)
        self._over = True
        self._entering = []
        self.into.let_go()
        self.let_out()

    def _turn(self, name: str | None) -> None:
        if not self._over:
            self._record.turn(name)

    @property
    def is_gathering(self) -> bool:
        return bool(self._entering)

    @property
    def inside(self) -> int:
        return len(self._answering)

    @property
    def has_begun(self) -> bool:
        return self._begun > 0


class Door:
    """Admits the requests of a burst, and releases their responses, in one callback each.

    Outside of bursts it is open. ``loop`` is the app's loop. All methods except ``enter`` may be
    called from any thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.loop = loop
        self._burst: _Burst | None = None
        self._is_shut = False

    async def enter(self, copy: int | None) -> Visit:
        """Wait until a request of ``copy`` may enter; None for requests outside of any copy."""
        burst = self._burst if self._is_shut else None
        # The private one is None on trio, where the public one raises.
        if burst is None or copy is None or asyncio._get_running_loop() is not self.loop:
            return Visit()
        return await burst.enter(copy)

    def shut(self, copies: Collection[int], record: Record, begin: Callable[[], None]) -> None:
        """Start a burst of the ``copies`` with these indices.

        ``begin`` is called just before the first requests enter.

        ``record`` gets the stretches named "window", in which a response is pending, and "after",
        in which the app still works after its last response.
        """
        self._burst = _Burst(copies, record, begin)
        self._is_shut = True

    def ended(self, copy: int) -> None:
        """Record that a copy has ended, successfully or not."""
        if (burst := self._burst) is not None:
            self._post(lambda: burst.ended(copy))

    def look(self) -> None:
        """Release what has waited too long for other copies; to be called periodically."""
        burst = self._burst
        if burst is not None and (burst.into.overdue or burst.out.overdue):
            self._post(burst.hurry)

    def open(self) -> None:
        """End the burst and release everything held; its figures stay available."""
        self._is_shut = False
        if (burst := self._burst) is not None:
            self._post(burst.end)

    def _post(self, action: Callable[[], None]) -> None:
        loop = self.loop
        if loop is None or asyncio._get_running_loop() is loop:
            action()
            return
        # Nothing is held any more once the loop is closed.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(action)

    # Figures of the burst

    @property
    def has_begun(self) -> bool:
        """Whether a request of the burst has entered."""
        return self._burst is not None and self._burst.has_begun

    @property
    def is_gathering(self) -> bool:
        """Whether requests are held at the door."""
        return self._burst is not None and self._burst.is_gathering

    @property
    def inside(self) -> int:
        """The number of the burst's requests in the app that have no complete response."""
        return 0 if self._burst is None else self._burst.inside

    @property
    def ends(self) -> dict[int, CopyEnd]:
        """The last responses, by copy and in their order, counted from the first request.

        Time in which no request was in the app is excluded.
        """
        return {} if self._burst is None else dict(self._burst.ends)
