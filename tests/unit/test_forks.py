"""A fork warns of the app's threads, and not of those with which it is measured."""

import asyncio
import os
import sys
import threading
import warnings

import pytest

from pytest_nonblocking.sentinel import Sentinel

pytestmark = [
    pytest.mark.skipif(sys.version_info < (3, 12), reason="no fork warns before CPython 3.12"),
    pytest.mark.skipif(
        sys.platform != "linux", reason="the threads of others are counted on Linux"
    ),
]


def fork():
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)


def warnings_of_fork():
    async def main():
        with Sentinel(), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            before = warnings.filters
            fork()
            assert warnings.filters is before
        return [str(one.message) for one in caught]

    return asyncio.run(main())


def test_a_fork_in_a_measured_test_does_not_warn_of_our_threads():
    assert warnings_of_fork() == []


def test_a_fork_in_a_measured_test_warns_of_the_threads_of_the_app():
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        (message,) = warnings_of_fork()
    finally:
        over.set()
        thread.join()
    assert "multi-threaded" in message
