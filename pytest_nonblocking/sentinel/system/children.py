"""CPU usage of child processes."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from ...originals import os
from .clock import Usage, cpu_of_process, forced_fallback, has_schedstat, schedstat
from .procfs import names_in, read_small

if sys.platform != "win32":
    import resource


def any_child() -> bool:
    """Return whether this process has a child, live or not yet reaped; a single system call."""
    if not hasattr(os, "waitid"):
        return True
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    except OSError:
        return True
    return True


def reaped_cpu() -> float:
    """Return the CPU time in seconds of all reaped children."""
    if sys.platform == "win32":
        return 0.0
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def child_processes() -> dict[str, Usage]:
    """Return the usage of all threads of all live descendants, keyed "process/thread".

    A pool's worker processes look like waiting unless their CPU is counted. Without schedstat, the
    keys are "process" and the delays are unknown (0).
    """
    if not any_child():
        return {}
    if not has_schedstat():
        return _by_psutil() if forced_fallback() or sys.platform != "linux" else _by_clock()
    return {
        f"{pid}/{tid}": schedstat(f"/proc/{pid}/task/{tid}/schedstat")
        for pid in descendants()
        for tid in names_in(f"/proc/{pid}/task")
    }


def is_runnable(key: str) -> bool:
    """Return whether the thread with a key of ``child_processes`` is runnable."""
    pid, _, tid = key.partition("/")
    if not tid and (forced_fallback() or sys.platform != "linux"):
        return _status(int(pid)) == "running"
    return _stat(f"/proc/{pid}/task/{tid}" if tid else f"/proc/{pid}")[:1] == [b"R"]


def _stat(folder: str) -> list[bytes]:
    """Return the fields of a ``stat`` file after the name: the state, the parent, …"""
    return read_small(f"{folder}/stat").rpartition(b")")[2].split()


def _by_clock() -> dict[str, Usage]:
    found: dict[str, Usage] = {}
    for pid in descendants():
        with suppress(OSError):  # ended meanwhile
            found[str(pid)] = Usage(cpu_of_process(pid), 0)
    return found


def _by_psutil() -> dict[str, Usage]:
    try:
        import psutil
    except ImportError:  # installed on the systems that need it
        return {}
    found: dict[str, Usage] = {}
    for process in psutil.Process().children(recursive=True):
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        found[str(process.pid)] = Usage(int((times.user + times.system) * 1e9), 0)
    return found


def _status(pid: int) -> str:
    import psutil

    try:
        return str(psutil.Process(pid).status())
    except psutil.Error:
        return ""


def descendants(pid: int | None = None) -> Iterator[int]:
    """Yield the process ids of all live descendants of this process, or of ``pid``."""
    parent = os.getpid() if pid is None else pid
    children = _listed if _lists_children() else _searched()
    left = list(children(parent))
    while left:
        child = left.pop()
        yield child
        left += children(child)


@functools.cache
def _lists_children() -> bool:
    """Return whether the kernel was built to list the children of a thread."""
    return Path("/proc/thread-self/children").exists()


def _listed(pid: int) -> list[int]:
    threads = names_in(f"/proc/{pid}/task")
    return [int(c) for t in threads for c in read_small(f"/proc/{pid}/task/{t}/children").split()]


def _searched() -> Callable[[int], list[int]]:
    """Return the function that returns a process's children, by the parents of all processes."""
    children: dict[int, list[int]] = {}
    for name in names_in("/proc"):
        if name.isdecimal() and len(fields := _stat(f"/proc/{name}")) > 1:
            children.setdefault(int(fields[1]), []).append(int(name))
    return lambda pid: children.get(pid, [])
