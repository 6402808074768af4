"""The object behind the ``nonblocking`` fixture, which measures scenarios inside a test."""

from __future__ import annotations

from typing import Any

from .load.burst import Body
from .model import Outcome
from .runner import TestRun


class Nonblocking:
    """Measures scenarios on the loop of the running test."""

    def __init__(self, run: TestRun) -> None:
        self._run = run

    async def measure(self, scenario: Body, **settings: Any) -> Outcome:
        """Run ``scenario`` alone and in bursts, and return the outcome; a fail is not raised.

        ``scenario`` is a callable without arguments that returns an awaitable; ``settings`` are
        the marker's keywords. Raises whatever the scenario raises, and pytest.UsageError for an
        unknown or invalid setting.
        """
        return await self._run.measure(
            scenario, self._run.settings.overlay(settings, "nonblocking.measure()")
        )

    def check(self, outcome: Outcome) -> None:
        """Fail the test if ``outcome`` is a fail, as the marker does."""
        __tracebackhide__ = True
        self._run.enforce(outcome)
