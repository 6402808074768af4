"""The words of every cause.

A new cause is a name in ``model.CAUSES``, one entry here and one bound in ``analysis/``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from .model import Cause

TO_THREAD = "await anyio.to_thread.run_sync(…)"
ACCEPT_QUEUE = 'or accept the queue with allow="serialised-wait"'
PROCESS_POOL = "loop.run_in_executor(ProcessPoolExecutor(), …)"
OFFLOAD = f"make the handler `def`, or {TO_THREAD}"


@dataclass(frozen=True, slots=True)
class Measure:
    """How one measured amount is described."""

    text: str
    """With ``{amount}``; what else of it was ``{blocked}``; ``{idle}`` of the burst; the state of
    the ``{loop}``; or ``{threads}`` and ``{calls}`` of a thread pool."""
    part: Literal["cpu", "blocked", "other_cpu", "idle"]
    """The field of ``model.Budget`` that holds the amount."""
    setting: Literal["max_blocked", "max_lag", "cpu_allowance"] | None = None
    """The limit of a callback; or what a request may use without being judged."""


@dataclass(frozen=True, slots=True)
class CauseText:
    """All user-facing text for one cause."""

    headline: str
    """Follows the target in the first line of a failure."""
    title: str
    """The heading of the SARIF rule."""
    explanation: str
    """One sentence: why the cause makes requests wait."""
    fix: str
    """What to do, as an imperative without a full stop."""
    per_request: str
    """Precedes the serial demand of a request."""
    in_burst: Measure
    """What a burst costs for each of its copies."""
    in_callback: Measure | None = None
    """What the longest callback costs, for causes that a single callback shows."""


_OCCUPIES = "each request occupies the loop for"
_ADDS = "each additional request adds"

CAUSE_TEXTS: Mapping[Cause, CauseText] = {
    "blocking-call": CauseText(
        headline="blocks the event loop",
        title="A blocking call stops the event loop",
        explanation="A handler waits in a blocking call on the event loop, so no other request is "
        "served until the call returns.",
        fix=f"await an async equivalent, or {TO_THREAD}",
        per_request=_OCCUPIES,
        in_burst=Measure("{amount} per request off the CPU in callbacks", "blocked"),
        in_callback=Measure("{amount} off the CPU in one callback", "blocked", "max_blocked"),
    ),
    "cpu-on-loop": CauseText(
        headline="occupies the event loop with CPU work",
        title="CPU work occupies the event loop",
        explanation="CPU work on the event loop delays every other request until it is done.",
        fix="reduce the work per request (paginate, cache), or await a process pool "
        f"({PROCESS_POOL}); threads help only if the work releases "
        "the GIL",
        per_request=_OCCUPIES,
        in_burst=Measure("{amount} of CPU time per request on the loop", "cpu", "cpu_allowance"),
        in_callback=Measure("{amount} of CPU time in one callback{blocked}", "cpu", "max_lag"),
    ),
    "gil-contention": CauseText(
        headline="runs CPU work in threads that compete for the GIL",
        title="CPU work in threads competes for the GIL",
        explanation="Only one thread at a time executes Python code, so moving CPU work to threads "
        "does not make room for other requests.",
        fix="use a process pool, or a library that releases the GIL; threads do not run "
        "pure-Python work in parallel",
        per_request=_ADDS,
        in_burst=Measure(
            "{amount} of CPU time per request in worker threads, only one of which runs Python "
            "code at a time{loop}",
            "other_cpu",
        ),
    ),
    "thread-pool": CauseText(
        headline="runs out of worker threads",
        title="Requests queue for a worker thread",
        explanation="More calls need a worker thread at once than the pool has threads, so the "
        "other calls queue.",
        fix="raise the number of threads to the concurrency you serve, or await an async client",
        per_request=_ADDS,
        in_burst=Measure("{threads} busy and {calls} waited for one", "idle"),
    ),
    "serialised-wait": CauseText(
        headline="makes requests wait for one another",
        title="Requests queue for a lock, a pool or a single worker",
        explanation="Requests queue for a shared resource and get it one after another.",
        fix=f"hold the lock for a shorter time, enlarge the pool, {ACCEPT_QUEUE}",
        per_request=_ADDS,
        in_burst=Measure(
            "requests queued for a lock, a pool or a single worker (loop idle for {idle})", "idle"
        ),
    ),
}

THREADS_OF = {
    "anyio limiter": "raise the limiter's total_tokens",
    "asyncio default executor": "install a larger executor with loop.set_default_executor()",
    "thread pool executor": "raise the executor's max_workers",
}
"""How each kind of thread pool is enlarged."""
QUEUE_FIXES = {
    "lock": "hold the lock for a shorter time or use one for each key",
    "semaphore": "raise the semaphore's value to the concurrency you serve",
    "limiter": "raise the limiter's total_tokens to the concurrency you serve",
    "queue": "let more workers serve the queue, or put more entries into the pool",
    "connections": "enlarge the connection pool or hold a connection for a shorter time",
    "rate": "raise the limiter's rate to what you serve",
    "processes": "raise the process pool's max_workers, up to the number of cores",
}
"""How each kind of queue gets shorter."""
ONE_THREAD_FIX = (
    "pass thread_sensitive=False to sync_to_async where the code allows it (asgiref runs other "
    "calls one at a time), or await an async client"
)
NESTED_FIX = (
    "call the function directly, or give it threads of its own: threads that wait for another "
    "thread of their own pool can all wait for ever"
)

# A single run that never ended while its loop was idle has no queue to wait in, whatever its cause.
HANGS_HEADLINE = "does not finish, even alone"
HANGS_MEASURED = "it hung while the loop was idle and no other request was running"
HANGS_FIX = (
    "find what should end this wait (a lock that the request already holds, an event that is never "
    "set, a reply that never arrives), and bound the wait with a timeout: anyio.fail_after(…)"
)
