"""What a user sees who marks a test."""

import json

import jsonschema
import pytest

from pytest_nonblocking.reporting import json_report


def test_async_io_passes(run_get):
    result = run_get("/")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["nonblocking: 1 measured: 1 pass"])


def test_a_blocking_handler_fails_with_cause_place_and_fix(run_get):
    result = run_get("/blocking")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "nonblocking: GET /blocking blocks the event loop",
            "*each request occupies the loop for * ms: 8 at once took *",
            "*judged *serial fraction *, limit max_serial_fraction=0.10 (default)*",
            "*ceiling * requests/s per process*",
            "*cause *blocking-call: * off the CPU in one callback, limit max_blocked=5 ms *",
            "*where *webapp.py:16 in app",
            "*time.sleep(0.05)*",
            "*machine  excluded: * ms run-queue delay*; CPU *reference*",
            "*fix *asyncio.sleep*",
        ]
    )
    assert "Traceback" not in result.stdout.str()


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_both_modes_of_pytest_asyncio_work(run_get, mode):
    result = run_get("/blocking", f"--asyncio-mode={mode}")
    result.assert_outcomes(failed=1)


def test_report_mode_never_fails_a_test(run_get):
    result = run_get("/blocking", "--nonblocking-mode=report")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["nonblocking: 1 measured: 1 fail"])


def test_mode_off_runs_the_body_once(project):
    project.makepyfile(
        """
        import pytest
        runs = []

        @pytest.mark.nonblocking
        async def test_it():
            runs.append(1)

        def test_runs():
            assert runs == [1]
        """
    )
    result = project.runpytest("--nonblocking-mode=off")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["nonblocking: 1 marked test, none measured: mode=off from *"])


def test_the_marker_works_on_classes_and_modules(project):
    project.makepyfile(
        """
        import time, pytest
        pytestmark = pytest.mark.nonblocking(concurrency=8)

        class TestIt:
            @pytest.mark.parametrize("seconds", [0.05])
            async def test_method(self, seconds):
                time.sleep(seconds)
        """
    )
    result = project.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*test_*.py:7 in *test_method*"])


def test_xfail_counts_the_verdict(project):
    project.makepyfile(
        """
        import time, pytest

        @pytest.mark.xfail(reason="known")
        @pytest.mark.nonblocking
        async def test_it():
            time.sleep(0.05)
        """
    )
    project.runpytest().assert_outcomes(xfailed=1)


def test_a_body_that_fails_alone_is_an_ordinary_failure(project):
    project.makepyfile(
        """
        import pytest

        @pytest.mark.nonblocking
        async def test_it():
            answer = 41
            assert answer == 42
        """
    )
    result = project.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([">*assert answer == 42", "E*assert 41 == 42"])
    assert "burst.py" not in result.stdout.str()


def test_a_body_that_fails_only_in_a_burst_says_so_and_names_virtual_user(project):
    project.makepyfile(
        """
        import asyncio, pytest
        running = 0

        @pytest.mark.nonblocking
        async def test_it():
            global running
            running += 1
            await asyncio.sleep(0.01)
            alone = running == 1
            running -= 1
            assert alone
        """
    )
    result = project.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E*assert False", "*passed alone, but failed as copy * of 8 concurrent copies*"]
    )
    result.stdout.fnmatch_lines(["*virtual_user()*"])


def test_a_lock_of_an_earlier_tests_loop_is_named_as_such(project):
    project.makepyfile(
        """
        import asyncio, pytest
        lock = asyncio.Lock()

        @pytest.mark.nonblocking(allow="serialised-wait")
        @pytest.mark.parametrize("n", [1, 2])
        async def test_it(n):
            async with lock:
                await asyncio.sleep(0.001)
        """
    )
    result = project.runpytest()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["*of the event loop of an earlier test*", '*loop_scope="session"*']
    )


def test_virtual_user_numbers_the_copies(project):
    project.makepyfile(
        """
        import asyncio, pytest
        seen = set()

        @pytest.mark.nonblocking(concurrency=12)
        async def test_it(virtual_user):
            seen.add(virtual_user())
            await asyncio.sleep(0.01)
            assert virtual_user() in seen

        def test_seen(virtual_user):
            assert seen == set(range(12))
            assert virtual_user() == 0
        """
    )
    project.runpytest().assert_outcomes(passed=2)


@pytest.mark.parametrize("outcome", ["skip", "xfail"])
def test_skip_and_xfail_in_the_body_keep_their_meaning(project, outcome):
    project.makepyfile(
        f"""
        import pytest

        @pytest.mark.nonblocking
        async def test_it():
            pytest.{outcome}("not here")
        """
    )
    result = project.runpytest()
    result.assert_outcomes(**{"skipped" if outcome == "skip" else "xfailed": 1})


def test_an_accepted_cause_passes_with_a_note(project):
    project.makepyfile(
        """
        import asyncio, pytest

        @pytest.mark.nonblocking(allow="serialised-wait")
        async def test_it():
            async with lock():
                await asyncio.sleep(0.02)

        def lock(locks=[]):
            if not locks:
                locks.append(asyncio.Lock())
            return locks[0]
        """
    )
    result = project.runpytest("-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*note: serialised-wait found and accepted by allow*"])


def test_the_report_is_valid_and_says_what_the_terminal_says(run_get, pytester):
    run_get("/blocking", "--nonblocking-report=out.json")
    report = json.loads((pytester.path / "out.json").read_text("utf-8"))
    jsonschema.validate(report, json_report.schema())
    (test,) = report["tests"]
    assert test["nodeid"] == "test_it.py::test_it"
    assert (test["verdict"], test["cause"]) == ("fail", "blocking-call")
    assert (test["culprit"]["file"], test["culprit"]["line"]) == ("webapp.py", 16)
    assert test["limits"]["max_blocked"] == {"value": 0.005, "from": "default"}
    assert [level["concurrency"] for level in test["levels"]] == [1, 8]


def test_the_schema_refuses_an_unknown_verdict(run_get, pytester):
    run_get("/", "--nonblocking-report=out.json")
    report = json.loads((pytester.path / "out.json").read_text("utf-8"))
    jsonschema.validate(report, json_report.schema())
    report["tests"][0]["verdict"] = "maybe"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(report, json_report.schema())


def test_junit_properties_hold_the_facts(run_get, pytester):
    run_get("/blocking", "--junitxml=junit.xml")
    text = (pytester.path / "junit.xml").read_text("utf-8")
    for name, value in [("verdict", "fail"), ("cause", "blocking-call")]:
        assert f'<property name="nonblocking_{name}" value="{value}"' in text
    assert 'value="webapp.py:16 in app"' in text


def test_the_report_is_complete_under_xdist(project):
    project.makepyfile(
        test_two="""
        import asyncio, pytest

        @pytest.mark.nonblocking(concurrency=8)
        @pytest.mark.parametrize("n", range(4))
        async def test_it(n):
            await asyncio.sleep(0.01)
        """
    )
    result = project.runpytest("-n", "2", "--nonblocking-report=out.json")
    result.assert_outcomes(passed=4)
    assert result.stdout.str().count("nonblocking: 4 measured") == 1
    report = json.loads((project.path / "out.json").read_text("utf-8"))
    assert len(report["tests"]) == 4
