"""The thread pools of a process: which threads belong to them, and how much work they queue."""

from __future__ import annotations

import concurrent.futures.thread as executors
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from types import FrameType
from typing import Any

from ..model import FOR_THREADS, Pool
from ..originals import made, os, threading
from .stacks import is_in

_RUN = executors._WorkItem.run.__code__


def is_worker(thread: threading.Thread) -> bool:
    """Return whether a thread belongs to a ThreadPoolExecutor or to anyio."""
    return thread in executors._threads_queues or thread.name.startswith("AnyIO worker")


def worker_ids() -> frozenset[int]:
    """Return the native ids of the threads that belong to pools."""
    return frozenset(t.native_id for t in threading.enumerate() if is_worker(t) and t.native_id)


def default_limiter() -> Any:
    """Return anyio's limiter of threads, None without anyio; within a task only."""
    module = sys.modules.get("anyio.to_thread")
    return None if module is None else made(module.current_default_thread_limiter)


def _limiters(walks: Iterable[Sequence[FrameType]], default: Any) -> list[tuple[str, Pool]]:
    """Return anyio's thread limiters in use: the default one, and those that tasks wait for."""
    limiters = set() if default is None else {default}
    for frames in walks:
        if any(f.f_code.co_name in FOR_THREADS for f in frames):
            limiters |= {
                f.f_locals["self"] for f in frames if f.f_code.co_name == "acquire_on_behalf_of"
            }
    pools = []
    for limiter in limiters:
        use = limiter.statistics()
        if use.borrowed_tokens:
            size = int(min(use.total_tokens, 1 << 30))
            pool = Pool("anyio limiter", size, use.borrowed_tokens, use.tasks_waiting)
            pools.append((f"limiter {id(limiter)}", pool))
    return pools


def _threads_and_queues() -> list[tuple[Any, Any]]:
    """Return the workers of every ThreadPoolExecutor with their queues."""
    while True:
        try:
            return list(executors._threads_queues.items())
        except RuntimeError:  # another thread has just started a worker
            continue


def _executors(default: Any) -> list[tuple[str, Pool]]:
    """Return the ThreadPoolExecutors with queued work; ``default`` is the loop's own."""
    # This mapping holds the workers of every ThreadPoolExecutor: thread -> work queue.
    workers: defaultdict[Any, list[int]] = defaultdict(list)
    for thread, queue in _threads_and_queues():
        workers[queue].append(thread.ident or 0)
    default = getattr(default, "_work_queue", None)
    pools = []
    for queue, idents in workers.items():
        # Work that an idle worker is about to take is not queued.
        if (
            queue.qsize()
            and (waiting := queue.qsize() - sum(not is_in(_RUN, ident) for ident in idents)) > 0
        ):
            size = len(idents)
            is_default = queue is default
            pool = Pool(
                "asyncio default executor" if is_default else "thread pool executor",
                size,
                size,
                waiting,
                sized_by_cpu_count=is_default and size == min(32, (os.cpu_count() or 1) + 4),
            )
            pools.append((f"executor {id(queue)}", pool))
    return pools


def pools_in_use(
    walks: Iterable[Sequence[FrameType]], limiter: Any, executor: Any
) -> list[tuple[str, Pool]]:
    """Return anyio's limiters in use and the executors with queued work, each with a key.

    ``walks`` are the frames of tasks, which show further limiters; ``limiter`` is the default one,
    and ``executor`` the loop's own.
    """
    return [*_limiters(walks, limiter), *_executors(executor)]
