"""The profile function: what it records, what it reads of a call, and how it ends."""

import contextlib
import functools
import io
import multiprocessing
import os
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from pytest_nonblocking.guard import CallProfile, conditions, rules_of
from pytest_nonblocking.guard import sites as sites_module
from pytest_nonblocking.guard.rules import Rule
from pytest_nonblocking.guard.sites import UNKNOWN, Site

RULES = rules_of({})

pytestmark = pytest.mark.skipif(sys.getprofile() is not None, reason="this run is profiled itself")


def guarded(work, rules=RULES):
    """Call ``work`` under a profile and return what the guard saw."""
    profile = CallProfile(rules)
    profile.install()
    try:
        work()
    finally:
        profile.remove()
    assert sys.getprofile() is None
    return profile.guarded(0)


def names(work, rules=RULES):
    found = guarded(work, rules)
    assert found.unmeasured is None
    return [call.function for call in found.calls]


class Connection(sqlite3.Connection):
    """A subclass in Python."""


def test_a_method_of_a_c_type_is_known_by_its_class():
    db = sqlite3.connect(":memory:", factory=Connection)
    assert names(lambda: db.execute("select 1").fetchall()) == [
        "sqlite3.Connection.execute",
        "sqlite3.Cursor.fetchall",
    ]
    db.close()


def test_calls_from_one_place_are_counted_and_timed():
    def work():
        for _ in range(3):
            time.sleep(0.002)

    (call,) = guarded(work).calls
    assert (call.function, call.category, call.times) == ("time.sleep", "sleep", 3)
    assert call.seconds >= 0.006
    assert call.stack[-1].function.endswith("work")
    assert call.stack[-1].module == __name__


def test_beyond_the_most_stacks_calls_are_not_known_and_other_categories_are():
    def walk(depth):
        os.lstat(os.curdir)
        if depth:
            walk(depth - 1)
            walk(depth - 1)

    def work():
        walk(9)
        time.sleep(0.001)

    found = guarded(work)
    assert sum(call.function == "os.lstat" for call in found.calls) == 1000
    assert "time.sleep" in {call.function for call in found.calls}
    assert found.unknown == {"file"}
    assert "file calls came from more than 1000 stacks" in found.unmeasured


def test_a_call_that_raises_is_timed_too():
    def work():
        with socket.socket() as one:
            one.settimeout(0.01)
            one.bind(("127.0.0.1", 0))
            one.listen()
            with pytest.raises(TimeoutError):
                one.accept()

    (call,) = (call for call in guarded(work).calls if call.function == "socket.accept")
    assert call.seconds >= 0.005


def test_calls_within_a_call_are_timed_apart():
    def nested():
        time.sleep(0.001)
        return 1

    db = sqlite3.connect(":memory:")
    db.create_function("nested", 0, nested)
    found = guarded(lambda: db.execute("select nested()").fetchall())
    times = {call.function: call.seconds for call in found.calls}
    db.close()
    assert set(times) == {"time.sleep", "sqlite3.Connection.execute", "sqlite3.Cursor.fetchall"}
    assert sum(times.values()) >= 0.002 * 0.9


# Python functions


class Client:
    """A client that waits where no profile function sees it."""

    def fetch(self, *, fails=False):
        len(())  # returns, and the wait goes on
        time.sleep(0.002)
        if fails:
            raise ConnectionError
        return 1

    @classmethod
    def connect(cls):
        return cls()


class PatientClient(Client):
    def fetch(self, *, fails=False):
        return super().fetch(fails=fails)


IN_PYTHON = rules_of(
    dict.fromkeys((f"{__name__}.Client.fetch", f"{__name__}.Client.connect"), "database")
)


@pytest.mark.parametrize("client", [Client(), PatientClient()])
def test_a_python_function_is_counted_and_timed_with_all_that_it_calls(client):
    def work():
        client.fetch()
        time.sleep(0)
        with pytest.raises(ConnectionError):
            client.fetch(fails=True)

    calls = guarded(work, IN_PYTHON).calls
    assert {(call.function, call.category) for call in calls} == {
        (f"{__name__}.Client.fetch", "database")
    }
    assert sum(call.times for call in calls) == 2
    assert sum(call.seconds for call in calls) >= 0.004 * 0.9
    assert all(call.stack[-1].function != "Client.fetch" for call in calls)


