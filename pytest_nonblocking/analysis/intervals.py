"""Estimates with a lower and an upper bound."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from .tolerances import CONFIDENCE


@dataclass(frozen=True, slots=True)
class Bounds:
    """An estimate with its lower and upper bound."""

    lower: float
    estimate: float
    upper: float

    def in_order(self) -> Bounds:
        """Return the bounds with the estimate clamped between them."""
        upper = max(self.lower, self.upper)
        return Bounds(self.lower, min(max(self.lower, self.estimate), upper), upper)

    def __add__(self, other: Bounds) -> Bounds:
        return Bounds(
            self.lower + other.lower, self.estimate + other.estimate, self.upper + other.upper
        )


def share_between(part: float, whole: float, count: int) -> tuple[float, float]:
    """Return the bounds of the share ``part / whole``, estimated from ``count`` samples.

    This is Wilson's score interval; without samples it is from 0 to 1.
    """
    if count <= 0 or whole <= 0:
        return 0.0, 1.0
    share, z2 = min(1.0, part / whole), CONFIDENCE**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    spread = sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    half = CONFIDENCE * spread / (1 + z2 / count)
    return max(0.0, middle - half), min(1.0, middle + half)
