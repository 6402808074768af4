"""From recorded calls to lines: who is accused, and what it means for the verdict."""

import linecache
from asyncio import format_helpers
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_nonblocking.analysis.findings import convicted, find, named
from pytest_nonblocking.guard.table import DATABASES, RUNTIMES
from pytest_nonblocking.model import (
    BlockingCall,
    Culprit,
    Exemption,
    Frame,
    Guarded,
    Judgement,
    Limits,
)

HERE = Path(__file__).parent
SITE = "/venv/lib/python3.12/site-packages"
RUN = Frame("/plugin/exchange.py", 1, "Exchange.run", "pytest_nonblocking.asgi.exchange")
HANDLER = Frame(str(HERE / "shop.py"), 4, "handler", "shop")
HELPER = Frame(str(HERE / "shop.py"), 9, "helper", "shop")
TEST = Frame(str(HERE / "test_shop.py"), 7, "test_it", "test_shop")
COPY = Frame("/plugin/burst.py", 1, "_Burst._copy", "pytest_nonblocking.load.burst")


def library(module, function="call", line=1):
    return Frame(f"{SITE}/{module.replace('.', '/')}.py", line, function, module)


def call(*stack, function="socket.recv", category="network", times=1, seconds=0.001):
    return BlockingCall(function, category, (RUN, *stack), times, seconds)


def findings(*calls, exempt=RUNTIMES, requests=1, **more):
    return find(Guarded(calls, requests, databases=DATABASES), exempt, **more)


def test_the_innermost_line_of_the_users_is_named_with_the_calls_below():
    driver = library("requests.api", "get"), library("urllib3.util", "wait")
    (found,) = findings(call(HANDLER, HELPER, *driver))
    assert (found.file, found.line, found.function) == (HELPER.file, 9, "helper")
    assert found.calls == ("requests.get", "urllib3.wait", "socket.recv")


def test_calls_of_one_line_are_one_finding_for_each_category():
    found = findings(
        call(HANDLER, seconds=0.001),
        call(HANDLER, function="socket.connect", times=2, seconds=0.006),
        call(HANDLER, function="socket.getaddrinfo", category="dns", seconds=0.02),
    )
    assert [one.category for one in found] == ["dns", "network"]
    assert found[1].functions == ("socket.connect", "socket.recv")
    assert (found[1].times, found[1].seconds) == (3, pytest.approx(0.007))


def test_source_lines_that_asyncio_reads_in_debug_mode_are_no_finding():
    debug = Frame(format_helpers.__file__, 80, "extract_stack", "asyncio.format_helpers")
    reads = Frame(linecache.__file__, 72, "checkcache", "linecache")
    assert not findings(call(debug, reads, function="os.stat", category="file"))


def test_a_call_without_a_line_of_the_users_is_in_a_library():
    middleware = library("throttle.middleware"), library("redis.client", "get")
    (found,) = findings(call(library("starlette.routing", "handle"), *middleware))
    assert found.library
    assert (found.function, found.calls[-1]) == ("get", "socket.recv")


@pytest.mark.parametrize("client", ["redis.connection", "pymysql.connections", "psycopg.waiting"])
@pytest.mark.parametrize("category", ["network", "lock"])
def test_what_a_client_of_a_database_waits_for_is_the_database(client, category):
    (found,) = findings(call(HANDLER, library(client), library("socket"), category=category))
    assert found.category == "database"
    (found,) = findings(call(library("starlette.routing"), library(client), category=category))
    assert (found.category, found.library) == ("database", True)


def test_a_client_of_a_database_looks_names_up_and_reads_files_like_any_other():
    for category in ("dns", "file"):
        (found,) = findings(call(HANDLER, library("redis.connection"), category=category))
        assert found.category == category


def test_a_client_of_a_database_above_the_users_line_changes_nothing():
    (found,) = findings(call(library("sqlalchemy.event"), HANDLER, library("urllib3.util")))
    assert found.category == "network"


