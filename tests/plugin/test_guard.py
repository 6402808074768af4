"""The guard: calls that block the loop are found however fast they are, and nothing else is."""

import json

import pytest

STORE = """
import sqlite3
import time

from time import sleep

import pytest


def load(path):
    db = sqlite3.connect(path)
    rows = db.execute("select 1").fetchall()  # fast
    db.close()
    return rows


def nap():
    sleep(0.0001)


doze = nap


async def app(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("no lifespan here")
    if scope["path"] == "/database":
        load(":memory:")
    elif scope["path"] == "/sleep":
        nap()
    elif scope["path"] == "/file":
        with open(__file__) as source:
            source.readline()
    elif scope["path"] == "/blocking":
        time.sleep(0.05)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
"""
GET = """
import pytest

@pytest.mark.nonblocking(concurrency=4{marker})
async def test_it(nonblocking_client):
    assert (await nonblocking_client.get("{path}")).status_code == 200
"""


@pytest.fixture
def store(pytester):
    """A folder with an app that makes fast blocking calls."""
    pytester.makepyfile(webapp=STORE)
    pytester.makeconftest(
        "import pytest\nfrom webapp import app\n\n"
        "@pytest.fixture\ndef nonblocking_app():\n    return app\n"
    )
    pytester.makeini("[pytest]\npythonpath = .\n")
    return pytester


@pytest.fixture
def run_get(store):
    """Run one marked test that gets a path, with a marker and flags."""

    def run(path, *flags, marker=""):
        store.makepyfile(test_it=GET.format(path=path, marker=marker))
        return store.runpytest("-v", *flags)

    return run


@pytest.fixture
def recorded(store, run_get):
    """Run it and return the record of the measurement."""

    def run(path, *flags, marker=""):
        run_get(path, "--nonblocking-report=report.json", *flags, marker=marker)
        (record,) = json.loads((store.path / "report.json").read_text("utf-8"))["tests"]
        return record

    return run


def test_by_default_a_fast_database_call_is_a_note(run_get):
    result = run_get("/database")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "*note: calls *sqlite3.* on the event loop: * times, * here; *block* for as long as "
            "the database takes (webapp.py:* in load*): await aiosqlite",
        ]
    )


def test_with_fail_the_test_fails_and_names_line_call_limit_and_fix(run_get):
    result = run_get("/sleep", marker=', guard="fail"')
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "nonblocking: GET /sleep makes calls that block the event loop, however fast*",
            "  guard    calls time.sleep on the event loop: 1 time, * here; it blocks for as long*",
            "  where    webapp.py:* in nap",
            "*sleep(0.0001)*→ time.sleep",
            "  fix      await asyncio.sleep(…), make the handler `def`, or await anyio.to_thread*",
            "  limit    guard=fail (from marker): no call of these categories on the event loop: "
            "network, database, sleep, process, lock, dns",
        ]
    )


def test_the_record_of_a_fail_has_the_reason_and_the_calls(recorded):
    record = recorded("/sleep", "--nonblocking-guard=fail")
    assert (record["verdict"], record["reasons"]) == ("fail", ["guard"])
    assert record["cause"] == "blocking-call"
    assert record["culprit"]["function"] == "nap"
    (found,) = record["guard"]
    assert found["functions"] == ["time.sleep"]
    assert (found["category"], found["times"], found["accused"]) == ("sleep", 1, True)
    assert record["limits"]["guard"] == {"value": "fail", "from": "--nonblocking-guard"}


def test_a_file_is_a_note_unless_its_category_is_chosen(run_get):
    run_get("/file", marker=', guard="fail"').assert_outcomes(passed=1)
    marker = ', guard="fail", guard_categories="file"'
    run_get("/file", marker=marker).assert_outcomes(failed=1)


