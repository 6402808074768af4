"""What to do about a failure, from literal evidence."""

from dataclasses import replace

import pytest

from pytest_nonblocking.causes import NESTED_FIX, ONE_THREAD_FIX
from pytest_nonblocking.model import (
    Budget,
    Calibration,
    Culprit,
    Evidence,
    Exchange,
    Frame,
    Judgement,
    Limit,
    Pool,
    Run,
    Sample,
    Waiters,
)
from pytest_nonblocking.reporting.advice import fix_for, notes_for
from pytest_nonblocking.reporting.units import busy_threads


def frame(module, function):
    return Frame(f"/lib/{module}.py", 1, function, module)


ROUTE = (frame("asyncio.events", "Handle._run"), frame("fastapi.routing", "app"))
HANDLER = frame("shop", "handler")
CULPRIT = Culprit(HANDLER.file, 4, "handler", "call()", (), 5, 5)


def evidence(*stacks, method="GET", endpoint=None, **facts):
    samples = tuple(Sample(stack, "running", 0.01) for stack in stacks)
    asked = Exchange(method, "/", 200, 0, 1, 1, 1, endpoint)
    run = Run(8, 0.1, (0.1,), Budget(), requests=8, exchanges=(asked,), samples=samples, **facts)
    return Evidence(bursts=(run,))


# blocking-call


def test_a_handler_may_become_def():
    assert "`def`" in fix_for("blocking-call", CULPRIT, evidence((*ROUTE, HANDLER)))


def test_a_task_of_the_apps_own_and_a_websocket_cannot():
    for seen in (evidence((ROUTE[0], HANDLER)), evidence((*ROUTE, HANDLER), method="WEBSOCKET")):
        assert "`def`" not in fix_for("blocking-call", CULPRIT, seen)


@pytest.mark.parametrize("path", [(HANDLER,), (frame("shop", "show"), HANDLER)])
def test_what_the_endpoint_does_moves_to_a_thread_with_it(path):
    seen = evidence((*ROUTE, *path), endpoint=path[0])
    assert "`def`" in fix_for("blocking-call", CULPRIT, seen)


def test_a_dependency_a_middleware_or_a_stream_does_not():
    seen = evidence((*ROUTE, HANDLER), endpoint=frame("shop", "show"))
    assert "`def`" not in fix_for("blocking-call", CULPRIT, seen)


def test_a_fix_that_explains_itself_is_a_sentence_of_its_own():
    locks = replace(CULPRIT, calls=("threading.Lock.acquire",), blocks_in="threading.Lock.acquire")
    fix = fix_for("blocking-call", locks, evidence((*ROUTE, HANDLER)))
    assert "blocks the loop; or make the handler `def`, or await" in fix


@pytest.mark.parametrize(
    ("loop", "pool"),
    [("asyncio", "loop.run_in_executor(ProcessPool"), ("trio", "anyio.to_process.run_sync(…)")],
)
def test_a_process_pool_is_one_that_the_loop_can_await(loop, pool):
    seen = replace(evidence((*ROUTE, HANDLER)), calibration=Calibration(loop=loop))
    fix = fix_for("cpu-on-loop", None, seen)
    assert pool in fix
    assert ("run_in_executor" in fix) is (loop == "asyncio")


def test_a_slow_log_handler_runs_in_a_thread_of_its_own():
    calls_logger = replace(CULPRIT, calls=("logging.info", "socket.sendall"))
    assert "QueueHandler" in fix_for("blocking-call", calls_logger, evidence((*ROUTE, HANDLER)))
    called_by_logger = evidence((*ROUTE, frame("logging", "callHandlers"), HANDLER))
    assert "QueueHandler" in fix_for("blocking-call", CULPRIT, called_by_logger)


@pytest.mark.parametrize(
    ("code", "calls", "instead"),
    [
        ("with inventory_lock:", (), "asyncio.Lock"),
        ("with vendor.session():", ("vendor.enter",), "an async equivalent"),
        ("n = len(getaddrinfo(host, 80))", ("socket.getaddrinfo",), "getaddrinfo(…)"),
    ],
)
def test_what_is_awaited_instead(code, calls, instead):
    found = replace(CULPRIT, code=code, calls=calls)
    assert instead in fix_for("blocking-call", found, evidence((*ROUTE, HANDLER)))


# cpu-on-loop


@pytest.mark.parametrize(
    ("code", "blocks_in", "instead"),
    [
        ("db.execute(query)", "sqlite3.Connection.execute", "await aiosqlite"),
        ("data = path.read_bytes()", "FileIO.readall", "anyio.Path(…).read_bytes()"),
        ("data = file.read()", "BufferedReader.read", "anyio.open_file"),
        ("body = await request.json()", None, "parse less"),
        ("text = json.dumps(rows)", None, "dump less"),
    ],
)
def test_what_computes_less_or_elsewhere(code, blocks_in, instead):
    found = replace(CULPRIT, code=code, blocks_in=blocks_in)
    assert instead in fix_for("cpu-on-loop", found, evidence((*ROUTE, HANDLER)))


def test_a_new_client_for_each_request_is_shared_instead():
    loads = (*ROUTE, HANDLER, frame("httpx", "__init__"), frame("ssl", "create_default_context"))
    assert "share it" in fix_for("cpu-on-loop", CULPRIT, evidence(loads))


