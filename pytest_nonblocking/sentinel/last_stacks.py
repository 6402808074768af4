"""The stacks of all threads, printed where nothing in Python can end a run any more.

``faulthandler`` prints them from a thread that needs no GIL. It has one timer for the whole
process, so one that someone else has set is left alone.
"""

from __future__ import annotations

import faulthandler
from contextlib import suppress
from io import FileIO  # not `open`, which a test may have patched

from ..originals import gc, os, threading
from .system.clock import thread_ids


class LastStacks:
    """Prints all stacks to ``descriptor`` after a delay, unless cancelled; None prints none."""

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = descriptor
        self._file: FileIO | None = None
        self.threads: set[int] = set()
        """The native id of the timer's thread; empty without a timer, or if it is not known."""

    def print_after(self, delay: float) -> None:
        """Print the stacks in ``delay`` seconds; replaces an earlier call of this object."""
        self.cancel()
        # The file of a timer, of a signal or of a crash handler that someone else has set.
        if self._descriptor is None or any(map(_is_file, gc.get_referents(faulthandler))):
            return
        # Anything that is wrong with the descriptor or the delay is no reason to fail a test.
        with suppress(OSError, OverflowError, RuntimeError, ValueError):
            file = FileIO(self._descriptor, "wb", closefd=False)
            before = {*thread_ids()}
            faulthandler.dump_traceback_later(delay, file=file)
            self._file = file
            started = {*thread_ids()} - before - {one.native_id for one in threading.enumerate()}
            # With more than one, the app has started a thread at the same time.
            self.threads = started if len(started) == 1 else set()

    def announce(self, why: str) -> None:
        """Print ``why`` once, if the stacks will follow or are printed already."""
        if self._is_set and self._descriptor is not None:
            with suppress(OSError):
                os.write(self._descriptor, f"\n{why}\n".encode())

    def cancel(self) -> None:
        """Cancel the printing, unless someone else has replaced the timer; may be called twice."""
        if self._is_set:
            faulthandler.cancel_dump_traceback_later()
        self._file = None
        self.threads = set()

    @property
    def _is_set(self) -> bool:
        return any(one is self._file for one in gc.get_referents(faulthandler))


def _is_file(one: object) -> bool:
    return hasattr(one, "fileno")
