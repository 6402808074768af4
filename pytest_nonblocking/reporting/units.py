"""Numbers as people read them."""

from __future__ import annotations

from ..model import Limit, Pool


def milliseconds(seconds: float) -> str:
    """Return a duration in milliseconds, with a decimal below 100 unless it is a whole number."""
    value = seconds * 1000
    if 1e-9 <= value < 0.05:
        return "under 0.1 ms"
    if value >= 100 or abs(value - round(value)) < 1e-9:
        return f"{value:.0f} ms"
    return f"{value:.1f} ms"


def duration(seconds: float) -> str:
    """Return a duration in seconds from one second on, in milliseconds below."""
    return f"{seconds:g} s" if seconds >= 1 else milliseconds(seconds)


def rate(per_second: float) -> str:
    """Return a rate in requests per second."""
    return f"{per_second:.0f} requests/s" if per_second >= 10 else f"{per_second:.1f} requests/s"


def plural(number: int, one: str, many: str | None = None) -> str:
    """Return the number with its noun."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def busy_threads(pool: Pool) -> str:
    """Return the threads of a full pool, up to the verb: "all 4 threads of the … were"."""
    if pool.size == 1:
        return f"the only thread of the {pool.name} was"
    return f"all {pool.size} threads of the {pool.name} were"


def times(factor: float) -> str:
    """Return a factor with at most two decimals."""
    return f"{factor:.2f}".rstrip("0").rstrip(".")


def setting_text(name: str, value: str, limit: Limit, slowdown: float = 1.0) -> str:
    """Return a setting with its origin: "max_blocked=5 ms (default)".

    ``slowdown`` multiplies a duration of computing: "max_lag=20 ms (default) × 1.2 slower machine".
    """
    origin = "default" if limit.origin == "default" else f"from {limit.origin}"
    shown = f"{name}={value} ({origin})"
    return f"{shown} × {times(slowdown)} slower machine" if times(slowdown) != "1" else shown