def test_the_library_that_calls_a_validator_is_not_what_computes():
    validates = frame("pydantic.main", "BaseModel.__init__")
    above = evidence((*ROUTE, validates, HANDLER))
    below = evidence((*ROUTE, HANDLER, validates))
    assert "validate" not in fix_for("cpu-on-loop", CULPRIT, above)
    assert "validate" in fix_for("cpu-on-loop", CULPRIT, below)


# thread-pool


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("anyio limiter", "total_tokens"),
        ("thread pool executor", "max_workers"),
        ("asyncio default executor", "set_default_executor"),
    ],
)
def test_each_kind_of_pool_is_enlarged_in_its_own_way(name, instead):
    assert instead in fix_for("thread-pool", None, evidence(pools=(Pool(name, 4, 4, 9),)))


@pytest.mark.parametrize(
    ("below", "instead"),
    [
        ([("asyncio.locks", "Lock.acquire")], "hold the lock"),
        ([("asyncio.locks", "_ContextManagerMixin.__aenter__"),
          ("asyncio.locks", "Semaphore.acquire")], "the semaphore's value"),
        ([("anyio._backends._asyncio", "CapacityLimiter.acquire")], "total_tokens"),
        ([("asyncio.queues", "Queue.get")], "let more workers serve the queue"),
        ([("psycopg_pool.pool_async", "AsyncConnectionPool.getconn"),
          ("asyncio.locks", "Condition.wait")], "enlarge the connection pool"),
        ([("sqlalchemy.ext.asyncio.session", "AsyncSession.execute"),
          ("asyncio.queues", "Queue.get")], "enlarge the connection pool"),
        ([("aiolimiter.leakybucket", "AsyncLimiter.acquire")], "raise the limiter's rate"),
        ([("asyncio.locks", "Event.wait")], "hold the lock for a shorter time, enlarge the pool"),
    ],
)  # fmt: skip
def test_each_kind_of_queue_gets_shorter_in_its_own_way(below, instead):
    line = replace(HANDLER, line=CULPRIT.line)
    other = Waiters((HANDLER, frame("asyncio.locks", "Lock.acquire")), 9, 9.0)
    waits = Waiters((line, *(frame(*one) for one in below)), 7, 0.5)
    fix = fix_for("serialised-wait", CULPRIT, evidence(waiters=(other, waits)))
    assert instead in fix.partition(", or accept")[0]
    assert fix.endswith(', or accept the queue with allow="serialised-wait"')


@pytest.mark.parametrize(
    ("below", "instead"),
    [
        ([], "use one for each key"),
        ([("threading", "Semaphore.acquire"), ("threading", "wait")], "the semaphore's value"),
        ([("queue", "Queue.get"), ("threading", "wait")], "let more workers serve the queue"),
        ([("sqlalchemy.pool.impl", "QueuePool._do_get"), ("sqlalchemy.util.queue", "get"),
          ("threading", "wait")], "enlarge the connection pool"),
        ([("threading", "Event.wait"), ("threading", "wait")], "enlarge the pool"),
    ],
)  # fmt: skip
def test_what_threads_queue_for_gets_shorter_in_its_own_way(below, instead):
    line = replace(HANDLER, line=CULPRIT.line)
    stack = (frame("concurrent.futures.thread", "_worker"), line, *(frame(*one) for one in below))
    other = Sample((frame("concurrent.futures.thread", "_worker"), HANDLER), "lock", 9.0)
    seen = evidence(workers=(other, Sample(stack, "lock", 1.0)))
    fix = fix_for("serialised-wait", replace(CULPRIT, counted="threads"), seen)
    assert instead in fix.partition(", or accept")[0]


@pytest.mark.parametrize(("used", "fix"), [(0.3, "max_workers"), (0.0, "enlarge the pool")])
def test_a_process_pool_gets_more_workers(used, fix):
    culprit = replace(CULPRIT, code="await loop.run_in_executor(pool, compute)")
    (run,) = evidence(waiters=(Waiters((replace(HANDLER, line=CULPRIT.line),), 7, 0.5),)).bursts
    seen = Evidence(bursts=(replace(run, budget=Budget(child_cpu=used)),))
    assert fix in fix_for("serialised-wait", culprit, seen)


def test_the_one_thread_of_asgiref_is_no_pool_to_enlarge():
    one = Pool("thread pool executor", 1, 1, 9)
    waits = Waiters((HANDLER, frame("asgiref.sync", "SyncToAsync.__call__")), 8, 0.0)
    assert fix_for("thread-pool", None, evidence(pools=(one,), waiters=(waits,))) == ONE_THREAD_FIX
    assert busy_threads(one) == "the only thread of the thread pool executor was"


def test_threads_that_wait_for_each_other_are_not_helped_by_more_of_them():
    full = Pool("thread pool executor", 4, 4, 8, waited=0.9)
    stack = (frame("concurrent.futures.thread", "_worker"), HANDLER)
    result = (frame("concurrent.futures._base", "Future.result"), frame("threading", "wait"))
    stuck = Sample((*stack, *result), "lock", 1.0)
    waits = Waiters((HANDLER,), 8, 1.0)
    seen = evidence(pools=(full,), workers=(stuck,), waiters=(waits,), timed_out=True)
    assert fix_for("thread-pool", None, seen) == NESTED_FIX
    failed = Judgement("fail", reasons=("timeout",), cause="thread-pool")
    (note,) = notes_for(failed, seen, {"cpu_allowance": Limit(0.005, "default")})
    assert note.endswith("pytest may hang after its summary")
