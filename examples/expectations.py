"""What the plugin must say of each example."""

from __future__ import annotations

from typing import NamedTuple


class Expected(NamedTuple):
    """A verdict; for a fail the cause, and the function, file and code of the culprit."""

    verdict: str
    cause: str | None = None
    function: str | None = None
    file: str | None = None
    code: str | None = None
    note: str | None = None


PASS = Expected("pass")
_CPU_NOTE = Expected("pass", note="CPU-bound")


def _fail(cause: str, function: str, file: str, code: str) -> Expected:
    return Expected("fail", cause, function, f"examples/shop/{file}", code)


_SLEEP = "time.sleep(_DELAY)"
_AWAIT = "await asyncio.sleep(_DELAY)"

EXPECTED: dict[str, Expected] = {
    "test_stock.py::test_requests_in_async": _fail(
        "blocking-call", "requests_in_async", "stock.py", "requests.get("
    ),
    "test_stock.py::test_httpx_async": PASS,
    "test_stock.py::test_requests_in_def": PASS,
    "test_stock.py::test_requests_offloaded": PASS,
    "test_orders.py::test_sqlite3": _fail("blocking-call", "_slow", "orders.py", _SLEEP),
    "test_orders.py::test_aiosqlite": PASS,
    "test_orders.py::test_sync_session": _fail("blocking-call", "_slow", "orders.py", _SLEEP),
    "test_orders.py::test_async_session": PASS,
    "test_orders.py::test_one_order": PASS,
    "test_orders.py::test_a_page_of_orders": PASS,
    # The CPU goes to SQLAlchemy and FastAPI: no line of the shop's is to blame for most of it.
    "test_orders.py::test_all_orders": Expected("fail", "cpu-on-loop"),
    "test_hidden.py::test_get[blocking-dependency]": _fail(
        "blocking-call", "look_up_token", "hidden.py", _SLEEP
    ),
    "test_hidden.py::test_get[threaded-dependency]": PASS,
    "test_hidden.py::test_get[blocking-middleware]": _fail(
        "blocking-call", "__call__", "hidden.py", _SLEEP
    ),
    "test_hidden.py::test_get[async-middleware]": PASS,
    "test_hidden.py::test_post[blocking-validator]": _fail(
        "blocking-call", "exists", "hidden.py", _SLEEP
    ),
    "test_hidden.py::test_post[checked-in-handler]": PASS,
    "test_reports.py::test_report[on-the-loop]": _fail("cpu-on-loop", "render", "reports.py", ""),
    "test_reports.py::test_report[on-the-loop-in-slices]": _fail(
        "cpu-on-loop", "on_the_loop_in_slices or render", "reports.py", ""
    ),
    "test_reports.py::test_report[in-threads]": _fail("gil-contention", "render", "reports.py", ""),
    "test_reports.py::test_report[key-in-threads]": _CPU_NOTE,
    "test_reports.py::TestWithProcesses::test_in_processes": _CPU_NOTE,
    "test_queues.py::test_queue[forty-threads]": PASS,
    "test_queues.py::test_queue[small-limiter]": _fail(
        "thread-pool", "small_limiter", "queues.py", "to_thread.run_sync("
    ),
    # Its six threads (on two CPUs) do queue 50 requests: a pass only because the note says so.
    "test_queues.py::test_queue[asyncio-to-thread]": Expected("pass", note="default executor"),
    "test_queues.py::test_queue[lock]": _fail(
        "serialised-wait", "behind_a_lock", "queues.py", "async with request.state.lock"
    ),
    "test_queues.py::test_queue[no-lock]": PASS,
    "test_queues.py::test_queue[semaphore]": _fail(
        "serialised-wait", "behind_a_semaphore", "queues.py", "async with request.state.semaphore"
    ),
    "test_queues.py::test_queue[small-pool]": _fail(
        "serialised-wait", "acquire", "queues.py", "await self._free.get()"
    ),
    "test_queues.py::test_queue[pool]": PASS,
    "test_queues.py::test_accepted_lock": Expected("pass", note="accepted"),
    "test_queues.py::TestWithFewThreads::test_four_threads": _fail(
        "thread-pool", "in_thread_pool", "queues.py", _SLEEP
    ),
}
