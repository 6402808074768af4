"""Beside other plugins and under pytest's own switches."""

import json

import pytest

TESTS = """
import pytest

@pytest.mark.nonblocking(concurrency=8)
@pytest.mark.parametrize("path", ["/", "/blocking", "/"] * 2)
async def test_it(nonblocking_client, path):
    assert (await nonblocking_client.get(path)).status_code == 200
"""


def needs(module):
    pytest.importorskip(module, reason=f"{module} is not installed")


@pytest.fixture
def suite(project):
    project.makepyfile(TESTS)
    return project


@pytest.mark.parametrize("flags", [[], ["--dist=loadgroup"]])
def test_xdist_reports_the_verdicts_of_all_workers(suite, flags):
    needs("xdist")
    report = suite.path / "report.json"
    result = suite.runpytest("-n", "2", *flags, f"--nonblocking-report={report}")
    result.assert_outcomes(passed=4, failed=2)
    result.stdout.fnmatch_lines(["nonblocking: 6 measured: 4 pass, 2 fail"])
    words = [test["verdict"] for test in json.loads(report.read_text("utf-8"))["tests"]]
    assert sorted(words) == ["fail"] * 2 + ["pass"] * 4


def test_cov_sees_the_lines_of_an_ordinary_run(suite):
    needs("pytest_cov")
    result = suite.runpytest_subprocess("--cov=webapp", "--cov-report=term-missing")
    result.assert_outcomes(passed=4, failed=2)
    # The lines of /hang, /stuck and /boom are not reached by any test.
    result.stdout.fnmatch_lines(["webapp.py *18, 20, 22*"])


def test_tests_in_random_order(suite, monkeypatch):
    needs("pytest_randomly")
    monkeypatch.delenv("PYTEST_ADDOPTS")
    result = suite.runpytest("-p", "randomly", "-p", "no:xdist")
    result.assert_outcomes(passed=4, failed=2)
    result.stdout.fnmatch_lines(["Using --randomly-seed=*", "nonblocking: 6 measured: *"])


def test_last_failed_runs_what_blocked(suite):
    suite.runpytest().assert_outcomes(passed=4, failed=2)
    suite.runpytest("--lf").assert_outcomes(failed=2)


def test_exit_first_stops_at_what_blocks(suite):
    suite.runpytest("-x").assert_outcomes(passed=1, failed=1)


def test_pdb_is_entered_once_for_what_blocks(suite):
    child = suite.spawn_pytest("--pdb -k 1")
    child.expect("blocks the event loop")
    child.expect("Pdb")
    child.sendline("q")
    rest = child.read().decode()
    assert "1 failed" in rest
    assert "Pdb" not in rest


def test_skip_and_xfail_in_the_body_and_an_expected_failure(project):
    project.makepyfile(
        """
        import pytest

        @pytest.mark.nonblocking(concurrency=8)
        async def test_skipped(nonblocking_client):
            pytest.skip("not today")

        @pytest.mark.nonblocking(concurrency=8)
        async def test_skipped_in_a_burst(nonblocking_client, virtual_user):
            await nonblocking_client.get("/")
            if virtual_user() == 5:
                pytest.skip("not six at once")

        @pytest.mark.nonblocking(concurrency=8)
        async def test_xfailed(nonblocking_client):
            await nonblocking_client.get("/")
            pytest.xfail("known")

        @pytest.mark.nonblocking(concurrency=8)
        @pytest.mark.xfail(reason="it blocks", strict=True)
        async def test_known_to_block(nonblocking_client):
            await nonblocking_client.get("/blocking")
        """
    )
    result = project.runpytest("-rsx")
    result.assert_outcomes(skipped=2, xfailed=2)
    result.stdout.fnmatch_lines(["SKIPPED*not today", "SKIPPED*not six at once"])
    result.stdout.fnmatch_lines(["XFAIL*known", "XFAIL*it blocks*"])


def test_without_the_plugin_the_marker_is_unknown(pytester):
    pytester.makepyfile(
        """
        import asyncio, pytest

        @pytest.mark.nonblocking
        @pytest.mark.asyncio
        async def test_it():
            await asyncio.sleep(0)
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:nonblocking", "--strict-markers")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*'nonblocking' not found in `markers` configuration option*"])
    pytester.runpytest_subprocess("-p", "no:nonblocking").assert_outcomes(passed=1, warnings=1)
