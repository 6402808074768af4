"""What the child processes of this one use of the processor."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from .clock import Usage, has_schedstat, names_in, schedstat


def child_processes() -> dict[str, Usage]:
    """Return the usage of all threads of all live descendants, by "process/thread".

    Worker processes of a pool look like idle serialisation unless their CPU is counted. Where
    there is no schedstat they are by "process", and their delay is unknown.
    """
    if not has_schedstat():
        return _by_psutil()
    return {
        f"{pid}/{tid}": schedstat(f"/proc/{pid}/task/{tid}/schedstat")
        for pid in _descendants(os.getpid())
        for tid in names_in(f"/proc/{pid}/task")
    }


def is_runnable(key: str) -> bool:
    """Return whether the thread with a key of ``child_processes`` runs or wants to run."""
    pid, _, tid = key.partition("/")
    if not tid:
        return _status(int(pid)) == "running"
    try:
        stat = Path(f"/proc/{pid}/task/{tid}/stat").read_bytes()
    except OSError:
        return False
    return stat.rpartition(b")")[2].split()[:1] == [b"R"]


def _by_psutil() -> dict[str, Usage]:
    try:
        import psutil
    except ImportError:  # a dependency on the systems that need it
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


def _descendants(pid: int) -> Iterator[int]:
    for tid in names_in(f"/proc/{pid}/task"):
        try:
            children = Path(f"/proc/{pid}/task/{tid}/children").read_bytes().split()
        except OSError:
            continue
        for child in children:
            yield int(child)
            yield from _descendants(int(child))