def test_a_class_method_is_known_by_its_code():
    assert names(Client.connect, IN_PYTHON) == [f"{__name__}.Client.connect"]


def test_calls_after_a_python_function_are_seen_again():
    def work():
        Client().fetch()
        time.sleep(0.001)

    assert names(work, IN_PYTHON) == [f"{__name__}.Client.fetch", "time.sleep"]


def checked(function):
    @functools.wraps(function)
    def check(self):
        return function(self)

    return check


class Checked:
    @checked
    def fetch(self):
        return 1

    @checked
    def commit(self):
        return 2


def test_other_functions_of_a_decorator_are_not_accused():
    rules = rules_of({f"{__name__}.Checked.fetch": "database"})
    assert names(lambda: Checked().fetch(), rules) == [f"{__name__}.Checked.fetch"]
    assert names(lambda: Checked().commit(), rules) == []


def plain():
    return 1


alias = plain


class Aliased:
    def get(self):
        return 1

    fetch = get


def test_a_function_with_two_names_is_called_by_both():
    own = ("plain", "alias", "Aliased.get", "Aliased.fetch")
    rules = rules_of({f"{__name__}.{name}": "lock" for name in own})
    assert names(lambda: (plain(), Aliased().fetch()), rules) == [
        f"{__name__}.plain or {__name__}.alias",
        f"{__name__}.Aliased.get or {__name__}.Aliased.fetch",
    ]


def test_where_only_the_decorator_runs_functions_are_called_by_their_class():
    owner = f"{__name__}.Checked"
    rules = [
        Rule(owner, one, one, "database", in_python="decorated") for one in ("fetch", "commit")
    ]
    by_name = {rule.name: {owner: (rule,)} for rule in rules}
    assert names(lambda: Checked().commit(), type(RULES)(by_name, ())) == [owner]


def test_a_python_function_that_is_not_there_is_not_looked_for():
    missing = (
        "not_imported.Client.fetch",
        f"{__name__}.Client.missing",
        f"{__name__}.Missing.fetch",
    )
    assert names(lambda: Client().fetch(), rules_of(dict.fromkeys(missing, "database"))) == [
        "time.sleep"
    ]


def test_other_threads_are_not_seen():
    def work():
        thread = threading.Thread(target=time.sleep, args=(0.001,))
        thread.start()
        thread.join()

    assert "time.sleep" not in names(work)


def test_another_profiler_is_left_alone():
    def other(frame, event, argument):
        pass

    profile = CallProfile(RULES)
    sys.setprofile(other)
    try:
        profile.install()
        assert sys.getprofile() is other
        profile.remove()
        assert sys.getprofile() is other
    finally:
        sys.setprofile(None)
    assert "another profiler is set" in profile.guarded(0).unmeasured


def test_a_profiler_that_is_set_meanwhile_stays():
    def other(frame, event, argument):
        pass

    profile = CallProfile(RULES)
    profile.install()
    try:
        sys.setprofile(other)
        profile.remove()
        assert sys.getprofile() is other
    finally:
        sys.setprofile(None)
    assert "another profiler is set" in profile.guarded(0).unmeasured


def test_a_profile_that_the_app_ends_is_no_result():
    profile = CallProfile(RULES)
    profile.install()
    sys.setprofile(None)
    profile.remove()
    assert "another profiler is set, or was set" in profile.guarded(0).unmeasured


def test_a_fault_ends_the_profile_and_does_not_reach_the_app(monkeypatch):
    def fail(self, frame, called):
        raise RuntimeError("broken")

    monkeypatch.setattr(CallProfile, "_enter", fail)
    found = guarded(lambda: time.sleep(0))
    assert "internal error in the guard (RuntimeError: broken)" in found.unmeasured


def of_an_unusual_metaclass():
    class Unusual(type):
        def __eq__(cls, other):
            return cls is other

        def __getattribute__(cls, name):
            raise RuntimeError(name)

    return Unusual("Mapping", (dict,), {})()


class Lazy(dict):
    @property
    def __class__(self):
        raise RuntimeError("outside of a context")


