"""What the machine tells of itself: pressure, processors, and who else wants one."""

import os
from pathlib import Path

import pytest

from pytest_nonblocking import originals
from pytest_nonblocking.analysis.noise import pressed
from pytest_nonblocking.clocks import CLOCKS
from pytest_nonblocking.model import Pressure, Run
from pytest_nonblocking.sentinel.system import clock, crowd, pressure
from pytest_nonblocking.sentinel.system.pressure import Counters, Gauge, waited
from pytest_nonblocking.sentinel.system.procfs import read_small

# Pressure


def counters(*, waiting=None, idle=0.0, wall=0.0):
    return Counters(waiting, idle, 0.0, wall)


def test_nothing_waited_on_a_machine_without_pressure():
    assert waited(counters(waiting=5.0), counters(waiting=5.0, wall=1.0), 2) == 0


def test_a_task_may_have_waited_on_one_of_the_processors_that_are_averaged():
    before, after = counters(waiting=5.0), counters(waiting=5.1, wall=1.0)
    assert waited(before, after, 4) == pytest.approx(0.4)


def test_no_task_waits_for_longer_than_the_time_that_passed():
    assert waited(counters(waiting=5.0), counters(waiting=5.9, wall=1.0), 8) == 1


def test_a_counter_that_was_set_back_tells_of_no_wait():
    assert waited(counters(waiting=5.0), counters(waiting=0.0, wall=1.0), 2) == 0


@pytest.mark.parametrize(("idle", "most"), [(2.0, 0.0), (1.5, 0.5), (0.2, 1.0), (3.0, 0.0)])
def test_without_the_counter_a_task_may_have_waited_whenever_a_processor_was_busy(idle, most):
    before, after = counters(idle=7.0), counters(idle=7.0 + idle, wall=1.0)
    assert waited(before, after, 2) == pytest.approx(most)


