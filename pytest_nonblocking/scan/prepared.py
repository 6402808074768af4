"""What was found for one operation: the requests that it answers, or what the user may give."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..load.scenario import CannotMeasureError
from .request import Answer, Request


@dataclass(frozen=True)
class Prepared:
    """Requests that the operation answers, for the copies in turn.

    ``sources`` say where their values are from. ``answer`` and ``values``, by name, are those of
    the first request.
    """

    requests: tuple[Request, ...]
    sources: tuple[str, ...]
    answer: Answer
    values: Mapping[str, Any]
    others: tuple[Prepared, ...] = ()
    """The other requests, each with its own values and answer."""
    make: Callable[[int], Request] | None = None
    """Makes the request of a copy, if the user gave callables or calls are numbered."""

    def for_copy(self, copy: int) -> Request:
        """Return the request of the copy with the index ``copy``."""
        return self.make(copy) if self.make else self.requests[copy % len(self.requests)]


class Needs(NamedTuple):
    """What the user has to give: the reason, the names of values, and credentials.

    ``headers`` and ``cookies`` map their names to how their values begin.
    """

    why: str
    names: Sequence[str] = ()
    headers: Mapping[str, str] = {}
    cookies: Mapping[str, str] = {}


class NeedsInputError(CannotMeasureError):
    """No request was answered."""

    def __init__(self, needs: Needs) -> None:
        super().__init__(needs.why)
        self.needs = needs
