"""Forks of a process in which the plugin's own threads run.

CPython 3.12+ warns of a fork in a process with several threads. While a test is measured, these may
be the plugin's alone, and the warning would say nothing about the app.
"""

from __future__ import annotations

import sys
import warnings
from contextlib import suppress
from typing import NoReturn

from ..originals import os, threading
from .system.clock import number_of_threads

_MESSAGE = r"This process \(pid=\d+\) is multi-threaded, use of fork"


class _Fork:
    """Ignores the warning while the process is forked, if only the plugin is its reason."""

    def __init__(self) -> None:
        self._ignores: object = None
        self._is_registered = False
        self._in_c = 0

    def watch(self) -> None:
        """Leave the plugin's threads out of account from now on; call it before they start."""
        self._in_c = number_of_threads() - len(threading.enumerate())
        warns = sys.version_info >= (3, 12) and hasattr(os, "register_at_fork")
        if warns and not self._is_registered:
            self._is_registered = True
            os.register_at_fork(before=self.begins, after_in_child=self.has_ended)
            if sys.version_info < (3, 13):  # later ones warn after what is called in the parent
                os.register_at_fork(after_in_parent=self.has_ended)

    def begins(self) -> None:
        """Ignore the warning unless there are threads of others; before the fork."""
        self.has_ended()
        others = [thread for thread in threading.enumerate() if not _is_ours(thread)]
        if len(others) == 1 and self._in_c <= 0:
            warnings.filterwarnings("ignore", _MESSAGE, DeprecationWarning)
            self._ignores = warnings.filters[0]

    def has_ended(self) -> None:
        """Undo it, at the latest before the next fork or at the end of the measurement."""
        ours, self._ignores = self._ignores, None
        if ours is not None:  # the app may have restored other filters
            left = [one for one in warnings.filters if one is not ours]
            warnings.filters[:] = left  # type: ignore[index]  # a list, whatever typeshed says


def end_child(error: BaseException | None) -> NoReturn:
    """End a forked child in which a copy has ended, with ``error`` if it has raised one.

    The child has the sockets of the loop and none of our threads: it would hang.
    """
    code = error.code if isinstance(error, SystemExit) else error and str(error)
    with suppress(Exception):  # the app may have replaced or closed them
        if isinstance(code, str):
            sys.stderr.write(f"{code}\n")
        sys.stderr.flush()
        sys.stdout.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def _is_ours(thread: threading.Thread) -> bool:
    return thread.name.startswith("pytest-nonblocking-")


FORK = _Fork()
