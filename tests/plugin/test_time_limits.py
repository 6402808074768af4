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
# What the test needs is imported before its time begins, and setting it up takes none of that time:
# on a busy machine either takes as long as the limit.
TESTS = """
import pytest
import pytest_nonblocking.measuring

@pytest.mark.nonblocking(concurrency=4{keywords})
@pytest.mark.parametrize("path", {paths})
async def test_it(nonblocking_client, path):
    await nonblocking_client.get(path)


def test_after():
    import asyncio, gc, threading
    assert "pytest_nonblocking" not in asyncio.Handle._run.__module__
    assert not [c for c in gc.callbacks if "nonblocking" in getattr(c, "__module__", "")]
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith("pytest-nonblocking")]
"""


LIMIT = "--timeout=2", "-o", "timeout_func_only=true"


@pytest.fixture
def run(project):
    """Run a test of each path, and one after them that looks for what was left behind."""

    def run(paths, *flags, keywords=""):
        project.makepyfile(test_it=TESTS.format(paths=paths, keywords=keywords))
        return project.runpytest_subprocess(*flags, timeout=60)

    return run


@pytest.mark.parametrize("method", METHODS)
def test_a_longer_limit_changes_nothing(run, method):
    flags = "--timeout=50", f"--timeout-method={method}"
    result = run(["/", "/hang"], *flags, keywords=', timeout="1s"')
    result.assert_outcomes(failed=1, passed=2)
    result.stdout.fnmatch_lines(
        [
            "nonblocking: GET /hang does not finish, even alone",
            "nonblocking: 2 measured: 1 pass, 1 fail",
        ]
    )


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="needs POSIX signals")
def test_a_shorter_limit_fails_the_test_and_the_next_one_runs(run):
    result = run(["/hang", "/stuck"], *LIMIT, "--timeout-method=signal")
    result.assert_outcomes(failed=2, passed=1)
    shown = "E*Failed: Timeout (>2.0s) from pytest-timeout*"
    result.stdout.fnmatch_lines([shown, shown, "webapp.py:20: Failed"])
    result.stdout.no_fnmatch_line("nonblocking: [0-9] measured: *")


@pytest.mark.parametrize(
    ("path", "mode"), [("/hang", "enforce"), ("/stuck", "enforce"), ("/stuck", "off")]
)
def test_a_shorter_limit_of_the_thread_method_ends_the_run_as_without_us(run, path, mode):
    result = run([path], *LIMIT, "--timeout-method=thread", f"--nonblocking-mode={mode}")
    shown = result.stdout.str() + result.stderr.str()
    assert result.ret == 1
    assert "+ Timeout +" in shown
    assert ("time.sleep(3600)" in shown) is (path == "/stuck")
    assert not any(word in shown for word in ("INTERNALERROR", "passed", "failed"))
