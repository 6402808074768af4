"""Known failures are accepted, new and worse ones fail, fixed ones are listed."""

import json

import pytest

SUITE = """
import os, time, asyncio, pytest

pytestmark = pytest.mark.nonblocking(concurrency=8)

def wait():
    time.sleep(float(os.environ.get("WAIT", "0.03")))

async def test_known():
    wait()

async def test_healthy():
    await asyncio.sleep(0.01)
"""
FLAG = "--nonblocking-baseline=known.json"
UPDATE = "--nonblocking-update-baseline"


ENTRY = {
    "test": "test_it.py::test_known",
    "cause": "blocking-call",
    "where": "test_it.py in wait",
    "serial_ms": 30.2,
    "max_lag_ms": 30.3,
}
KNOWN = {"schema_version": 1, "worse_factor": 2.0, "failures": [ENTRY]}


@pytest.fixture
def gate(pytester):
    """A suite whose one failure is in the baseline."""
    pytester.makepyfile(test_it=SUITE)
    (pytester.path / "known.json").write_text(json.dumps(KNOWN), encoding="utf-8")
    return pytester


def entries(pytester):
    return json.loads((pytester.path / "known.json").read_text("utf-8"))["failures"]


def test_a_known_failure_passes_and_is_told(gate):
    result = gate.runpytest(FLAG, "-v", "--nonblocking-report=out.json", "--junitxml=out.xml")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        [
            "*note: known failure, accepted by known.json",
            "nonblocking: 2 measured: 1 pass, 1 fail (1 accepted by the baseline)",
            "nonblocking: 1 known failure accepted by known.json",
        ]
    )
    tests = json.loads((gate.path / "out.json").read_text("utf-8"))["tests"]
    shown = {test["nodeid"]: (test["verdict"], test["accepted_by"]) for test in tests}
    assert shown["test_it.py::test_known"] == ("fail", "baseline")
    assert "accepted by known.json" in (gate.path / "out.xml").read_text("utf-8")


def test_a_failure_that_an_update_measures_again_is_neither_added_nor_removed(pytester):
    pytester.makepyfile(test_it=SUITE)
    pytester.runpytest(FLAG, UPDATE)
    result = pytester.runpytest(FLAG, UPDATE)
    result.stdout.fnmatch_lines(["nonblocking: wrote 1 known failure to *: 0 added, 0 removed"])


def test_an_update_writes_an_entry_that_names_the_function_and_no_line(pytester):
    pytester.makepyfile(test_it=SUITE)
    result = pytester.runpytest(FLAG, UPDATE)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        ["nonblocking: wrote 1 known failure to known.json: 1 added, 0 removed"]
    )
    (entry,) = entries(pytester)
    assert min(entry["serial_ms"], entry["max_lag_ms"]) > 20
    measured = {name: entry[name] for name in ("serial_ms", "max_lag_ms")}
    assert entry == ENTRY | measured | {"calls": []}


def test_a_known_failure_is_known_where_its_lines_have_moved(gate):
    gate.makepyfile(test_it="# moved\n\n\n" + SUITE)
    gate.runpytest(FLAG).assert_outcomes(passed=2)


def test_a_new_failure_fails(gate):
    gate.makepyfile(test_it=SUITE + "\n    wait()\n")
    result = gate.runpytest(FLAG)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["  baseline not among the 1 known failures in known.json: new"])


def test_a_known_failure_that_got_worse_fails(gate, monkeypatch):
    monkeypatch.setenv("WAIT", "0.12")
    result = gate.runpytest(FLAG)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["  baseline known, but worse: each request adds 12? ms, 3*limit 2*"]
    )


