"""Interrupting other threads."""

from __future__ import annotations

import ctypes


def raise_in(thread_ident: int, error: type[BaseException]) -> None:
    """Raise ``error`` in another thread, before the next bytecode that it runs.

    A call into C that never returns is not interrupted.
    """
    ident = ctypes.c_ulong(thread_ident)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(error))