def test_off_makes_no_run_of_its_own_and_no_notes(store, run_get):
    counts = []
    for mode in ("note", "off"):
        store.makepyfile(test_it=GET.format(path="/", marker=f', guard="{mode}"'))
        (store.path / "runs").write_text("")
        store.makepyfile(
            webapp=STORE.replace(
                'if scope["path"] == "/database":',
                'open("runs", "a").write("x")\n    if scope["path"] == "/database":',
            )
        )
        result = store.runpytest_subprocess("-v", "--nonblocking-max-serial-fraction=50")
        result.assert_outcomes(passed=1)
        counts.append(len((store.path / "runs").read_text()))
    assert counts[0] == counts[1] + 1
    result.stdout.no_fnmatch_line("*note: calls*")


@pytest.mark.parametrize(
    ("flags", "marker", "origin"),
    [
        ((), ', guard="fail", guard_allow={"database": "in memory"}', "marker"),
        (
            ("--nonblocking-guard=fail", "--nonblocking-guard-allow=database: in memory"),
            "",
            "--nonblocking-guard-allow",
        ),
    ],
)
def test_an_allowed_category_is_a_note_with_its_reason(run_get, flags, marker, origin):
    result = run_get("/database", *flags, marker=marker)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [f"*note: database calls at * accepted by guard_allow (from {origin}): in memory"]
    )
    result.stdout.no_fnmatch_line("*is unused*")


def test_an_allowance_that_nothing_needs_is_told(run_get):
    result = run_get("/sleep", "--nonblocking-guard-allow=dns: none")
    result.stdout.fnmatch_lines(
        ["nonblocking: guard_allow=dns from --nonblocking-guard-allow is unused in every test*"]
    )


def test_a_measured_block_names_the_call(run_get):
    result = run_get("/blocking")
    result.stdout.fnmatch_lines(["*cause*blocking-call: time.sleep, * ms off the CPU in one*"])


def test_an_own_rule_finds_a_function_and_a_stale_one_is_told(run_get):
    result = run_get(
        "/database",
        "--nonblocking-guard=fail",
        "--nonblocking-guard-allow=database",
        "--nonblocking-guard-calls=sqlite3.Connection.close: file",
        "--nonblocking-guard-calls=mylib._native.Client.fetch",
        marker=', guard_categories="file"',
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*guard*calls sqlite3.Connection.close on the event loop: 1 time*",
            "nonblocking: guard_calls=mylib._native.Client.fetch from --nonblocking-guard-calls "
            "matched no call in this run: correct or remove it",
        ]
    )
    result.stdout.no_fnmatch_line("*guard_calls=sqlite3*")


def test_an_own_rule_finds_a_function_in_python_at_the_line_that_calls_it(run_get):
    result = run_get(
        "/sleep", "--nonblocking-guard=fail", "--nonblocking-guard-calls=webapp.nap: network"
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*guard*calls webapp.nap on the event loop: 1 time*as long as the other side takes*",
            "*where*webapp.py:* in app*",
            "*    nap()*",
        ]
    )
    result.stdout.no_fnmatch_line("*time.sleep*")


def test_no_name_of_a_function_that_was_called_is_stale(run_get):
    rules = [f"--nonblocking-guard-calls=webapp.{name}" for name in ("nap", "doze", "load")]
    result = run_get("/sleep", *rules)
    result.stdout.fnmatch_lines(["*note: calls webapp.nap or webapp.doze on the event loop*"])
    result.stdout.fnmatch_lines(["nonblocking: guard_calls=webapp.load from *matched no call*"])
    result.stdout.no_fnmatch_line("*guard_calls=webapp.nap*")
    result.stdout.no_fnmatch_line("*guard_calls=webapp.doze*")


BASELINE = ("--nonblocking-guard=fail", "--nonblocking-baseline=known.json")


