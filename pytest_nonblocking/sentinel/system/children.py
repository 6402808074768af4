"""CPU usage of child processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from .clock import Usage, has_schedstat, names_in, read_small, schedstat

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
        return _by_psutil()
    return {
        f"{pid}/{tid}": schedstat(f"/proc/{pid}/task/{tid}/schedstat")
        for pid in descendants()
        for tid in names_in(f"/proc/{pid}/task")
    }


def is_runnable(key: str) -> bool:
    """Return whether the thread with a key of ``child_processes`` is runnable."""
    pid, _, tid = key.partition("/")
    if not tid:
        return _status(int(pid)) == "running"
    stat = read_small(f"/proc/{pid}/task/{tid}/stat")
    return stat.rpartition(b")")[2].split()[:1] == [b"R"]


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
    for tid in names_in(f"/proc/{parent}/task"):
        for child in read_small(f"/proc/{parent}/task/{tid}/children").split():
            yield int(child)
            yield from descendants(int(child))
