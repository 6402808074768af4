"""pytest-timeout beside our own time-out: whichever is shorter ends the test, and nothing stays."""

import signal

import pytest

pytest.importorskip("pytest_timeout", reason="pytest-timeout is not installed")

METHODS = [
    pytest.param(
        "signal",
        marks=pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="needs POSIX signals"),
    ),
    "thread",
]
CLEAN = """

def test_after():
    import asyncio, gc, threading
    assert "pytest_nonblocking" not in asyncio.Handle._run.__module__
    assert not [c for c in gc.callbacks if "nonblocking" in getattr(c, "__module__", "")]
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith("pytest-nonblocking")]
"""
GET = """
import pytest

@pytest.mark.nonblocking(concurrency=4{keywords})
async def test_it(nonblocking_client):
    await nonblocking_client.get("{path}")
"""


@pytest.fixture
def run(project):
    """Run a test of one path, and one after it that looks for what was left behind."""

    def run(path, *flags, keywords=""):
        project.makepyfile(test_it=GET.format(path=path, keywords=keywords) + CLEAN)
        return project.runpytest_subprocess(*flags, timeout=60)

    return run


@pytest.mark.parametrize("method", METHODS)
def test_a_longer_limit_changes_nothing(run, method):
    flags = "--timeout=50", f"--timeout-method={method}"
    result = run("/", *flags)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["nonblocking: 1 measured: 1 pass"])
    result = run("/hang", *flags, keywords=', timeout="0.3s"')
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["nonblocking: GET /hang does not finish"])


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="needs POSIX signals")
@pytest.mark.parametrize(("path", "line"), [("/hang", "*"), ("/stuck", "webapp.py:20: Failed")])
def test_a_shorter_limit_fails_the_test_and_the_next_one_runs(run, path, line):
    result = run(path, "--timeout=1", "--timeout-method=signal")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["E*Failed: Timeout (>1.0s) from pytest-timeout*", line])
    result.stdout.no_fnmatch_line("*measured*")


@pytest.mark.parametrize("path", ["/hang", "/stuck"])
def test_a_shorter_limit_of_the_thread_method_ends_the_run_as_without_us(run, path):
    flags = "--timeout=1", "--timeout-method=thread"
    with_us, without = run(path, *flags), run(path, *flags, "--nonblocking-mode=off")
    assert with_us.ret == without.ret == 1
    for result in (with_us, without):
        told = result.stdout.str() + result.stderr.str()
        assert "+ Timeout +" in told
        assert "INTERNALERROR" not in told
        assert "passed" not in told
    if path == "/stuck":
        assert "time.sleep(3600)" in with_us.stdout.str() + with_us.stderr.str()