def test_a_baseline_accepts_known_calls_and_no_new_ones(store, run_get):
    run_get("/sleep", *BASELINE, "--nonblocking-update-baseline").assert_outcomes(passed=1)
    run_get("/sleep", *BASELINE).assert_outcomes(passed=1)
    store.makepyfile(
        webapp=STORE.replace("    sleep(0.0001)\n", "    sleep(0.0001)\n    load(':memory:')\n")
    )
    store.makepyfile(test_it=GET.format(path="/sleep", marker=""))
    result = store.runpytest_subprocess(*BASELINE)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*known, but with new blocking calls: sqlite3*"])


def test_another_profiler_stays_and_the_guard_says_so(store):
    store.makepyfile(
        """
        import sys
        import pytest

        def other(frame, event, argument):
            pass

        @pytest.mark.asyncio
        async def test_it(nonblocking_client):
            assert (await nonblocking_client.get("/sleep")).status_code == 200
            assert sys.getprofile() is other

        @pytest.fixture(autouse=True)
        def profiled():
            sys.setprofile(other)
            yield
            sys.setprofile(None)
        """
    )
    result = store.runpytest("-v", "--nonblocking-watch", "--nonblocking-guard=note")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*note: guard: not-measured: another profiler is set*(*other)"])


@pytest.mark.parametrize("path", ["/sleep", "/blocking", "/broken"])
def test_the_profile_is_removed_on_every_path(store, path):
    store.makepyfile(
        f"""
        import sys
        import pytest

        @pytest.mark.nonblocking(concurrency=2)
        async def test_it(nonblocking_client):
            assert "{path}" != "/broken"
            await nonblocking_client.get("{path}")

        def test_after():
            assert sys.getprofile() is None
        """
    )
    result = store.runpytest()
    assert result.parseoutcomes()["passed"] >= 1
    result.stdout.no_fnmatch_line("FAILED *test_after*")


PROFILED = """
import sys
import pytest

@pytest.mark.nonblocking(concurrency=2, guard="{mode}", max_serial_fraction=50)
async def test_it(nonblocking_client):
    assert sys.getprofile() is None, "profiled"
"""


def test_a_body_that_fails_only_under_the_guard_does_not_fail_the_test(store):
    store.makepyfile(PROFILED.format(mode="note"))
    result = store.runpytest("-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*note: guard: not-measured: the test failed in the guard's run*"])


def test_with_fail_a_test_without_the_guards_result_is_not_measured(store):
    store.makepyfile(PROFILED.format(mode="fail"))
    result = store.runpytest("-v", "-W", "default")
    result.assert_outcomes(passed=1, warnings=1)
    # Beside busy neighbours the measurement itself may be inconclusive.
    result.stdout.fnmatch_lines(["*Warning: nonblocking: *guard: not-measured: the test failed*"])


def test_a_watched_test_is_guarded_in_its_one_run(store):
    store.makepyfile(
        """
        import pytest

        @pytest.mark.asyncio
        async def test_it(nonblocking_client):
            assert (await nonblocking_client.get("/database")).status_code == 200
        """
    )
    result = store.runpytest("-v", "--nonblocking-watch", "--nonblocking-guard=fail")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*guard*calls sqlite3.*on the event loop*", "*where*in load"])
    result.stdout.fnmatch_lines(["*note: the guard slows down the one run of a watched test*"])
    result = store.runpytest("-v", "--nonblocking-watch")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*note: *")


SHIPPED = """
RULES = {"calls": {"sqlite3.Connection.close": {"category": "lock", "instead": "leave it"}},
         "exempt": ["webapp"]}
BROKEN = ["sqlite3"]
"""


def install(store, **points):
    """Install a distribution with entry points of the guard."""
    store.makepyfile(shipped=SHIPPED)
    info = store.mkdir("shipped-1.dist-info")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shipped\nVersion: 1\n")
    lines = "".join(f"{name} = shipped:{value}\n" for name, value in points.items())
    (info / "entry_points.txt").write_text(f"[pytest_nonblocking.guard]\n{lines}")
    store.makepyfile(test_it=GET.format(path="/database", marker=""))
    store.syspathinsert()


