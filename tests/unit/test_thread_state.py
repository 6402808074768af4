"""What a thread is seen to wait for, by what the kernel says of it."""

import socket
import subprocess
import sys
import threading
import time

import pytest

from pytest_nonblocking.sentinel.system.thread_state import Witness


def seen_while(wait, release=lambda: None):
    """Return the state in which a thread that does ``wait`` is seen most of the time.

    ``release`` ends a wait that does not end by itself.
    """
    witness = Witness()
    if not witness.works:
        pytest.skip("this system does not report thread states")
    thread = threading.Thread(target=wait)
    thread.start()
    try:
        time.sleep(0.05)
        looks = [witness.state(thread.native_id) for _ in range(20)]
        return max(looks, key=looks.count)
    finally:
        release()
        thread.join()
        witness.close()


def test_time_is_all_that_a_sleep_waits_for():
    assert seen_while(lambda: time.sleep(0.2)) == "sleep"


def test_an_answer_may_be_late():
    ours, theirs = socket.socketpair()
    ours.settimeout(0.2)

    def receive():
        with pytest.raises(TimeoutError):
            ours.recv(1)

    with ours, theirs:
        assert seen_while(receive) == "blocked"


def test_a_lock_is_no_interpreter_lock():
    lock = threading.Lock()
    with lock:
        assert seen_while(lambda: lock.acquire(timeout=0.2)) == "lock"


@pytest.mark.parametrize("function", ["flock", "lockf"])
def test_a_lock_of_a_file_is_a_lock(tmp_path, function):
    fcntl = pytest.importorskip("fcntl", reason="Windows has no such locks")
    path = tmp_path / "lock"
    holds = f"import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.{function}(file, 2)"
    command = [sys.executable, "-c", f"{holds}; print(flush=True); input()", path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline()

        def lock():
            with path.open("w") as file:
                getattr(fcntl, function)(file, fcntl.LOCK_EX)

        assert seen_while(lock, holder.stdin.close) == "lock"


def test_a_witness_that_is_closed_while_it_looks_opens_nothing_more():
    witness = Witness()
    if not witness.works:
        pytest.skip("this system does not report thread states")
    stop, errors = threading.Event(), []

    def looks():
        while not stop.is_set():
            try:
                for thread in threading.enumerate():
                    witness.state(thread.native_id)
                    witness.forget(thread.native_id)
            except Exception as error:
                errors.append(error)

    looking = [threading.Thread(target=looks) for _ in range(4)]
    for thread in looking:
        thread.start()
    time.sleep(0.05)
    witness.close()
    stop.set()
    for thread in looking:
        thread.join()
    assert errors == []
    assert witness._files == {}
    assert witness.state(threading.get_native_id()) == "unknown"