def test_a_function_that_has_the_name_of_its_c_function_is_shown_once():
    found = call(HANDLER, library("socket", "getaddrinfo"), function="socket.getaddrinfo")
    assert findings(found)[0].calls == ("socket.getaddrinfo",)


@pytest.mark.parametrize("module", ["asyncio.unix_events", "uvloop.loop", "trio._core", "anyio"])
def test_a_runtime_between_the_users_line_and_the_call_is_not_accused(module):
    assert findings(call(HANDLER, library(module))) == ()


def test_a_runtime_that_calls_the_users_line_excuses_nothing():
    assert findings(call(library("asyncio.tasks"), HANDLER))


def test_an_exemption_holds_for_its_functions_and_categories_only():
    start, other = library("threading", "Thread.start"), library("threading", "Thread.join")
    lock = {"function": "threading.Lock.acquire", "category": "lock"}
    assert findings(call(HANDLER, start, **lock)) == ()
    assert findings(call(HANDLER, other, **lock))
    assert findings(call(HANDLER, library("logging"), category="file")) == ()
    assert findings(call(HANDLER, library("logging.handlers"), category="network"))
    assert findings(call(HANDLER, library("loggings"), category="file"))
    queue = library("loguru._handler", "emit"), library("multiprocessing.connection", "_send")
    assert findings(call(HANDLER, *queue, category="process")) == ()


def test_a_shipped_exemption_holds():
    exempt = (Exemption("mylib.loop"),)
    assert findings(call(HANDLER, library("mylib.loop")), exempt=exempt) == ()
    assert findings(call(HANDLER, library("mylib.api")), exempt=exempt)


def test_imports_are_not_accused():
    loader = Frame("<frozen importlib._bootstrap>", 1, "_load", "importlib._bootstrap")
    assert findings(call(HANDLER, loader, HELPER)) == ()


def test_our_own_code_is_not_accused():
    own = Frame("/plugin/watchdog.py", 1, "look", "pytest_nonblocking.sentinel.watchdog")
    assert findings(call(HANDLER, own)) == ()
    assert findings(call(HANDLER, own, library("threading"))) == ()
    assert findings(call(library("starlette.routing"), own, library("os", "fdopen"))) == ()


def test_a_lifespan_is_not_accused():
    lifespan = Frame("/x.py", 1, "Lifespan.run", "pytest_nonblocking.asgi.lifespan")
    assert findings(call(lifespan, HANDLER)) == ()


def test_the_tests_own_calls_count_only_without_requests():
    own = BlockingCall("time.sleep", "sleep", (COPY, TEST), 1, 0.001)
    body = (TEST.file, "test_it")
    assert findings(own, requests=1, body=body) == ()
    assert findings(own, requests=0, body=body)


def test_without_a_guarded_run_there_is_nothing():
    assert find(None, RUNTIMES) == ()


# The verdict

PASS = Judgement("pass")
STRICT = Limits(guard="fail")
FOUND = findings(call(HANDLER))
FILES = findings(call(HANDLER, function="io.open", category="file"))


@pytest.mark.parametrize("verdict", ["pass", "inconclusive", "not-measured"])
def test_fail_turns_any_verdict_into_a_fail(verdict):
    judged = convicted(Judgement(verdict), Guarded(), FOUND, STRICT)
    assert (judged.verdict, judged.reasons, judged.cause) == ("fail", ("guard",), "blocking-call")


def test_a_measured_fail_keeps_its_cause():
    measured = Judgement("fail", reasons=("lag",), cause="cpu-on-loop")
    judged = convicted(measured, Guarded(), FOUND, STRICT)
    assert (judged.reasons, judged.cause) == (("lag", "guard"), "cpu-on-loop")


@pytest.mark.parametrize(
    ("found", "limits"),
    [
        ((), STRICT),
        (FILES, STRICT),
        (FOUND, Limits()),
        (FOUND, Limits(guard="fail", guard_allow=("network",))),
        (FOUND, Limits(guard="fail", guard_categories=("database",))),
    ],
)
def test_what_is_not_accused_changes_no_verdict(found, limits):
    assert convicted(PASS, Guarded(), found, limits) is PASS