def test_a_fixed_failure_is_listed_and_an_update_drops_it(gate):
    gate.makepyfile(test_it=SUITE.replace("    wait()", "    await asyncio.sleep(0.01)"))
    result = gate.runpytest(FLAG)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        [
            "nonblocking: 1 known failure in known.json fixed: remove it with --*-update-baseline",
            "  test_it.py::test_known: blocking-call, test_it.py in wait",
        ]
    )
    assert len(entries(gate)) == 1
    gate.runpytest(FLAG, UPDATE).assert_outcomes(passed=2)
    assert entries(gate) == []


def test_a_test_that_was_not_run_is_not_fixed(gate):
    result = gate.runpytest(FLAG, "-k", "healthy")
    result.stdout.no_fnmatch_line("*known.json fixed*")
    gate.runpytest(FLAG, UPDATE, "-k", "healthy")
    assert len(entries(gate)) == 1


def test_an_ordinary_failure_is_no_failure_of_the_gate(gate):
    gate.makepyfile(test_it=SUITE.replace("    wait()", "    assert not 1"))
    gate.runpytest(FLAG, UPDATE).assert_outcomes(passed=1, failed=1)
    assert len(entries(gate)) == 1


@pytest.mark.parametrize("flags", [[], [UPDATE]], ids=["gate", "update"])
def test_the_workers_of_xdist_know_it_too(gate, flags):
    pytest.importorskip("xdist", reason="pytest-xdist is not installed")
    if flags:
        (gate.path / "known.json").unlink()
    gate.runpytest("-n2", FLAG, *flags).assert_outcomes(passed=2)
    assert len(entries(gate)) == 1


def test_a_rerun_is_judged_by_its_last_run(gate):
    pytest.importorskip("pytest_rerunfailures", reason="pytest-rerunfailures is not installed")
    gate.makepyfile(test_it=SUITE + "\n    wait()\n")
    gate.runpytest(FLAG, UPDATE, "-p", "rerunfailures", "--reruns=1").assert_outcomes(passed=2)
    assert len(entries(gate)) == 2


def test_report_mode_writes_a_baseline_too(pytester):
    pytester.makepyfile(test_it=SUITE)
    pytester.runpytest(FLAG, UPDATE, "--nonblocking-mode=report").assert_outcomes(passed=2)
    assert len(entries(pytester)) == 1


def test_an_ini_path_is_relative_to_the_ini_file(gate):
    gate.makeini("[pytest]\nnonblocking_baseline = known.json\n")
    folder = gate.mkdir("sub")
    (folder / "test_sub.py").write_text("def test_it(): pass")
    gate.runpytest("sub", "test_it.py").assert_outcomes(passed=3)


def test_without_the_file_it_is_said_how_to_write_it(pytester):
    pytester.makepyfile(test_it=SUITE)
    result = pytester.runpytest(FLAG)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*known.json does not exist: write it with --nonblocking-update*"])


def test_there_is_nothing_to_update_without_a_baseline(pytester):
    result = pytester.runpytest(UPDATE)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*no file to update: give it with --nonblocking-baseline"])


@pytest.mark.parametrize("flags", [[], [UPDATE]], ids=["gate", "update"])
@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ("{", "*is not JSON*"),
        ('{"schema_version": 9}', "*has schema_version 9*upgrade*"),
        ('{"schema_version": 1, "worse_factor": NaN}', "*worse_factor must be a number, not nan"),
        ('{"schema_version": 1, "worse_factor": true}', "*worse_factor must be a number, not True"),
    ],
)
def test_a_bad_file_is_a_usage_error_and_stays_as_it_is(pytester, content, shown, flags):
    pytester.makepyfile(test_it=SUITE)
    path = pytester.path / "known.json"
    path.write_text(content, encoding="utf-8")
    result = pytester.runpytest(FLAG, *flags)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([shown])
    assert path.read_text("utf-8") == content
    assert "passed" not in result.stdout.str()


def test_a_place_that_cannot_be_written_is_a_usage_error(pytester):
    result = pytester.runpytest("--nonblocking-baseline=missing/known.json", UPDATE)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*cannot write*"])
