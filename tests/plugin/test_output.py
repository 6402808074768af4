"""What the copies of a failing test print and log: that of the warm-up and of one copy is shown."""

import pytest

SUITE = """
import asyncio, logging, sys, time
import pytest

@pytest.fixture(autouse=True)
def nothing_left():
    streams = sys.stdout, sys.stderr
    yield
    assert (sys.stdout, sys.stderr) == streams
    for handler in logging.getLogger().handlers:
        assert handler.filters == []

@pytest.mark.asyncio
@pytest.mark.nonblocking(concurrency=6)
async def test_it(virtual_user{fixtures}):
    print("printed by", virtual_user())
    print("error of", virtual_user(), file=sys.stderr)
    logging.getLogger("app").warning("logged by %d", virtual_user())
    {body}
"""
BLOCKS = "time.sleep(0.05)"


@pytest.fixture
def run(pytester):
    """Run a test that prints, and return what was printed of it."""

    def run(*flags, body=BLOCKS, fixtures=""):
        pytester.makepyfile(test_it=SUITE.format(body=body, fixtures=fixtures))
        # Only the output of a process of its own is seen whole where pytest captures none.
        start = pytester.runpytest_subprocess if "-s" in flags else pytester.runpytest
        result = start(*flags)
        result.assert_outcomes(failed=1)
        return result

    return run


def count(result, what):
    return sum(what in line for line in result.outlines)


WORDS = ("printed by", "error of", "logged by")


def test_the_warm_up_and_the_first_copy_of_the_first_burst_are_shown(run):
    result = run()
    assert [count(result, f"{word} 0") for word in WORDS] == [2, 2, 2]
    assert [count(result, word) for word in WORDS] == [2, 2, 2]
    result.stdout.fnmatch_lines(["* lines of other copies left out: shown is what the warm-up *"])


def test_a_run_without_capture_shows_everything(run):
    result = run("-s")
    assert count(result, "printed by") > 6
    assert count(result, "printed by 5") >= 1


def test_a_live_log_shows_everything(run):
    assert count(run("--log-cli-level=INFO"), "logged by 5") >= 1


def test_the_copy_in_which_the_body_fails_is_shown_too(run):
    result = run(body="assert virtual_user() != 4")
    result.stdout.fnmatch_lines(["*Captured output of copy 4 call*"])
    assert [count(result, f"{word} 4") for word in WORDS] == [1, 1, 1]
    assert [count(result, f"{word} 3") for word in WORDS] == [0, 0, 0]


def test_what_the_test_captures_itself_is_complete(run):
    body = "assert 'printed by' in capsys.readouterr().out; assert caplog.records; " + BLOCKS
    result = run(body=body, fixtures=", capsys, caplog")
    result.stdout.fnmatch_lines(["nonblocking: test_it blocks the event loop"])