@pytest.mark.parametrize("make", [of_an_unusual_metaclass, Lazy])
def test_an_unusual_object_of_the_apps_costs_no_result(make):
    mapping = make()

    def work():
        mapping.get("key")
        time.sleep(0.001)

    assert names(work) == ["time.sleep"]


@pytest.mark.parametrize("module", [None, 5])
def test_code_of_a_module_without_a_name_is_seen(module):
    code = "pause(0.001)\n{}.get(1)"
    assert names(lambda: exec(code, {"__name__": module, "pause": time.sleep})) == ["time.sleep"]


def test_a_condition_that_cannot_be_read_accuses_nobody():
    closed = socket.socket()
    closed.close()

    def work():
        with pytest.raises(OSError, match=r"\w"):
            closed.recv(1)

    assert names(work) in ([], ["socket.recv"])  # a closed socket still has its time-out


def test_a_profile_that_is_ended_elsewhere_is_dropped_with_the_next_event():
    profile = CallProfile(RULES)
    profile.install()
    thread = threading.Thread(target=profile.remove)
    thread.start()
    thread.join()
    len(())
    assert sys.getprofile() is None


# Arguments


class Sites:
    """Records what a condition reads."""

    def __init__(self):
        self.seen = []

    def __call__(self, site):
        self.seen.append(site.argument(0, "seconds", "default"))
        return False


@pytest.fixture(params=["with columns", "without columns"])
def arguments(request, monkeypatch):
    """Return the first argument of each call of time.sleep in some work.

    Code has columns from CPython 3.11 on, unless they are switched off.
    """
    if request.param == "without columns":
        monkeypatch.setattr(sites_module, "_span", lambda frame: None)
    elif sys.version_info < (3, 11):
        pytest.skip("no columns")
    sites = Sites()
    (rule,) = RULES.by_name["sleep"]["time"]
    mine = {"sleep": {"time": (rule._replace(when=sites),)}}
    rules = type(RULES)(mine, ())

    def read(work):
        guarded(work, rules)
        return sites.seen

    return read


PAUSE = 0.0


class Settings:
    pause = 5
    on_class = property(lambda self: 0)

    def __init__(self):
        self.pause = 0.0


def test_constants_and_variables_are_read(arguments):
    settings, local = Settings(), 0.0

    def work():
        time.sleep(0.0)
        time.sleep(local)
        time.sleep(PAUSE)
        time.sleep(settings.pause)
        time.sleep(
            0,
        )

    assert arguments(work) == [0.0, 0.0, 0.0, 0.0, 0]


def test_nothing_is_called_to_read_an_argument(arguments):
    settings, many = Settings(), (0,)

    def work():
        time.sleep(settings.on_class)
        time.sleep(int("0"))
        time.sleep(*many)

    assert arguments(work) == [UNKNOWN] * 3


pause = time.sleep


def sleep(seconds):
    return seconds


def test_other_text_of_the_line_is_no_argument(arguments):
    def work():
        pause(0.001)  # not sleep(0): it needs a moment
        sleep(0), pause(0.001)
        print("sleep(0)", pause(0.001))

    assert arguments(work) == [0.001] * 3


def test_a_call_is_read_however_it_is_written(arguments):
    def work():
        pause(0)
        time.sleep(0)  # sleep() returns at once
        print("sleep(1)", time.sleep(0))
        sleep(1), pause(0)
        time.sleep(  # :)
            0,  # (
        )
        (time
         .sleep(0))  # fmt: skip
        nap = time.sleep; nap(0)  # noqa: E702  # fmt: skip

    assert arguments(work) == [0] * 7


@pytest.mark.skipif(sys.version_info < (3, 11), reason="no columns")
def test_two_calls_of_one_line_are_told_apart_by_their_columns():
    def work():
        time.sleep(0), time.sleep(0.001)

    (call,) = guarded(work).calls
    assert (call.function, call.times) == ("time.sleep", 1)


def test_a_method_is_told_from_others_in_its_line(monkeypatch):
    def work():
        p = select.poll(); p.poll(0)  # noqa: E702  # fmt: skip
        print(p.poll(0), bool(lock.acquire(False)))

    lock = threading.Lock()
    lock.acquire()
    assert names(work) == []
    monkeypatch.setattr(sites_module, "_span", lambda frame: None)
    assert names(work) == []


