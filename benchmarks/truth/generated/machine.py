"""How much of each kind of work takes a millisecond: constants of the generated applications.

A millisecond is one of the reference: of processor time, times the machine factor of the plugin,
which is 1 where the machine is not slower. It is measured once, before a run, and handed on to
its processes in the environment.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import NamedTuple

VARIABLE = "TRUTH_RATES"
DOCUMENT = {"id": 1234, "name": "a name of some length", "tags": ["a", "b", "other"]}
RECORD = json.dumps(DOCUMENT)
ELEMENT = '<row id="1234"><name>a name of some length</name><tag>a</tag></row>'


class Rate(NamedTuple):
    """How much work takes a millisecond, by the length of the piece: ``12.5 * rate`` is an amount.

    Work that builds objects is dearer in long pieces than in short ones.
    """

    points: tuple[tuple[float, float], ...]
    """Milliseconds, and the amount that takes them; in ascending order."""

    def __rmul__(self, ms: object) -> float:  # type: ignore[override]
        """Return the amount of work that takes ``ms`` milliseconds."""
        assert isinstance(ms, (int, float))
        after = next((n for n, (at, _) in enumerate(self.points) if at >= ms), len(self.points))
        if after in (0, len(self.points)):
            at, amount = self.points[max(0, after - 1)]
            return ms * amount / at
        (left, low), (right, high) = self.points[after - 1 : after + 1]
        return low + (high - low) * (ms - left) / (right - left)


_RATES: dict[str, list[list[float]]] = json.loads(os.environ.get(VARIABLE, "{}"))


def _rate(name: str) -> Rate:
    return Rate(tuple((ms, amount) for ms, amount in _RATES.get(name, [[1.0, 1000.0]])))


LOOP = _rate("LOOP")
ROWS = _rate("ROWS")
JSON = _rate("JSON")
DUMPS = _rate("DUMPS")
XML = _rate("XML")
MODELS = _rate("MODELS")
HASH = _rate("HASH")


def took(work: Callable[[], object]) -> float:
    """Return the processor time of ``work`` in milliseconds."""
    began = time.thread_time_ns()
    work()
    return (time.thread_time_ns() - began) / 1e6
