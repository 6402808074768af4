"""Which descriptors a burst has opened."""

import socket
import sys

import pytest

from pytest_nonblocking.sentinel.system import descriptors

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows lists no descriptors of a process"
)


def test_what_stays_open_is_counted_and_what_is_closed_is_not(tmp_path):
    before = descriptors.held()
    with socket.socket(), (tmp_path / "file").open("w"):
        socket.socket().close()
        assert descriptors.opened_since(before) == 2
    assert descriptors.opened_since(before) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="the plugin opens files of /proc on Linux")
def test_what_the_plugin_opens_is_not():
    before = descriptors.held()
    with open("/proc/self/stat"):  # noqa: PTH123  # as the plugin does
        assert descriptors.opened_since(before) == 0


def test_a_system_that_lists_none_has_opened_none(monkeypatch, tmp_path):
    monkeypatch.setattr(descriptors, "_FOLDER", tmp_path / "missing")
    assert descriptors.opened_since(descriptors.held()) == 0