def test_what_a_with_statement_calls_has_no_arguments():
    with io.StringIO("0") as file:
        assert Site(sys._getframe(), file.__enter__).argument(0, "blocking") is UNKNOWN


def test_code_without_a_source_has_no_arguments(arguments):
    namespace = {"time": time}
    exec(compile("def work():\n    time.sleep(0)\n", "<generated>", "exec"), namespace)
    assert arguments(namespace["work"]) == [UNKNOWN]


# Conditions


def holds(condition, function, source_frame=None):
    return condition(Site(source_frame or sys._getframe(), function))


def test_a_socket_waits_by_its_time_out():
    with socket.socket() as one:
        assert holds(conditions.waits_for_peer, one.recv)
        one.settimeout(1)
        assert holds(conditions.waits_for_peer, one.recv)
        one.setblocking(False)
        assert not holds(conditions.waits_for_peer, one.recv)


def test_a_datagram_is_sent_without_waiting():
    with socket.socket(type=socket.SOCK_DGRAM) as one:
        assert not holds(conditions.waits_for_peer_to_take, one.send)
        assert holds(conditions.waits_for_peer, one.recv)


def test_a_lock_waits_while_it_is_held():
    lock, again = threading.Lock(), threading.RLock()
    assert not holds(conditions.lock_is_held, lock.acquire)
    lock.acquire()
    assert holds(conditions.lock_is_held, lock.acquire)
    again.acquire()
    assert not holds(conditions.lock_is_anothers, again.acquire)


def test_a_lock_of_another_thread_waits():
    again, taken, go_on = threading.RLock(), threading.Event(), threading.Event()

    def take():
        with again:
            taken.set()
            go_on.wait()

    thread = threading.Thread(target=take)
    thread.start()
    taken.wait()
    assert holds(conditions.lock_is_anothers, again.acquire)
    go_on.set()
    thread.join()


class Driver:
    """What a condition reads of psycopg2's cursors."""

    name = None

    def fetchall(self):
        """Return the rows."""


def test_rows_of_a_cursor_without_a_name_are_in_memory():
    cursor = Driver()
    assert not holds(conditions.rows_are_at_server, cursor.fetchall)
    cursor.name = "named"
    assert holds(conditions.rows_are_at_server, cursor.fetchall)


@pytest.mark.parametrize(("kwasync", "waits"), [({}, True), ({"async_": 1}, False)])
def test_an_asynchronous_connection_of_psycopg2_does_not_wait(kwasync, waits):
    site = Site(sys._getframe(), Driver.__init_subclass__)
    assert conditions.driver_connects(site) is waits


@pytest.mark.skipif(not hasattr(select, "poll"), reason="no poll on this system")
def test_a_poll_with_time_out_zero_does_not_wait():
    poll, zero = select.poll(), 0

    def work():
        poll.poll(0)
        poll.poll(zero)

    assert names(work) == []
    assert names(lambda: poll.poll(1)) == ["select.poll.poll"]


def test_a_socket_does_not_wait_where_the_call_declines_it():
    one, other = socket.socketpair()
    buffer = bytearray(1)

    def work():
        one.send(b"x", socket.MSG_DONTWAIT)
        other.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK)
        other.recv_into(buffer, 1, flags=socket.MSG_DONTWAIT)

    with one, other:
        assert names(work) == []
        assert names(lambda: one.send(b"x", 0)) == ["socket.send"]
        assert names(lambda: other.recv(1)) == ["socket.recv"]


def test_the_name_of_an_address_is_looked_up():
    address = ("127.0.0.1", 80)

    def work():
        for look_up in (lambda: socket.gethostbyaddr("127.0.0.1"), lambda: socket.getfqdn("::1")):
            with contextlib.suppress(OSError):
                look_up()
        socket.getnameinfo(address, 0)

    found = [name for name in names(work) if name.startswith("socket.")]  # and an import's
    assert found == ["socket.gethostbyaddr", "socket.gethostbyaddr", "socket.getnameinfo"]
    numeric = socket.NI_NUMERICHOST
    assert names(lambda: socket.getnameinfo(address, numeric | socket.NI_NUMERICSERV)) == []
    assert names(lambda: socket.gethostbyname("127.0.0.1")) == []


