"""Forks of a process in which the plugin's own threads run.

CPython 3.12+ warns of a fork in a process with several threads. While a test is measured, these may
be the plugin's alone, and the warning would say nothing about the app.
"""

from __future__ import annotations

import warnings

from ..originals import os, sys, threading
from .system.clock import number_of_threads

_MESSAGE = r"This process \(pid=\d+\) is multi-threaded, use of fork"


class _Fork:
    """Ignores the warning while the process is forked, if only the plugin is its reason."""

    def __init__(self) -> None:
        self._filters: warnings.catch_warnings[None] | None = None
        self._is_registered = False
        self._in_c = 0

    def watch(self) -> None:
        """Leave the plugin's threads out of account from now on; call it before they start."""
        self._in_c = number_of_threads() - len(threading.enumerate())
        warns = sys.version_info >= (3, 12) and hasattr(os, "register_at_fork")
        if warns and not self._is_registered:
            self._is_registered = True
            os.register_at_fork(
                before=self.begins, after_in_parent=self.has_ended, after_in_child=self.has_ended
            )

    def begins(self) -> None:
        """Ignore the warning unless there are threads of others; before the fork."""
        others = [thread for thread in threading.enumerate() if not _is_ours(thread)]
        if len(others) == 1 and self._in_c <= 0:
            self._filters = warnings.catch_warnings()
            self._filters.__enter__()
            warnings.filterwarnings("ignore", _MESSAGE, DeprecationWarning)

    def has_ended(self) -> None:
        """Undo it; in the parent after the warning, and in the child."""
        filters, self._filters = self._filters, None
        if filters is not None:
            filters.__exit__(None, None, None)


def _is_ours(thread: threading.Thread) -> bool:
    return thread.name.startswith("pytest-nonblocking-")


FORK = _Fork()
