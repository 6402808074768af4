"""Kernels without some of the statistics, and processes without a descriptor left."""

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pytest_nonblocking.model import Calibration
from pytest_nonblocking.sentinel import NoDescriptorLeftError, clock_name
from pytest_nonblocking.sentinel.system import children, clock, names, pressure, procfs
from pytest_nonblocking.sentinel.system import thread_state as states

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")


@pytest.fixture(autouse=True)
def caches():
    cached = (clock.has_schedstat, names.clock_name, children._lists_children)
    for one in cached:
        one.cache_clear()
    yield
    for one in cached:
        one.cache_clear()


@pytest.fixture
def schedstat(monkeypatch, tmp_path):
    """Return a function that sets what each thread's schedstat file holds."""

    def write(text):
        folder = tmp_path / str(os.getpid())
        folder.mkdir()
        (folder / "schedstat").write_text(text)
        monkeypatch.setattr(clock, "_TASKS", str(tmp_path))

    return write


@pytest.fixture
def child():
    """A process with a child of its own."""
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1); input()'])"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe) as process:
        assert process.stdout.readline().strip() == b"1"
        yield process.pid
        process.communicate(b"end\n")


# The clock


@pytest.mark.parametrize("text", ["0 0 0\n", "", "17 4\n"])
def test_a_kernel_without_scheduler_statistics_has_the_coarser_clock(schedstat, text):
    schedstat(text)
    assert not clock.has_schedstat()
    assert isinstance(clock.thread_clock(threading.get_native_id()), clock.FallbackThreadClock)
    assert clock_name() == "thread_time with a canary thread"


def test_a_thread_that_never_waited_for_a_core_is_no_kernel_without_statistics(schedstat):
    schedstat("1234567 0 12\n")
    assert clock.has_schedstat()


def test_the_name_of_the_clock_says_what_the_system_lacks(monkeypatch):
    monkeypatch.setattr(names, "has_schedstat", lambda: True)
    monkeypatch.setattr(states, "_FUTEX", None)
    monkeypatch.setattr(pressure, "_FILES", ())
    name = clock_name()
    assert name == "schedstat, without thread states, without CPU pressure"
    assert Calibration(clock=name).knows_delays
    assert not Calibration(clock="thread_time with a canary thread").knows_delays


# Thread states


@pytest.mark.skipif(not states.Witness().works, reason="this kernel has no thread states to lose")
def test_a_state_file_that_cannot_be_read_tells_nothing(monkeypatch):
    monkeypatch.setattr(states, "reader", lambda: lambda file: b"")
    witness = states.Witness()
    assert not witness.works
    assert witness.state(threading.get_native_id()) == "unknown"
    witness.close()


@pytest.mark.skipif(not states.Witness().works, reason="this kernel has no thread states")
def test_a_witness_of_many_threads_keeps_few_files_open(monkeypatch):
    monkeypatch.setattr(states, "most_kept", lambda: 4)
    before = len(list(Path("/proc/self/fd").iterdir()))
    witness, over = states.Witness(), threading.Event()
    threads = [threading.Thread(target=over.wait) for _ in range(20)]
    for thread in threads:
        thread.start()
    seen = [witness.state(thread.native_id) for thread in threads for _ in range(2)]
    kept = len(list(Path("/proc/self/fd").iterdir())) - before
    over.set()
    for thread in threads:
        thread.join()
    assert "unknown" not in seen
    assert kept <= 4
    for thread in threads:
        while witness.state(thread.native_id) != "unknown":
            time.sleep(0.001)  # joined, and not yet gone
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    witness.close()


# Child processes


@pytest.mark.parametrize("lists", [True, False])
def test_descendants_are_found_with_and_without_a_list_of_children(monkeypatch, child, lists):
    monkeypatch.setattr(children, "_lists_children", lambda: lists)
    found = list(children.descendants())
    assert child in found
    assert len([pid for pid in children.descendants(child) if pid in found]) == 1


def test_without_scheduler_statistics_the_cpu_of_children_is_read_from_their_clocks(
    monkeypatch, child
):
    monkeypatch.setattr(children, "has_schedstat", lambda: False)
    monkeypatch.setattr(children, "forced_fallback", lambda: False)
    monkeypatch.setattr(children, "_by_psutil", dict)
    usage = children.child_processes()
    assert usage[str(child)].cpu > 0
    assert not children.is_runnable(str(child))


# Descriptors


def exhausted(*args):
    raise OSError(errno.EMFILE, "Too many open files")


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("open", lambda: procfs.read_small("/proc/self/stat")),
        ("open", pressure.Gauge),
        ("open", lambda: clock.ThreadClock(threading.get_native_id())),
        ("listdir", lambda: procfs.names_in("/proc/self/task")),
    ],
)
def test_a_descriptor_that_is_missing_is_an_error_in_words_and_no_missing_data(
    monkeypatch, name, read
):
    monkeypatch.setattr(procfs.os, name, exhausted)
    with pytest.raises(NoDescriptorLeftError, match="no file descriptor was left for the meas"):
        read()


@pytest.mark.skipif(not states.Witness().works, reason="this kernel has no thread states")
def test_a_thread_state_that_is_missing_for_want_of_a_descriptor_is_an_error(monkeypatch):
    witness = states.Witness()
    monkeypatch.setattr(witness, "_open", lambda *args: -1)
    monkeypatch.setattr(witness, "_errno", lambda: errno.EMFILE)
    witness.forget(threading.get_native_id())
    with pytest.raises(NoDescriptorLeftError):
        witness.state(threading.get_native_id())
    witness.close()


@pytest.mark.parametrize(
    ("limit", "kept"), [(64, 4), (128, 8), (1024, 64), (1 << 20, 64), (-1, 64)]
)
def test_the_app_has_most_of_the_descriptors_to_itself(monkeypatch, limit, kept):
    monkeypatch.setattr(procfs, "_limit", lambda: limit)
    assert procfs.most_kept() == kept


def test_a_folder_that_does_not_exist_is_empty():
    assert procfs.names_in("/does/not/exist") == []
    assert procfs.read_small(str(Path("/does/not/exist"))) == b""
