"""The door of an application whose clients are slower than it is.

A client that sends through a socket or from a thread of its own needs 2 to 3 ms of processor time
for each request, under the same GIL as the application. Many applications are faster: their loop
would then wait for the clients, and the clients' time hide or feign a queue. So the requests of a
burst come in together, and their answers go out together; in between no client does anything.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Protocol

from ..clocks import CLOCKS

_LONGEST_GAPS = 20
"""For how many times the longest gap between two arrivals the next one is waited for. The gaps of
independent arrivals are exponential: one in e**20 is so much longer than their mean."""
_LEAST_NS, _MOST_NS = 50_000_000, 2_000_000_000


class Record(Protocol):
    """What is told how long requests are in the application; on the loop's thread."""

    def turn(self, name: str | None) -> None:
        """Take it that what goes on is now of another kind, or is the clients' doing."""

    def lasted_ns(self, name: str, now_ns: int) -> int:
        """Return for how long what goes on has been of one kind up to now."""


class _Gathering:
    """Those that wait until all are there, but for as long only as others keep coming."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []
        self._last_ns = CLOCKS.wall_ns()
        self._longest_ns = 0

    def come(self) -> asyncio.Future[None]:
        """Return what one more waits for."""
        now = CLOCKS.wall_ns()
        self._longest_ns = max(self._longest_ns, now - self._last_ns)
        self._last_ns = now
        signal = asyncio.get_running_loop().create_future()
        self._waiting.append(signal)
        return signal

    def let_go(self) -> None:
        """Let all go that wait."""
        waiting, self._waiting = self._waiting, []
        for signal in waiting:
            if not signal.done():
                signal.set_result(None)

    @property
    def overdue(self) -> bool:
        """Whether no other is likely to come; from any thread."""
        grace = min(max(_LEAST_NS, _LONGEST_GAPS * self._longest_ns), _MOST_NS)
        return bool(self._waiting) and CLOCKS.wall_ns() - self._last_ns > grace


class Visit:
    """One request on its way through the door, into the application and out again."""

    __slots__ = ("_burst", "_held", "_passes", "copy", "start_ns")

    def __init__(self, burst: _Burst | None = None, copy: int = 0) -> None:
        self._burst = burst
        self._held: asyncio.Future[None] | None = None
        self._passes = burst is None
        self.copy = copy
        self.start_ns = CLOCKS.wall_ns()

    @property
    def keeps_answers(self) -> bool:
        """Whether what the application sends is to be kept back for now."""
        return not self._passes and self._burst is not None and not self._burst.is_way_out_open

    def answered(self) -> None:
        """Take it that the application has handed over the whole answer; may be called twice."""
        if self._burst is not None:
            self._burst.answered(self)

    def returned(self) -> None:
        """Take it that the application has returned."""
        if self._burst is not None:
            self._burst.returned(self)

    async def way_out(self) -> None:
        """Wait until answers may leave."""
        if self.keeps_answers and self._burst is not None:
            self._held = self._burst.out.come()
            await self._held

    def pass_out(self) -> None:
        """Let this one's answer leave without the others'."""
        self._passes = True
        if self._held is not None and not self._held.done():
            self._held.set_result(None)

    def gone(self) -> None:
        """Take it that nothing of the request is left here."""
        if self._burst is not None:
            self._burst.gone(self)


class _Burst:
    """What the door knows of one burst; on the loop's thread."""

    def __init__(self, copies: int, record: Record, begin: Callable[[], None]) -> None:
        self._live = set(range(copies))
        self._record = record
        self._begin = begin
        self.out = _Gathering()
        self.into = _Gathering()
        # A copy alone delays nobody: what it is sent can go out at once.
        self._together = copies > 1
        self.is_way_out_open = True
        self._over = False
        self._entering: list[Visit] = []
        self._outstanding: Counter[int] = Counter()
        # The requests that a copy sends one after the other are its rounds. What comes late into
        # a round that has begun is let in at once.
        self._rounds: Counter[int] = Counter()
        self._begun = 0
        self._answering: set[Visit] = set()
        self._working: set[Visit] = set()
        self.latencies: dict[int, float] = {}

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
        """Let all in that wait at the door."""
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
            self.latencies.pop(visit.copy, None)

    # On the way out

    def answered(self, visit: Visit) -> None:
        if visit not in self._answering:
            return
        self._answering.remove(visit)
        lasted = self._record.lasted_ns("window", CLOCKS.wall_ns()) / 1e9
        self.latencies.pop(visit.copy, None)  # so that they stand in the order of their ends
        self.latencies[visit.copy] = lasted
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
        """Let all answers leave, and those that come until the next round too."""
        self.is_way_out_open = True
        self.out.let_go()
        if not self._entering:
            self.into = _Gathering()  # what comes next has not been on its way for longer

    def gone(self, visit: Visit) -> None:
        self._outstanding[visit.copy] -= 1

    # As the burst goes on

    def ended(self, copy: int) -> None:
        """Take it that a copy sends nothing more and waits for no answer."""
        self._live.discard(copy)
        for visit in [visit for visit in self._answering if visit.copy == copy]:
            self.answered(visit)  # its client has left
        if copy not in self.latencies:  # it has sent nothing
            self.latencies[copy] = self._record.lasted_ns("window", CLOCKS.wall_ns()) / 1e9
        if self._entering and self._is_complete:
            self.let_in()

    def hurry(self) -> None:
        """Let go those for whom nobody else is likely to come."""
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
    """Lets the requests of a burst's copies in and their answers out, each in one step of the loop.

    It stands open but for bursts. ``loop`` is the loop of the application; all but ``enter`` may
    be called from any thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.loop = loop
        self._burst: _Burst | None = None
        self._is_shut = False

    async def enter(self, copy: int | None) -> Visit:
        """Wait until the request of a copy may enter; None is for requests of nobody's."""
        burst = self._burst if self._is_shut else None
        if burst is None or copy is None or asyncio.get_running_loop() is not self.loop:
            return Visit()
        return await burst.enter(copy)

    def shut(self, copies: int, record: Record, begin: Callable[[], None]) -> None:
        """Begin a burst of copies 0 and up; ``begin`` is called just before the first enter.

        ``record`` is told of the "window", in which some answer is awaited, and of the time
        "after" that, in which the application works on with all answers given.
        """
        self._burst = _Burst(copies, record, begin)
        self._is_shut = True

    def ended(self, copy: int) -> None:
        """Take it that a copy has ended, however it did."""
        if (burst := self._burst) is not None:
            self._post(lambda: burst.ended(copy))

    def look(self) -> None:
        """Let go whoever has waited too long for others; to be called time and again."""
        burst = self._burst
        if burst is not None and (burst.into.overdue or burst.out.overdue):
            self._post(burst.hurry)

    def open(self) -> None:
        """End the burst and let go whatever is held; what is known of it stays known."""
        self._is_shut = False
        if (burst := self._burst) is not None:
            self._post(burst.end)

    def _post(self, action: Callable[[], None]) -> None:
        loop = self.loop
        if loop is None or asyncio._get_running_loop() is loop:
            action()
            return
        # What is held in a loop that is closed goes with it.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(action)

    # What is known of the burst

    @property
    def has_begun(self) -> bool:
        """Whether a request of the burst has entered."""
        return self._burst is not None and self._burst.has_begun

    @property
    def is_gathering(self) -> bool:
        """Whether requests wait for others to enter."""
        return self._burst is not None and self._burst.is_gathering

    @property
    def inside(self) -> int:
        """How many requests of the burst are in the application and not answered yet."""
        return 0 if self._burst is None else self._burst.inside

    @property
    def latencies(self) -> dict[int, float]:
        """Seconds from the first enter to the last answer, by copy, in the order of their ends.

        Time in which no request was in the application is left out.
        """
        return {} if self._burst is None else dict(self._burst.latencies)