def test_the_lock_of_a_file_waits_unless_the_call_declines_it(tmp_path):
    fcntl = pytest.importorskip("fcntl")

    def work():
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(fd, fcntl.LOCK_UN)

    with (tmp_path / "file").open("w") as file:
        fd = file.fileno()
        assert names(work) == []
        assert names(lambda: fcntl.flock(fd, fcntl.LOCK_EX)) == ["fcntl.flock"]


def test_a_lock_of_multiprocessing_that_is_only_tried_does_not_wait():
    lock = multiprocessing.get_context("spawn").Lock()
    lock.acquire()
    assert names(lambda: lock.acquire(block=False)) == []
    assert names(lambda: lock.acquire(timeout=0.001)) == ["multiprocessing.Semaphore.acquire"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_fork_and_the_wait_for_its_end_are_found():
    def work():
        for wait in (lambda child: os.wait3(0), lambda child: os.wait4(child, 0)):
            child = os.fork()
            if not child:
                os._exit(0)
            wait(child)
        with contextlib.suppress(ChildProcessError):
            os.wait3(os.WNOHANG)

    assert names(work) == ["os.fork", "os.wait3", "os.wait4"]


@pytest.mark.skipif(not hasattr(signal, "sigtimedwait"), reason="not on this system")
def test_the_wait_for_a_signal_is_found():
    def work():
        signal.raise_signal(signal.SIGUSR2)
        signal.sigwait([signal.SIGUSR2])
        signal.sigtimedwait([signal.SIGUSR2], 0.001)
        signal.sigtimedwait([signal.SIGUSR2], 0)

    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    try:
        assert names(work) == ["signal.sigwait", "signal.sigtimedwait"]
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_the_wait_for_input_is_found(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n"))
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert names(lambda: input()) == ["builtins.input"]


@pytest.mark.skipif(not hasattr(os, "lockf"), reason="not on this system")
def test_the_lock_of_a_section_waits_unless_it_is_tried_or_ended(tmp_path):
    def work():
        os.lockf(fd, os.F_TLOCK, 0)
        os.lockf(fd, os.F_ULOCK, 0)

    with (tmp_path / "file").open("w") as file:
        fd = file.fileno()
        assert names(work) == []
        assert names(lambda: os.lockf(fd, os.F_LOCK, 0)) == ["os.lockf"]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="no sqlite3.Blob")
def test_a_blob_of_a_database_is_read_and_written():
    db = sqlite3.connect(":memory:")
    db.execute("create table one (data)")
    db.execute("insert into one values (zeroblob(2))")
    with db.blobopen("one", "data", 1) as blob:

        def work():
            blob.write(b"x")
            blob.read(1)

        assert names(work) == ["sqlite3.Blob.write", "sqlite3.Blob.read"]
    db.close()


def test_a_process_that_is_only_polled_does_not_wait():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:

        def work():
            process.poll()
            process.send_signal(0)

        assert names(work) == []


def test_files_pipes_and_memory_are_told_apart(tmp_path):
    path = tmp_path / "file"
    path.write_text("x")
    reader, writer = os.pipe()
    with path.open() as text, path.open("rb") as raw, os.fdopen(reader, "rb") as pipe:
        for file in (text, raw):
            assert holds(conditions.is_on_file, file.read)
            assert not holds(conditions.is_on_pipe, file.read)
        assert holds(conditions.is_on_pipe, pipe.read)
        assert not holds(conditions.is_on_file, pipe.read)
        os.set_blocking(reader, False)
        assert not holds(conditions.is_on_pipe, pipe.read)
    os.close(writer)


def test_output_is_no_file():
    assert not holds(conditions.is_on_file, sys.__stdout__.write)


def test_the_profile_costs_an_app_no_more_than_its_run():
    # No speed: the profile must not change what code returns or raises.
    def work():
        return sorted(map(str, range(50)), key=len)

    profile = CallProfile(RULES)
    profile.install()
    try:
        assert work() == sorted(map(str, range(50)), key=len)
        with pytest.raises(ZeroDivisionError):
            divmod(1, 0)
    finally:
        profile.remove()
