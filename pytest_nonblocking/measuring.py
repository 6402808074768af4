"""The object behind the ``nonblocking`` fixture, which measures scenarios inside a test."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from .load.burst import Body, set_up
from .model import Outcome
from .options import Keywords
from .runner import TestRun

if sys.version_info >= (3, 11):
    from typing import Unpack
else:
    from typing_extensions import Unpack

_Hook = TypeVar("_Hook", bound=Callable[[], object])


class Nonblocking:
    """The type of the fixture ``nonblocking``: measures scenarios on the running test's loop."""

    def __init__(self, run: TestRun) -> None:
        self._run = run

    async def measure(self, scenario: Body, **settings: Unpack[Keywords]) -> Outcome:
        """Run ``scenario`` alone and in bursts, and return the outcome; a fail is not raised.

        ``scenario`` is a callable without arguments that returns an awaitable; ``settings`` are
        the marker's keywords, with its units and ranges, and override the marker's. A scenario that
        cannot be measured has the verdict ``"not-measured"``. Raises whatever the scenario raises,
        and pytest.UsageError for an unknown or invalid setting.
        """
        return await self._run.measure(
            scenario, self._run.settings.overlay(settings, "nonblocking.measure()")
        )

    def before(self, hook: _Hook) -> _Hook:
        """Have ``hook`` run once, on the test's loop, before the first measured run; return it.

        Call it from a fixture, or use it as a decorator there: a login or the data that the test
        needs is then not part of the measurement. ``hook`` takes no arguments and is a coroutine
        function; for a plain test, a plain function, where a coroutine function raises
        pytest.UsageError. In a coroutine test it may last as long as the setting ``timeout``.
        What it raises fails the test.
        """
        self._run.before.append(hook)
        return hook

    @asynccontextmanager
    async def setup(self) -> AsyncIterator[None]:
        """Return a context manager, whose block in the body is not measured: ``async with``.

        Each copy runs the block, for a login or data of its own, and all wait for one another at
        its end. Coroutine tests only. What is the same for all copies belongs into ``before``.
        A watched test runs the block once and leaves it out. Elsewhere it is an ordinary block.
        """
        with self._run.left_out():
            async with set_up():
                yield
                self._run.is_set_up()

    def note(self, text: str) -> None:
        """Add ``text``, one line, to the notes of the outcomes to come in this test."""
        self._run.notes.append(text)

    def check(self, outcome: Outcome) -> None:
        """Fail the test if ``outcome`` is a fail, as the marker does.

        Warns if there is no verdict, and does nothing for a pass, for a failure that the baseline
        accepts, and for a fail with ``mode="report"``. Raises pytest's failure with the full text.
        """
        __tracebackhide__ = True
        self._run.outcomes.enforce(outcome)
