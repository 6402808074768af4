"""Whether a call can block: conditions on the object and on the arguments of one call.

What cannot be read counts as a call that can block.
"""

from __future__ import annotations

import stat
import sys
from collections.abc import Callable
from ipaddress import ip_address
from types import ModuleType
from typing import Any

from ..originals import os, socket
from .sites import UNKNOWN, Site

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

Condition = Callable[[Site], bool]


def always(site: Site) -> bool:
    """Return True."""
    return True


# Sockets


_FLAGS_AT = {"recv": 1, "recvfrom": 1, "send": 1, "sendall": 1, "sendto": 1}
_FLAGS_AT |= dict.fromkeys(("recv_into", "recvfrom_into", "recvmsg", "recvmsg_into", "sendmsg"), 2)
"""The position of the flags among the arguments of a socket's methods."""
_DONTWAIT: int = getattr(socket, "MSG_DONTWAIT", 0)


def waits_for_peer(site: Site) -> bool:
    """Return whether the socket has a time-out other than 0, and the call does not decline it."""
    if site.receiver.gettimeout() == 0:
        return False
    position = _FLAGS_AT.get(site.name)
    return position is None or unless_set(position, "flags", _DONTWAIT)(site)


def waits_for_peer_to_take(site: Site) -> bool:
    """Return whether it is a socket with a connection, and waits for the peer."""
    return site.receiver.type != socket.SOCK_DGRAM and waits_for_peer(site)


def tls_waits_for_peer(site: Site) -> bool:
    """Return whether a TLS connection is over a socket with a time-out other than 0.

    The TLS of asyncio and trio is over memory.
    """
    time_out = getattr(site.receiver.owner, "gettimeout", None)
    return time_out is not None and time_out() != 0


def host_is_a_name(site: Site) -> bool:
    """Return whether the host has to be looked up."""
    host = site.argument(0, "host")
    if host is UNKNOWN:
        return True
    if not host:
        return False
    try:
        ip_address(host.decode() if isinstance(host, bytes) else host)
    except ValueError:
        return True
    return False


# Time-outs


def unless_zero(position: int, keyword: str, default: Any = None) -> Condition:
    """Return the condition that an argument, such as a time-out, is not 0."""

    def is_not_zero(site: Site) -> bool:
        value = site.argument(position, keyword, default)
        return not (isinstance(value, (int, float)) and value == 0)

    return is_not_zero


def unless_set(position: int, keyword: str, bits: int) -> Condition:
    """Return the condition that an argument has none of ``bits``."""

    def is_not_set(site: Site) -> bool:
        value = site.argument(position, keyword, 0)
        return not (isinstance(value, int) and value & bits)

    return is_not_set


def waits_for_child(position: int) -> Condition:
    """Return the condition that the options at ``position`` have not ``WNOHANG``."""
    return unless_set(position, "options", getattr(os, "WNOHANG", 0))


name_is_looked_up = unless_set(1, "flags", socket.NI_NUMERICHOST)
"""Whether a call of ``socket.getnameinfo`` asks for the name of an address."""


# Locks and queues


def _waits(site: Site, keyword: str = "blocking") -> bool:
    """Return whether ``acquire(blocking, timeout)`` or ``get(block, timeout)`` may wait."""
    blocking, time_out = site.argument(0, keyword, True), site.argument(1, "timeout", None)
    is_zero = isinstance(time_out, (int, float)) and time_out == 0
    return not (blocking is False or blocking == 0 or is_zero)


def lock_is_held(site: Site) -> bool:
    """Return whether the lock is taken, and the call waits for it."""
    return site.receiver.locked() and _waits(site)


def lock_is_anothers(site: Site) -> bool:
    """Return whether another thread has the reentrant lock, and the call waits for it."""
    lock = site.receiver
    # It has no `locked` before CPython 3.14.
    is_taken = repr(lock).startswith("<locked") and not lock._is_owned()
    return is_taken and _waits(site)


def semaphore_is_zero(site: Site) -> bool:
    """Return whether the semaphore of multiprocessing has no free place."""
    return bool(site.receiver._is_zero()) and _waits(site, "block")


def queue_is_empty(site: Site) -> bool:
    """Return whether the queue has nothing to take, and the call waits for it."""
    return site.receiver.empty() and _waits(site, "block")


file_lock_waits = unless_set(
    1, "operation", getattr(fcntl, "LOCK_NB", 0) | getattr(fcntl, "LOCK_UN", 0)
)
"""Whether a call of ``fcntl.flock`` or ``fcntl.lockf`` waits for the lock of a file."""


def section_lock_waits(site: Site) -> bool:
    """Return whether a call of ``os.lockf`` waits for the lock of a section of a file."""
    command = site.argument(1, "command")
    return command is UNKNOWN or command == os.F_LOCK


def thread_runs(site: Site) -> bool:
    """Return whether the thread to be joined has not ended."""
    return not site.receiver.is_done() and unless_zero(0, "timeout")(site)


# Files and pipes


def _descriptor(file: Any) -> int | None:
    """Return the descriptor of a file object on a file or pipe, None for memory and sockets."""
    for _ in range(3):
        if type(file).__module__ in ("_io", "io") and hasattr(file, "closefd"):
            return None if file.closed else int(file.fileno())
        file = getattr(file, "raw", None) or getattr(file, "buffer", None)
    return None


def _is_pipe(descriptor: int) -> bool:
    kind = os.fstat(descriptor).st_mode
    return (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)) and os.get_blocking(descriptor)


def _is_file(descriptor: int) -> bool:
    return stat.S_ISREG(os.fstat(descriptor).st_mode)


def _is_output(file: Any) -> bool:
    """Return whether ``file`` is the process's own output, which pytest may capture in a file."""
    outputs = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    ours = [getattr(one, "_real", one) for one in outputs]  # ours passes on to pytest's
    return any(file is one or file is getattr(one, "buffer", None) for one in ours if one)


def is_on_pipe(site: Site) -> bool:
    """Return whether the file object reads or writes a pipe that waits."""
    descriptor = _descriptor(site.receiver)
    return descriptor is not None and descriptor > 2 and _is_pipe(descriptor)


def is_on_file(site: Site) -> bool:
    """Return whether the file object is on a file, other than the process's output."""
    descriptor = _descriptor(site.receiver)
    if descriptor is None or _is_output(site.receiver):
        return False
    return _is_file(descriptor)


def descriptor_is_pipe(site: Site) -> bool:
    """Return whether the descriptor is a pipe that waits."""
    descriptor = site.argument(0, "fd")
    return isinstance(descriptor, int) and _is_pipe(descriptor)


def descriptor_is_file(site: Site) -> bool:
    """Return whether the descriptor is a file, or not known."""
    descriptor = site.argument(0, "fd")
    return not isinstance(descriptor, int) or _is_file(descriptor)


# Drivers


def driver_waits(site: Site) -> bool:
    """Return whether a connection of psycopg2, or that of a cursor, is not asynchronous."""
    connection = getattr(site.receiver, "connection", site.receiver)
    return not getattr(connection, "async_", 0)


def driver_connects(site: Site) -> bool:
    """Return whether ``psycopg2.connect``, which makes the call, waits for the connection."""
    return not any(site.frame.f_locals["kwasync"].values())


def rows_are_at_server(site: Site) -> bool:
    """Return whether a cursor of psycopg2 has a name: others have all rows in memory."""
    return site.receiver.name is not None