def test_a_library_ships_rules(store):
    install(store, one="RULES")
    code = SHIPPED.replace('"exempt": ["webapp"]', "")
    store.makepyfile(shipped=code)
    result = store.runpytest_subprocess("-v", "--nonblocking-guard=fail")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*sqlite3.Connection.close*"])


def test_a_librarys_bad_rules_are_told_and_cost_no_verdict(store):
    install(store, one="BROKEN")
    result = store.runpytest_subprocess("-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["nonblocking: guard rules shipped:BROKEN are left out: ValueError: it must be a mapping*"]
    )


@pytest.mark.parametrize("raised", ["SystemExit('no licence')", "ImportError('x')"])
def test_a_module_of_rules_that_raises_ends_no_session(store, raised):
    install(store, one="RULES")
    store.makepyfile(shipped=f"raise {raised}")
    result = store.runpytest_subprocess("-v")
    result.assert_outcomes(passed=1)
    why = raised.partition("(")[0]
    result.stdout.fnmatch_lines([f"nonblocking: guard rules shipped:RULES are left out: {why}: *"])


ANYIO = """
import pytest

@pytest.fixture
def anyio_backend():
    return {backend}

@pytest.mark.anyio
@pytest.mark.nonblocking(concurrency=2, guard="fail")
async def test_it(nonblocking_client):
    await nonblocking_client.get("{path}")
"""
BACKENDS = {"uvloop": '("asyncio", {"use_uvloop": True})', "trio": '"trio"'}


@pytest.mark.parametrize("loop", BACKENDS)
def test_the_guard_works_on_other_loops(store, loop):
    pytest.importorskip(loop, reason=f"{loop} is not installed")
    store.makepyfile(
        test_database=ANYIO.format(backend=BACKENDS[loop], path="/database"),
        test_file=ANYIO.format(backend=BACKENDS[loop], path="/file"),
    )
    result = store.runpytest()
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["*guard*calls sqlite3.*on the event loop*", "*where*in load"])


def test_behind_a_server_its_thread_is_guarded(run_get):
    pytest.importorskip("uvicorn", reason="uvicorn is not installed")
    marker = ', guard="fail", transport="uvicorn"'
    result = run_get("/database", marker=marker)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*guard*calls sqlite3.*on the event loop*", "*where*in load"])
    run_get("/file", marker=marker).assert_outcomes(passed=1)


PLAIN = """
import sys

import pytest
from starlette.testclient import TestClient
from webapp import app


@pytest.fixture
def client():
    with TestClient(app) as client:
        yield client


@pytest.mark.nonblocking(concurrency=2, guard="fail")
@pytest.mark.parametrize("path", ["/database", "/file"])
def test_shared(client, path):
    open("of_the_test", "w").close()
    assert client.get(path).status_code == 200


@pytest.mark.nonblocking(concurrency=2, guard="fail")
@pytest.mark.parametrize("path", ["/database", "/file"])
def test_each(path):
    assert TestClient(app).get(path).status_code == 200
    assert sys.getprofile() is None
"""


def test_the_loops_of_a_test_client_are_guarded(store):
    pytest.importorskip("starlette", reason="starlette is not installed")
    code = STORE.replace(
        'raise RuntimeError("no lifespan here")', "return await live(receive, send)"
    )
    live = """

async def live(receive, send):
    await receive()
    time.sleep(0.0001)  # a lifespan may wait
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
"""
    store.makepyfile(webapp=code + live, test_it=PLAIN)
    result = store.runpytest("-W", "default", "-v")
    result.assert_outcomes(failed=2, passed=2)
    result.stdout.fnmatch_lines(
        ["*test_shared?/database? FAILED*", "*test_each?/database? FAILED*"]
    )
    assert result.stdout.str().count("  guard    calls sqlite3.connect") == 2
    result.stdout.no_fnmatch_line("*calls time.sleep*")
