"""Reads of ``/proc`` that keep the GIL.

``os.pread`` lets go of it. Where other threads want it, the loop's thread then waited for it at
every reading of its clock, up to a switch interval (5 ms) for each of them, and what was read
before and after that wait did not fit together: of a makespan of 169 ms only 60 ms were
accounted for. And a thread that waits for the GIL would have it before its state was read.
"""

from __future__ import annotations

import os
from collections.abc import Callable

_BUFFER_SIZE = 256


def reader() -> Callable[[int], bytes]:
    """Return a function that reads the beginning of an open file; for one thread only."""
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
