"""Opens and reads of ``/proc``.

The reads of open files hold the GIL: ``os.pread`` releases it. Beside threads that want it, each
clock reading then waited up to a switch interval (5 ms) per thread, and the values read before and
after did not belong together: only 60 of 169 ms of a makespan were accounted for. And a thread
waiting for the GIL would get it before its state is read.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable

from ...originals import os

if sys.platform != "win32":
    import resource

_BUFFER_SIZE = 256
_MOST_KEPT = 64
_KEPT_SHARE = 16
"""The app has the other 15 of 16 descriptors to itself."""


class NoDescriptorLeftError(Exception):
    """The process has no file descriptor left, so that the measurement misses data."""

    def __init__(self) -> None:
        super().__init__(
            f"no file descriptor was left for the measurement (limit {_limit()}); raise the limit "
            "(`ulimit -n`), or look for files and sockets that the app does not close"
        )


def _limit() -> int:
    """Return the largest number of descriptors of this process, -1 if it is not limited."""
    return -1 if sys.platform == "win32" else resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def most_kept() -> int:
    """Return how many descriptors one reader of many files may keep open."""
    limit = _limit()
    return max(1, min(_MOST_KEPT, limit // _KEPT_SHARE)) if limit > 0 else _MOST_KEPT


def check(error: int | None) -> None:
    """Raise NoDescriptorLeftError if ``error``, the errno of a failed ``open``, means that."""
    if error in (errno.EMFILE, errno.ENFILE):
        raise NoDescriptorLeftError from None


def opened(path: str) -> int:
    """Open a file for reading and return its descriptor, -1 if that is impossible.

    Raises NoDescriptorLeftError rather than let missing data look like an idle process.
    """
    try:
        return os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError as error:
        check(error.errno)
        return -1


def read_small(path: str) -> bytes:
    """Return the first 4 KiB of a file, empty if it cannot be read."""
    file = opened(path)
    if file < 0:
        return b""
    try:
        return os.read(file, 4096)
    except OSError:
        return b""
    finally:
        os.close(file)


def names_in(folder: str) -> list[str]:
    """Return the names in ``folder``, empty if it cannot be read."""
    try:
        return os.listdir(folder)
    except OSError as error:
        check(error.errno)
        return []


def reader() -> Callable[[int], bytes]:
    """Return a function that reads the first 256 bytes of an open file; for one thread only."""
    try:
        import ctypes

        pread = ctypes.PyDLL(None).pread
        pread.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_long)
        pread.restype = ctypes.c_ssize_t
        buffer = ctypes.create_string_buffer(_BUFFER_SIZE)
    except (ImportError, AttributeError, OSError, TypeError):
        return lambda file: os.pread(file, _BUFFER_SIZE, 0)

    def read(file: int) -> bytes:
        length = pread(file, buffer, _BUFFER_SIZE, 0)
        return buffer.raw[:length] if length > 0 else b""

    return read
