"""The table of blocking calls, the fix lines that come from it, and further rules."""

import importlib
import re
import select
import sys
import threading

import pytest

from pytest_nonblocking.guard.rules import read_shipped, rules_of
from pytest_nonblocking.guard.table import RUNTIMES, TABLE, counterpart, instead_of
from pytest_nonblocking.model import CATEGORIES, Culprit


def rows_with_functions():
    return [row for row in TABLE if row.names]


def test_each_category_has_functions():
    assert {row.category for row in rows_with_functions()} == set(CATEGORIES)


def test_a_row_without_functions_is_a_library_or_a_spelling():
    for row in TABLE:
        assert row.names or row.package or row.spelled


def test_no_package_has_two_fixes():
    packages = [row.package for row in TABLE if row.package]
    assert len(packages) == len(set(packages))


OF_THE_STANDARD_LIBRARY = (
    *("time", "sqlite3", "_sqlite3", "_socket", "_ssl", "select", "_posixsubprocess", "posix"),
    *("_io", "io", "_thread", "_queue", "_multiprocessing", "fcntl", "_signal", "builtins"),
)
# Of other systems or versions.
ELSEWHERE = {"select.devpoll", "select.kqueue", "_winapi"}
OF_OBJECTS = {"select.poll": select.poll, "_thread.lock": threading.Lock}
if sys.version_info < (3, 11):
    ELSEWHERE.add("sqlite3.Blob")
if sys.version_info < (3, 13):
    ELSEWHERE.add("_thread._ThreadHandle")


@pytest.mark.skipif(sys.platform != "linux", reason="names of Linux")
@pytest.mark.parametrize(
    "row",
    [row for row in rows_with_functions() if row.owner not in ELSEWHERE],
    ids=lambda row: f"{row.category} {row.owner}",
)
def test_the_functions_of_the_standard_library_exist(row):
    module, _, kind = row.owner.partition(".")
    if module not in OF_THE_STANDARD_LIBRARY:
        pytest.skip("not of the standard library")
    owner = importlib.import_module(module)
    if kind:
        owner = OF_OBJECTS[row.owner]() if row.owner in OF_OBJECTS else getattr(owner, kind)
    assert [name for name in row.names if not hasattr(owner, name)] == []


def test_runtimes_are_exempt():
    assert {"asyncio", "uvloop", "trio", "anyio"} <= {one.module for one in RUNTIMES}


def blocking(code="", calls=(), blocks_in=None):
    return Culprit("shop.py", 1, "handler", code, calls, 1, 1, blocks_in=blocks_in)


@pytest.mark.parametrize(
    ("found", "instead"),
    [
        (blocking(calls=("requests.get", "urllib3 …")), "httpx.AsyncClient"),
        (blocking(calls=("mine.call", "psycopg2.connect")), "async driver"),
        (blocking("time.sleep(1)"), "asyncio.sleep"),
        (blocking("time.sleep(1)", ("subprocess.run",)), "create_subprocess_exec"),
        (blocking("nap()", blocks_in="time.sleep"), "asyncio.sleep"),
        (blocking("rows()", blocks_in="sqlite3.Cursor.execute"), "aiosqlite"),
        (blocking("path.read_text()"), "read_text()"),
    ],
)
def test_the_counterpart_of_a_blocking_call(found, instead):
    assert instead in counterpart(found)