def test_where_nothing_tells_nothing_is_excused():
    assert waited(counters(), counters(wall=1.0), 2) == 0


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Files of a machine, which the gauge reads in place of the real ones."""
    known = {"machine": tmp_path / "cpu", "group": tmp_path / "cpu.pressure"}
    monkeypatch.setattr(pressure, "_FILES", tuple(map(str, known.values())))
    monkeypatch.setattr(pressure, "_STAT", str(tmp_path / "stat"))

    def write(microseconds, to="machine"):
        line = f"avg10=0.00 avg60=0.00 avg300=0.00 total={microseconds}\n"
        known[to].write_text(f"some {line}full {line.replace(str(microseconds), '0')}")

    ticks = os.sysconf("SC_CLK_TCK")
    fields = ["0", "0", "0", 40 * ticks, 2 * ticks, "0", "0", 3 * ticks, "0", "0"]
    (tmp_path / "stat").write_text("cpu  " + " ".join(map(str, fields)) + "\ncpu0 1 2 3\n")
    return write


@pytest.fixture
def gauge():
    gauges = []

    def opened():
        gauges.append(Gauge())
        return gauges[-1]

    yield opened
    for one in gauges:
        one.close()


def test_the_gauge_reads_how_long_any_task_waited_so_far(files, gauge):
    files(2_500_000)
    one = gauge()
    assert one.read().waiting == 2.5
    files(2_600_000)
    assert one.read().waiting == 2.6


def test_of_the_machine_and_of_the_group_the_one_counts_that_waited_longer(files, gauge):
    files(2_500_000)
    files(4_000_000, to="group")
    assert gauge().read().waiting == 4


def test_the_gauge_reads_idle_and_stolen_time_in_seconds(files, gauge):
    read = gauge().read()
    assert read.waiting is None  # there is no file of pressure
    assert (read.idle, read.stolen) == (42, 3)


def test_a_file_of_pressure_that_cannot_be_understood_tells_of_no_wait(files, gauge, tmp_path):
    (tmp_path / "cpu").write_text("nothing of the kind\n")
    assert gauge().read().waiting == 0


def open_files():
    return len(list(Path("/dev/fd").iterdir()))


def test_a_gauge_that_was_closed_holds_nothing_and_may_be_closed_again(files):
    files(1)
    before = open_files()
    one = Gauge()
    one.close()
    one.close()
    assert open_files() == before
    assert one.read().waiting is None
    assert Gauge.closed().read().waiting is None


def test_pressure_is_told_as_a_share_of_the_run():
    whole = Run(8, 2.0, (), budget=None, pressure=Pressure(0.5))
    assert pressed(whole) == 0.25


# Processors


@pytest.fixture
def quota(tmp_path, monkeypatch):
    """Set the quota of a control group, and on how many processors this process may run."""

    def set_quota(text, processors=4):
        file = tmp_path / "cpu.max"
        if text is not None:
            file.write_text(text)
        monkeypatch.setattr(clock, "read_small", lambda path: read_small(str(file)))
        monkeypatch.setattr(
            originals.os, "sched_getaffinity", lambda pid: set(range(processors)), False
        )

    return set_quota


@pytest.mark.parametrize(
    ("text", "processors", "cores"),
    [
        (None, 4, 4),
        ("max 100000\n", 4, 4),
        ("150000 100000\n", 4, 1.5),
        ("800000 100000\n", 4, 4),
        ("50000 100000\n", 1, 0.5),
        ("nonsense\n", 3, 3),
    ],
)
def test_a_process_has_the_cores_that_its_affinity_and_its_quota_leave_it(
    quota, text, processors, cores
):
    quota(text, processors)
    assert clock.cores() == cores


def test_a_quota_of_nearly_nothing_is_still_a_part_of_a_core(quota):
    quota("1 1000000\n")
    assert clock.cores() == 0.1


def test_where_nobody_tells_of_affinity_all_processors_count(monkeypatch, quota):
    quota(None)
    monkeypatch.delattr(originals.os, "sched_getaffinity")
    monkeypatch.setattr(originals.os, "cpu_count", lambda: 7)
    assert clock.cores() == 7


# Threads and child processes


class Machine:
    """Threads and child processes whose states and processor times are set by hand."""

    def __init__(self):
        self.wall = 0
        self.states = {}  # of threads, by their native id
        self.cpu = {}
        self.children = {}  # processor time by process id; each has one thread, "pid/pid"
        self.runnable = set()
        self.looked_at = []
        self.forgotten = []

    def state(self, tid):
        self.looked_at.append(tid)
        return self.states[tid]

    def forget(self, tid):
        self.forgotten.append(tid)

    def cpu_of(self, tid):
        if tid not in self.cpu:
            raise ProcessLookupError(tid)
        return self.cpu[tid]

    def is_runnable(self, key):
        self.looked_at.append(key)
        return key in self.runnable

    def add(self, tid, state, cpu=0):
        self.states[tid], self.cpu[tid] = state, cpu


LOOP, WATCHDOG, CLIENT = 1, 2, 3
MS = 1_000_000


@pytest.fixture
def machine(monkeypatch):
    machine = Machine()
    machine.add(LOOP, "blocked")
    machine.add(WATCHDOG, "running")
    machine.add(CLIENT, "blocked")
    monkeypatch.setattr(CLOCKS, "wall_ns", lambda: machine.wall)
    monkeypatch.setattr(CLOCKS, "process_cpu_ns", lambda: sum(machine.cpu.values()))
    monkeypatch.setattr(CLOCKS, "thread_cpu_ns", lambda: machine.cpu[WATCHDOG])
    monkeypatch.setattr(crowd, "cpu_of_thread", machine.cpu_of)
    monkeypatch.setattr(crowd, "cpu_of_other_thread", machine.cpu_of)
    monkeypatch.setattr(crowd, "number_of_threads", lambda: len(machine.states))
    monkeypatch.setattr(crowd, "cpu_of_process", lambda pid: machine.children[pid])
    monkeypatch.setattr(crowd, "thread_ids", lambda: list(machine.states))
    monkeypatch.setattr(crowd, "any_child", lambda: bool(machine.children))
    monkeypatch.setattr(crowd, "descendants", lambda: iter(machine.children))
    monkeypatch.setattr(crowd, "names_in", lambda path: [path.split("/")[2]])
    monkeypatch.setattr(crowd, "is_runnable", machine.is_runnable)
    return machine


@pytest.fixture
def looker(machine):
    """Look after some time in which threads have computed; all in milliseconds."""
    looking = crowd.Crowd(
        machine, LOOP, lambda: crowd.Excluded({LOOP, WATCHDOG, CLIENT}, {"66/66"}, {CLIENT})
    )

    def look(cores=8, after=20, **computed):
        machine.wall += after * MS
        for name, milliseconds in computed.items():
            kind, number = name.split("_")
            times = machine.cpu if kind == "thread" else machine.children
            times[int(number)] += int(milliseconds * MS)
        machine.looked_at.clear()
        return looking.look(cores)

    return look


def test_threads_that_run_or_want_the_gil_are_counted(machine, looker):
    for tid, state in [(10, "running"), (11, "running"), (12, "gil"), (13, "blocked")]:
        machine.add(tid, state)
    looker()
    assert looker(thread_10=5, thread_11=5, thread_12=5, thread_13=5)[:2] == (2, 1)


def test_the_loop_and_the_watching_thread_are_not_counted(machine, looker):
    machine.states[LOOP] = "running"
    machine.add(10, "blocked")
    looker()
    assert looker(thread_1=5, thread_2=5, thread_10=5)[:2] == (0, 0)


def test_a_thread_that_has_not_used_the_processor_is_not_looked_at(machine, looker):
    machine.add(10, "running")
    for tid in range(100, 500):
        machine.add(tid, "blocked")
    looker()
    assert looker(thread_10=5).free == 1
    assert machine.looked_at == [10]


def test_a_thread_that_waits_for_a_processor_stays_in_view(machine, looker):
    machine.add(10, "running")
    looker()
    looker(thread_10=5)
    assert looker(after=100).free == 1
    looker(thread_2=5, after=100)
    assert looker(after=100).free == 1


def test_a_thread_that_has_had_no_processor_for_long_is_forgotten(machine, looker):
    machine.add(10, "running")
    machine.add(11, "gil")
    looker()
    looker(thread_10=5)
    assert looker(after=600, thread_11=5)[:2] == (0, 1)
    assert machine.looked_at == [11]


def test_a_look_knows_whether_any_other_thread_has_run_since_the_one_before(machine, looker):
    machine.add(10, "blocked")
    looker()
    assert not looker(thread_1=5, thread_2=5).ran
    seen = looker(thread_10=0.02)
    assert (seen.ran, seen.used_ns) == (True, 20_000)
    assert not looker().ran


def test_with_a_child_process_nobody_knows_whether_it_has_run(machine, looker):
    looker()
    machine.children = {55: 0}
    assert looker().ran


def test_clocks_that_were_not_read_at_once_say_nothing(machine, looker, monkeypatch):
    looker()
    looker()

    def late():
        machine.wall += MS
        return sum(machine.cpu.values())

    monkeypatch.setattr(CLOCKS, "process_cpu_ns", late)
    assert looker().ran


def test_a_thread_that_has_just_started_may_wait_for_its_first_core(machine, looker):
    looker()
    machine.add(11, "running")
    assert looker().free == 1


def test_a_first_child_process_may_wait_for_its_first_core(machine, looker):
    looker()
    machine.children = {55: 0}
    looker()
    machine.children[56] = 0
    machine.runnable = {"56/56"}
    assert looker().free == 1


@pytest.fixture
def quiet(machine, looker):
    """Look at threads that all wait; they were active before."""
    for tid in (10, 11):
        machine.add(tid, "lock")
    looker()
    looker(thread_10=5, thread_11=5)
    return lambda **options: looker(**options).quiet


def test_it_is_quiet_while_nothing_is_runnable(quiet):
    assert quiet()


@pytest.mark.parametrize("state", ["running", "gil"])
def test_it_is_not_quiet_while_a_thread_that_was_idle_for_long_is_runnable(machine, quiet, state):
    assert quiet(after=600)
    machine.states[11] = state
    assert not quiet(after=600)


def test_it_is_not_quiet_while_a_client_of_the_test_is_runnable(machine, quiet):
    machine.states[CLIENT] = "running"
    assert not quiet()


def test_it_is_not_quiet_while_a_thread_is_not_in_the_list(machine, quiet):
    assert quiet()
    machine.add(12, "running")
    assert not quiet(after=0)  # before the next search


def test_it_is_not_quiet_if_there_are_more_threads_than_a_look_can_see(machine, looker):
    tids = range(100, 170)
    for tid in tids:
        machine.add(tid, "lock")
    looker()
    looker(**{f"thread_{tid}": 5 for tid in tids})
    assert not looker().quiet


def test_it_is_not_quiet_while_the_list_of_child_processes_is_old(machine, looker, monkeypatch):
    def slow(path):
        machine.wall += MS
        return [path.split("/")[2]]

    monkeypatch.setattr(crowd, "names_in", slow)
    machine.children = {55: 0}
    looker()
    assert looker(child_55=5).quiet  # the search took 1 ms, and the next one is due after 50
    assert looker(after=10).quiet
    assert not looker(after=15).quiet


def test_it_is_not_quiet_while_a_child_that_was_active_is_not_looked_at(machine, looker):
    machine.children = {55: 0}
    looker()
    assert looker(child_55=5).quiet
    assert not looker(after=600).quiet


def test_a_thread_that_has_ended_is_let_go(machine, looker):
    machine.add(10, "running")
    machine.add(11, "running")
    looker()
    looker(thread_10=5, thread_11=5)
    del machine.states[10], machine.cpu[10]
    assert looker(thread_11=20).free == 1
    assert machine.forgotten == [10]


def test_a_thread_that_ends_while_all_are_asked_does_no_harm(machine, looker):
    machine.add(10, "running")
    machine.states[11] = "running"  # listed, and gone before its clock is read
    looker()
    assert looker(thread_10=5).free == 1


def test_a_look_ends_where_as_many_run_as_there_are_cores(machine, looker):
    for tid in range(10, 20):
        machine.add(tid, "running")
    looker()
    assert looker(cores=2, **{f"thread_{tid}": 5 for tid in range(10, 20)}).free == 2
    assert len(machine.looked_at) == 2


def test_the_threads_of_child_processes_are_counted(machine, looker):
    machine.children = {55: 0, 56: 0}
    machine.runnable = {"55/55", "56/56"}
    looker()
    assert looker(child_55=5).free == 1
    assert machine.looked_at[0] == "55/55"


def test_a_child_that_is_busy_anyway_is_left_out(machine, looker):
    machine.children = {66: 0}
    machine.runnable = {"66/66"}
    looker()
    assert looker(child_66=5).free == 0


def test_a_search_for_those_that_run_takes_two_per_cent_of_the_time_at_most(
    machine, looker, monkeypatch
):
    machine.add(10, "running")
    searches = []

    def slow_search():
        searches.append(machine.wall)
        machine.wall += 4 * MS
        return list(machine.states)

    monkeypatch.setattr(crowd, "thread_ids", slow_search)
    for _ in range(60):
        looker(after=10, thread_10=5)
    assert len(searches) <= 1 + 60 * 10 / 200 + 1


@pytest.fixture
def computing(machine, monkeypatch):
    """Search for the threads that compute, of which number 10 does; all in milliseconds.

    A search uses ``cpu`` and waits for the GIL for ``waits``.
    """
    searches = []
    machine.add(10, "running")
    computing = crowd.Computing(lambda: {LOOP, WATCHDOG, CLIENT})

    def search(cpu=0, waits=0, after=20):
        def thread_ids():
            searches.append(machine.wall)
            machine.cpu[WATCHDOG] += cpu * MS
            machine.wall += (cpu + waits) * MS
            return list(machine.states)

        monkeypatch.setattr(crowd, "thread_ids", thread_ids)
        machine.wall += after * MS
        machine.cpu[10] += 5 * MS
        machine.cpu[CLIENT] += 5 * MS  # and is not the app's
        return computing.threads(), len(searches)

    return search


def test_threads_that_have_just_computed_are_found(machine, computing):
    machine.add(11, "running")
    computing()
    assert computing()[0] == {10}
    machine.add(12, "running")
    assert computing(after=5)[0] == {10}  # before the next search
    assert computing()[0] == {10, 12}
    assert computing(after=600)[0] == {10}


def test_the_search_uses_two_per_cent_of_a_core_at_most(computing):
    for _ in range(60):
        _, searches = computing(cpu=4, after=10)
    assert 2 <= searches <= 1 + 60 * 10 / 200 + 1


def test_the_search_does_not_pause_for_its_wait_for_the_gil(computing):
    computing(waits=200)
    assert computing(waits=200)[1] == 2
