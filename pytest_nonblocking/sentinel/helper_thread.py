"""The plugin's own threads, which are neither measured nor traced."""

from __future__ import annotations

from collections.abc import Callable

from ..originals import sys, threading
from ..threads import Thread


class NoThreadLeftError(RuntimeError):
    """The process cannot start a thread of the plugin's own."""

    def __init__(self, why: object) -> None:
        super().__init__(
            f"no thread could be started for the measurement ({why}); raise the limit "
            "(`ulimit -u`), or look for threads that the app does not end"
        )


class HelperThread(Thread):
    """A daemon thread that runs ``work``; an exception in it is kept in ``fault``."""

    def __init__(self, name: str, work: Callable[[], object]) -> None:
        super().__init__(self._run, f"pytest-nonblocking-{name}")
        self._work = work
        self.fault: BaseException | None = None

    def start(self) -> None:
        """Start the thread; raises NoThreadLeftError."""
        try:
            super().start()
        except RuntimeError as error:
            raise NoThreadLeftError(error) from None

    def _run(self) -> None:
        # Without tracers: coverage tools trace every new thread.
        sys.settrace(None)
        sys.setprofile(None)
        try:
            self._work()
        except Exception as error:
            self.fault = error

    def wait(self) -> None:
        """Wait until the thread has ended, if it was started."""
        if self.ident is not None and self is not threading.current_thread():
            self.join()
