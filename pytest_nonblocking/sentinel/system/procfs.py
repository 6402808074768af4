"""Reads of ``/proc`` that hold the GIL.

``os.pread`` releases the GIL. Beside threads that want it, each clock reading then waited up to a
switch interval (5 ms) per thread, and the values read before and after did not belong together:
only 60 of 169 ms of a makespan were accounted for. And a thread waiting for the GIL would get it
before its state is read.
"""

from __future__ import annotations

import os
from collections.abc import Callable

_BUFFER_SIZE = 256


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
