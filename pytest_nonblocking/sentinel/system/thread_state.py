"""Thread states as the kernel sees them, which tell a blocking call from a wait for the GIL.

``/proc/self/task/<tid>/syscall`` shows the system call in which a thread sleeps, with its
arguments. Locks and the GIL are both futexes, but the GIL's address lies inside ``_PyRuntime``
(checked on CPython 3.10 to 3.13).
"""

from __future__ import annotations

import contextlib
import platform
import sys

from ...model import State
from ...originals import os, threading
from .clock import has_schedstat
from .procfs import check, most_kept, reader

# The runtime structure contains the GIL: the main interpreter's on CPython 3.12+, the only one
# before. Its size is not exported; it is below 1 MiB in all of these versions.
_RUNTIME_SIZE = 1 << 20
# The system calls of 64-bit processes; elsewhere their numbers differ.
_MACHINE = platform.machine() if sys.maxsize > 1 << 32 else ""
_FUTEX = {"x86_64": b"202", "aarch64": b"98"}.get(_MACHINE)
_FLOCK = {"x86_64": b"73", "aarch64": b"32"}.get(_MACHINE)
_FCNTL = {"x86_64": b"72", "aarch64": b"25"}.get(_MACHINE)
_LOCK_AND_WAIT = (b"0x7", b"0x26")
"""F_SETLKW and F_OFD_SETLKW, by which ``fcntl.lockf`` and SQLite lock a part of a file."""
_SLEEPS = {"x86_64": (b"35", b"230"), "aarch64": (b"101", b"115")}.get(_MACHINE, ())
_SELECTS = {"x86_64": (b"23", b"270"), "aarch64": (b"72",)}.get(_MACHINE, ())


class Witness:
    """Reads the states of this process's threads.

    The files are read with the GIL held, so a thread seen running does not hold it.
    """

    def __init__(self) -> None:
        self._files: dict[int, int] = {}
        self._is_closed = False
        self._most = most_kept()
        self._runtime = 0
        if _FUTEX is None or not has_schedstat():
            return
        try:
            import ctypes

            self._open = ctypes.PyDLL(None, use_errno=True).open
            self._errno = ctypes.get_errno
            self._read = reader()
            self._runtime = ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime"))
        except (ImportError, ValueError, AttributeError, OSError):
            return
        if self.state(threading.get_native_id()) == "unknown":
            self._runtime = 0  # the kernel has no such file, or it may not be read

    @property
    def works(self) -> bool:
        """Whether this system reports thread states."""
        return bool(self._runtime)

    def forget(self, thread_id: int) -> None:
        """Close the file of a thread that has ended."""
        file = self._files.pop(thread_id, -1)
        if file >= 0:
            os.close(file)

    def state(self, thread_id: int) -> State:
        """Return the current state of the thread; one read, 1 to 14 us.

        Raises NoDescriptorLeftError: a state that is missing for that reason proves nothing.
        """
        if not self._runtime or self._is_closed:
            return "unknown"
        file = self._files.get(thread_id)
        if file is None:
            file = self._opened(thread_id)
        fields = self._read(file).split()
        if not fields:
            self.forget(thread_id)
            return "unknown"
        if fields[0] in (b"running", b"-1"):
            return "running"
        if fields[0] == _FLOCK or (fields[0] == _FCNTL and fields[2] in _LOCK_AND_WAIT):
            return "lock"
        if fields[0] == _FUTEX:
            offset = int(fields[1], 16) - self._runtime
            return "gil" if 0 <= offset < _RUNTIME_SIZE else "lock"
        # CPython 3.10 implements sleep as a select without files.
        if fields[0] in _SLEEPS or (fields[0] in _SELECTS and fields[1] == b"0x0"):
            return "sleep"
        return "blocked"

    def _opened(self, thread_id: int) -> int:
        """Open the file of a thread; in place of the one that was opened first, if too many are."""
        while len(self._files) >= self._most:
            self.forget(next(iter(self._files)))
        path = f"/proc/self/task/{thread_id}/syscall".encode()
        file: int = self._open(path, os.O_RDONLY | os.O_CLOEXEC)
        if file < 0:
            check(self._errno())
        self._files[thread_id] = file
        if self._is_closed:
            self.forget(thread_id)
            return -1
        return file

    def close(self) -> None:
        """Close all descriptors, and open no others; from any thread.

        At a time-out the loop's thread may be looking at that moment.
        """
        self._is_closed = True
        while self._files:
            with contextlib.suppress(KeyError):
                _, file = self._files.popitem()
                if file >= 0:
                    os.close(file)