def test_a_pass_without_the_guards_result_is_none_where_the_guard_fails_tests():
    unmeasured = Guarded(unmeasured="another profiler is set")
    assert convicted(PASS, unmeasured, (), STRICT).verdict == "not-measured"
    assert convicted(PASS, unmeasured, (), Limits()) is PASS
    assert convicted(PASS, None, (), STRICT) is PASS
    open_ = Judgement("inconclusive")
    assert convicted(open_, unmeasured, (), STRICT) is open_


@pytest.mark.parametrize(
    ("unknown", "categories", "verdict"),
    [
        ("sleep", ("sleep",), "not-measured"),
        ("file", ("sleep", "network"), "pass"),
        ("lock", ("database",), "not-measured"),  # the driver's own lock
    ],
)
def test_calls_that_are_not_known_cost_a_pass_where_they_could_fail_it(
    unknown, categories, verdict
):
    limits = Limits(guard="fail", guard_categories=categories)
    guarded = Guarded(unmeasured="too many stacks", unknown=frozenset((unknown,)))
    assert convicted(PASS, guarded, (), limits).verdict == verdict


BLOCKED = Judgement("fail", reasons=("blocked",), cause="blocking-call", max_blocked=0.002)


def culprit(line=4, **facts):
    return Culprit(HANDLER.file, line, "handler", "x", (), 5, 5, **facts)


def test_a_measured_culprit_is_named_by_the_slowest_call_of_its_line():
    found = named(culprit(), BLOCKED, FOUND, STRICT)
    assert (found.blocks_in, found.samples) == ("socket.recv", 5)


@pytest.mark.parametrize(
    ("where", "judgement"),
    [
        (culprit(line=5), BLOCKED),
        (culprit(), Judgement("fail", ("blocked",), "blocking-call", max_blocked=0.1)),
        (culprit(), Judgement("fail", ("lag",), "cpu-on-loop")),
    ],
)
def test_another_line_a_short_call_and_another_cause_name_none(where, judgement):
    assert named(where, judgement, FOUND, STRICT) is where


QUERY = findings(call(HANDLER, function="sqlite3.Connection.execute", category="database"))


@pytest.mark.parametrize(("max_lag", "named_as"), [(0.0015, QUERY[0].functions[0]), (0.1, None)])
def test_a_query_that_computes_for_most_of_a_callback_is_named(max_lag, named_as):
    judged = Judgement("fail", ("lag",), "cpu-on-loop", max_lag=max_lag)
    assert named(culprit(), judged, QUERY, STRICT).blocks_in == named_as


def test_quick_calls_of_one_line_stand_in_the_order_in_which_they_are_made():
    (found,) = findings(
        call(HANDLER, function="sqlite3.Connection.execute", seconds=0.0001),
        call(HANDLER, function="sqlite3.Cursor.fetchall", seconds=0.0002),
    )
    assert found.functions == ("sqlite3.Connection.execute", "sqlite3.Cursor.fetchall")
    assert found.calls == ("sqlite3.Connection.execute",)


@pytest.mark.parametrize(("seconds", "lines"), [(0.0002, [4, 9]), (0.02, [9, 4])])
def test_slow_calls_stand_first_and_quick_ones_in_the_order_of_their_lines(seconds, lines):
    first, later = replace(HELPER, line=4), replace(HELPER, line=9)
    found = findings(call(first, seconds=0.0001), call(later, seconds=seconds))
    assert [one.line for one in found] == lines


def test_where_no_sample_fell_the_slowest_call_is_the_culprit():
    for nowhere in (None, culprit(route=HANDLER)):
        found = named(nowhere, BLOCKED, FOUND, STRICT)
        assert (found.line, found.blocks_in, found.of) == (4, "socket.recv", 0)


def test_a_fail_of_the_guard_alone_has_its_slowest_accused_call_as_culprit():
    slower = findings(call(HELPER, function="io.open", category="file", seconds=1.0), call(HANDLER))
    judged = convicted(PASS, Guarded(), slower, STRICT)
    assert named(culprit(9), judged, slower, STRICT).line == 4