@pytest.mark.parametrize(
    ("calls", "code", "instead"),
    [
        (("pathlib.read_text", "io.open"), "path.read_text()", "await anyio.Path(…).read_text()"),
        (("pathlib.read_bytes", "io.open"), "read()", "await anyio.Path(…).read_bytes()"),
        (
            ("concurrent.result", "threading.wait", "threading.Lock.acquire"),
            "run_coroutine_threadsafe(work(), loop).result()",
            "await the future instead of waiting for its result",
        ),
        (
            ("concurrent.shutdown", "threading.join", "threading.Lock.acquire"),
            "pool.shutdown()",
            "await asyncio.to_thread(executor.shutdown)",
        ),
        (
            ("concurrent.result_iterator", "threading.wait", "threading.Lock.acquire"),
            "list(pool.map(work, rows))",
            "await asyncio.gather(…) of loop.run_in_executor(…) instead of Executor.map",
        ),
        (
            ("threading.join", "threading._wait_for_tstate_lock", "threading.Lock.acquire"),
            "thread.join()",
            "await asyncio.to_thread(…) instead of joining a thread",
        ),
        (
            ("socket.getfqdn", "socket.gethostbyaddr"),
            "getfqdn(address)",
            "await asyncio.get_running_loop().getnameinfo(…)",
        ),
        (("threading.wait", "threading.Lock.acquire"), "event.wait()", "use asyncio.Lock or async"),
        (("multiprocessing.get", "os.read"), "rows.get()", None),
        (("multiprocessing.map", "threading.wait"), "pool.map(work, rows)", None),
    ],
)
def test_the_fix_is_that_of_the_outermost_call(calls, code, instead):
    found = instead_of(calls, code)
    assert found is None if instead is None else found.startswith(instead)


def test_a_call_of_an_unknown_library_has_no_counterpart():
    assert counterpart(blocking("vendor.call()", ("vendor.call",))) is None


def test_the_category_decides_between_two_uses_of_one_function():
    assert instead_of(["os.read"], category="file") == "await anyio.open_file(…)"
    assert instead_of(["os.read"], category="process") == "use asyncio or anyio streams"


def test_on_trio_nothing_of_asyncio_is_named():
    for row in TABLE:
        if row.instead is not None and (text := row.instead.on("trio")):
            assert not re.search(r"asyncio\.|aio(sqlite|mysql|odbc|boto)|AsyncSession", text), text


NAMED = (
    "requests", "urllib3", "psycopg2", "psycopg", "pymysql", "sqlite3", "redis", "pymongo", "boto3",
    "smtplib", "subprocess", "time", "threading", "queue",
)  # fmt: skip


@pytest.mark.parametrize("package", NAMED)
def test_well_known_libraries_have_a_counterpart(package):
    assert instead_of([f"{package}.call"])


def test_the_counterpart_of_open_is_found_by_its_spelling():
    assert instead_of([], "rows = open(path).read()") == "await anyio.open_file(…)"


def test_the_users_own_rules_come_first():
    rules = rules_of({"time.sleep": "lock", "mylib._native.Client.fetch": "network"})
    assert [rule.category for rule in rules.by_name["sleep"]["time"]] == ["lock", "sleep"]
    (rule,) = rules.by_name["fetch"]["mylib._native.Client"]
    assert rule.shown == "mylib._native.Client.fetch"


def test_shipped_rules_are_read():
    shipped = read_shipped(
        {
            "calls": {
                "mylib.Client.fetch": {"category": "database", "instead": "await it"},
                "mylib.wait": "lock",
                "mylib.send": {},
            },
            "exempt": ["mylib.loop"],
        }
    )
    read = [(rule.owner, rule.name, rule.category, rule.instead) for rule in shipped.rules]
    assert read == [
        ("mylib.Client", "fetch", "database", "await it"),
        ("mylib", "wait", "lock", None),
        ("mylib", "send", "network", None),
    ]
    assert [one.module for one in shipped.exempt] == ["mylib.loop"]


@pytest.mark.parametrize(
    "bad",
    [
        [],
        {"call": {}},
        {"calls": ["a.b"]},
        {"calls": {"a.b": "disk"}},
        {"calls": {"a.b": 5}},
        {"calls": {"a.b": {"fix": "x"}}},
        {"calls": {"a.b": {"instead": 5}}},
        {"calls": {"sleep": "sleep"}},
        {"calls": {"a.": "sleep"}},
        {"exempt": "mylib"},
        {"exempt": 5},
        {"exempt": [5]},
    ],
)
def test_malformed_shipped_rules_are_refused(bad):
    with pytest.raises(ValueError, match=r"must (be|have)"):
        read_shipped(bad)
