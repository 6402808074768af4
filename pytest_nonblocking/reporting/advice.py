"""Cause and culprit to words: what to do about it."""

from __future__ import annotations

import os
import statistics

from ..analysis.queues import fullest_pool, hangs_alone
from ..analysis.verdict import is_blind, machine_share
from ..model import Cause, Culprit, Evidence, Judgement, Limit

OFFLOAD = "make the handler `def`, or await anyio.to_thread.run_sync(…)"

# Packages whose calls block, and what to await instead.
_ASYNC_TWINS = {
    "requests": "await an async client (httpx.AsyncClient)",
    "urllib": "await an async client (httpx.AsyncClient)",
    "urllib3": "await an async client (httpx.AsyncClient)",
    "http": "await an async client (httpx.AsyncClient)",
    "httpx": "await httpx.AsyncClient instead of httpx.Client",
    "sqlite3": "await aiosqlite",
    "sqlalchemy": "use SQLAlchemy's create_async_engine and AsyncSession",
    "psycopg": "use psycopg.AsyncConnection",
    "psycopg2": "await an async driver (psycopg 3, asyncpg)",
    "pymysql": "await an async driver (asyncmy, aiomysql)",
    "MySQLdb": "await an async driver (asyncmy, aiomysql)",
    "pymongo": "use pymongo.AsyncMongoClient",
    "redis": "use redis.asyncio",
    "botocore": "await an async client (aioboto3)",
    "boto3": "await an async client (aioboto3)",
    "smtplib": "await an async client (aiosmtplib)",
    "subprocess": "await asyncio.create_subprocess_exec(…)",
    "threading": "use asyncio.Lock or asyncio.Event: the threading ones stop the loop itself",
    "queue": "use asyncio.Queue",
    "socket": "use asyncio or anyio streams",
    "asyncio": "await the future instead of waiting for its result",
    "concurrent": "await asyncio.wrap_future(…) instead of calling result()",
}
_IN_THE_LINE = {
    "time.sleep": "await asyncio.sleep(…)",
    "open(": "await anyio.open_file(…)",
    ".read_text(": "await anyio.Path(…).read_text()",
    ".read_bytes(": "await anyio.Path(…).read_bytes()",
    ".acquire(": "use asyncio.Lock: a threading lock stops the loop itself",
    "sqlite3.": "await aiosqlite",
    "os.system": "await asyncio.create_subprocess_shell(…)",
}


def fix_for(cause: Cause, culprit: Culprit | None, evidence: Evidence) -> str:
    """Return one line that says what to do about ``cause``."""
    if hangs_alone(evidence):
        return (
            "see what should end that wait (a lock it holds already, an event that nobody sets, "
            "an answer that never comes), and give it a time-out: anyio.fail_after(…)"
        )
    if cause == "blocking-call":
        twin = _async_twin(culprit)
        return f"{twin}, {OFFLOAD}" if twin else OFFLOAD
    return {
        "cpu-on-loop": "make it cheaper, page it, or await a process pool "
        "(loop.run_in_executor(ProcessPoolExecutor(), …)); threads do not help: the GIL",
        "gil-contention": "threads do not help pure-Python CPU work: use a process pool, or a "
        "library that releases the GIL",
        "thread-pool": "raise the limiter's total_tokens (the executor's max_workers) to the "
        "concurrency you serve, or await an async client",
        "serialised-wait": "hold the lock for less, enlarge the pool, or accept it with "
        'allow="serialised-wait"',
    }[cause]


def _async_twin(culprit: Culprit | None) -> str | None:
    if culprit is None:
        return None
    for call in culprit.calls:
        if twin := _ASYNC_TWINS.get(call.partition(".")[0].partition(" ")[0]):
            return twin
    return next((twin for text, twin in _IN_THE_LINE.items() if text in culprit.code), None)


def notes_for(
    judgement: Judgement, evidence: Evidence, limits: dict[str, Limit]
) -> tuple[str, ...]:
    """Return what is worth telling beside the verdict, each note with what to do about it."""
    notes = []
    notes += [why for why in (evidence.unmeasured, evidence.scaling_unmeasured) if why]
    for cause in judgement.allowed:
        reason = limits["allow"].value[cause]
        notes.append(
            f"{cause} was found and is accepted by allow (from {limits['allow'].origin})"
            + (f": {reason}" if reason else "")
        )
    if judgement.verdict == "inconclusive":
        notes.append(_why_inconclusive(judgement, evidence))
    notes += _pool_notes(judgement, evidence)
    if judgement.verdict == "pass" and judgement.offloaded >= _WORTH_TELLING:
        notes.append(_ceiling_of_offloaded_work(judgement.offloaded))
    if background := _background(evidence):
        notes.append(
            f"work went on for {background * 1000:.0f} ms after the response (background "
            "tasks); it is not counted in the latency"
        )
    if judgement.one_off:
        notes.append(
            f"one step kept the loop for {judgement.one_off * 1000:.1f} ms, but not in most runs: "
            "not judged"
        )
    return tuple(notes)


_WORTH_TELLING = 0.001
_BACKGROUND = 0.005
_BACKGROUND_SHARE = 0.1


def _background(evidence: Evidence) -> float:
    """Return for how long an app worked on after its response, 0 where that is not worth telling.

    Any app returns a moment after its last byte. In a burst the other requests delay that moment,
    so it is the lone runs that tell.
    """
    if not evidence.singles:
        return 0.0
    after = statistics.median(run.background for run in evidence.singles)
    alone = statistics.median(run.makespan for run in evidence.singles)
    return after if after >= max(_BACKGROUND, _BACKGROUND_SHARE * alone) else 0.0


def _ceiling_of_offloaded_work(each: float) -> str:
    cores = os.cpu_count() or 1
    return (
        f"CPU-bound: each request costs {each * 1000:.1f} ms of CPU in worker threads or "
        f"processes, so {cores} cores serve at most {cores / each:.0f} requests/s"
    )


def _pool_notes(judgement: Judgement, evidence: Evidence) -> list[str]:
    pool = fullest_pool(evidence.bursts)
    if pool is None or judgement.cause == "thread-pool":
        return []
    if pool.sized_by_cpu_count:
        return [
            f"asyncio's default executor has {pool.size} threads on this machine (CPUs + 4) and "
            f"{pool.waiting} calls waited for one: set a larger one with "
            "loop.set_default_executor(), or use anyio.to_thread"
        ]
    return [
        f"all {pool.size} threads of the {pool.name} were busy and {pool.waiting} calls waited "
        f"for one: beyond {pool.size} concurrent requests latency grows"
    ]


def _why_inconclusive(judgement: Judgement, evidence: Evidence) -> str:
    if is_blind(evidence):
        return (
            f"the machine took {machine_share(evidence):.0%} of the time, and this system does not "
            "tell for what: a wait could as well be its doing; run the test again on a quieter "
            "machine, or on Linux"
        )
    burst = max(evidence.bursts or evidence.singles, key=lambda run: run.concurrency)
    budget = burst.budget
    if judgement.near:
        return f"{judgement.near}; too near to tell, on this machine"
    return (
        f"{len(evidence.bursts)} bursts did not agree: the machine kept the loop waiting for "
        f"{budget.descheduled * 1000:.0f} ms and other threads for {budget.other_delay * 1000:.0f} "
        f"ms of {burst.makespan * 1000:.0f} ms; run the test again on a quieter machine"
    )
