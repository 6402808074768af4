"""The file descriptors of this process: a pool that fills keeps some open."""

from __future__ import annotations

import sys
from pathlib import Path

from ...originals import os

_FOLDER = Path("/proc/self/fd" if sys.platform == "linux" else "/dev/fd")


def held() -> frozenset[str]:
    """Return the descriptors that are open, none where the system does not list them."""
    try:
        names = os.listdir(_FOLDER)  # names, at a tenth of the time
    except OSError:
        return frozenset()
    return frozenset(filter(_is_open, names))


def _is_open(name: str) -> bool:
    """Return whether a descriptor is open after the listing, which had one itself."""
    try:
        os.fstat(int(name))
    except (OSError, ValueError):
        return False
    return True


def opened_since(before: frozenset[str]) -> int:
    """Return how many descriptors have been opened since ``before`` and are open still.

    Those of ``/proc`` are the plugin's own: it reads the states of new threads.
    """
    return sum(not _is_own(_FOLDER / name) for name in held() - before)


def _is_own(path: Path) -> bool:
    try:
        return os.readlink(path).startswith("/proc/")
    except OSError:  # closed by another thread; elsewhere than on Linux there are no links
        return sys.platform == "linux"
