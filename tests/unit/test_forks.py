"""A fork warns of the app's threads, and not of those with which it is measured."""

import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.skipif(sys.version_info < (3, 12), reason="no fork warns before CPython 3.12"),
    pytest.mark.skipif(sys.platform == "win32", reason="has no fork"),
]
FORKS = """
import asyncio, os, threading, warnings
from pytest_nonblocking.sentinel import Sentinel

async def main():
    sentinel = Sentinel()
    sentinel.start()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        before = [*warnings.filters]
        for _ in range(2):
            child = os.fork()
            if not child:
                os._exit(warnings.filters != before)
            assert os.waitpid(child, 0)[1] == 0
        sentinel.stop()
        assert warnings.filters == before
        print(*[warning.message for warning in caught])

{before}
asyncio.run(main())
"""


def warnings_of_fork(before):
    """Return what a fork in a measured loop warns of, in a process that has no other threads."""
    command = [sys.executable, "-c", FORKS.format(before=before)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_a_fork_in_a_measured_test_does_not_warn_of_our_threads():
    assert warnings_of_fork("").strip() == ""


def test_a_fork_in_a_measured_test_warns_of_the_threads_of_the_app():
    waits = "threading.Thread(target=threading.Event().wait, daemon=True).start()"
    assert "multi-threaded" in warnings_of_fork(waits)
