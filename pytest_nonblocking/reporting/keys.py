"""What the measurements of several runs are matched by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

Key = tuple[str, int]
"""A test, and the index of the measurement among those of the test."""


class _Test(Protocol):
    @property
    def nodeid(self) -> str: ...


_T = TypeVar("_T", bound=_Test)


def keyed(tests: Iterable[_T]) -> Iterator[tuple[Key, _T]]:
    """Yield each of ``tests`` with its key, in their order."""
    seen: Counter[str] = Counter()
    for test in tests:
        yield (test.nodeid, seen[test.nodeid]), test
        seen[test.nodeid] += 1
