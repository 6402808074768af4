"""What is run, and what of the machine is measured meanwhile."""

import asyncio
import gc
import time

import budgets
import pytest

from pytest_nonblocking.analysis import verdict
from pytest_nonblocking.asgi.door import Door
from pytest_nonblocking.load import scenario
from pytest_nonblocking.load.burst import _Burst, current_copy, set_up
from pytest_nonblocking.load.schedule import replicate
from pytest_nonblocking.model import Calibration, Evidence, Limits
from pytest_nonblocking.sentinel import Sentinel


async def compute():
    end = time.thread_time() + 0.020
    while time.thread_time() < end:
        sum(range(100))


@pytest.mark.asyncio
@pytest.mark.parametrize(("later", "word"), [(1.0, "fail"), (8.0, "pass")])
async def test_a_machine_that_slows_down_between_bursts_is_noticed(monkeypatch, later, word):
    # Fast until the first burst: its other thread of the core is idle until then.
    factors = iter([1.0, 1.0])
    monkeypatch.setattr(scenario, "slowdown", lambda: next(factors, later))
    limits = Limits(max_lag=1)  # and twice the CPU that busy neighbours may explain
    evidence = await scenario.measure(compute, limits, Sentinel())
    assert {run.slowdowns for run in evidence.singles} == {(1.0, 1.0)}
    assert evidence.bursts[0].slowdowns == (1.0, later)
    assert {run.slowdowns for run in evidence.bursts[1:]} <= {(later, later)}
    assert verdict.judge(evidence, limits).verdict == word


class Simulated:
    """Makes runs of nothing, until it fails."""

    def __init__(self, works=100):
        self.works = works
        self.made = []

    async def run(self, concurrency, alone):
        self.made.append((concurrency, alone))
        return budgets.run(concurrency, cpu=concurrency / 2, idle=16)

    def fault(self):
        return None if len(self.made) < self.works else "the machine is broken"


@pytest.mark.asyncio
async def test_runs_are_made_until_the_evidence_is_enough():
    machine, shown = Simulated(), []
    start = Evidence(calibration=Calibration(cores=2))
    found = await replicate(machine, start, Limits(), lambda known, level: shown.append(level))
    assert [size for size, _ in machine.made] == shown == [1, 1, 1, 8, 50]
    assert verdict.judge(found, Limits()).verdict == "pass"
    # Only bursts get the single runs.
    assert [len(alone) for _, alone in machine.made] == [0, 0, 0, 3, 3]


@pytest.mark.asyncio
async def test_single_runs_after_a_burst_are_of_the_copies_that_have_run_in_it(monkeypatch):
    """Copies may differ: two of three that waited ten times as long as copy 0 were a queue."""
    sizes = [1, 1, 8, 1, 1, 1, 20, 1, 1]
    levels, ran = iter([*sizes, None]), []
    monkeypatch.setattr("pytest_nonblocking.load.schedule.next_level", lambda *_: next(levels))

    async def body():
        ran.append(current_copy())

    await scenario.measure(body, Limits(), Sentinel())
    warm_up, *copies = ran
    made = [[copies.pop(0) for _ in range(size)] for size in sizes]
    assert [warm_up, *made[0], *made[1]] == [0, 0, 0]
    assert sorted(made[2]) == [*range(8)]
    alone = [copy for (copy,) in (*made[3:6], *made[7:])]
    assert len({*alone[:3]}) == 3
    assert max(alone[:3]) < 8 <= max(alone[3:]) < 20


@pytest.mark.asyncio
async def test_whichever_copy_runs_alone_is_measured_from_the_door_on(monkeypatch):
    levels = iter([1, 4, 1, 1, None])
    monkeypatch.setattr("pytest_nonblocking.load.schedule.next_level", lambda *_: next(levels))
    door = Door(asyncio.get_running_loop())

    async def body():
        await asyncio.sleep(0.2)  # on the way to the app
        visit = await door.enter(current_copy())
        visit.returned()
        await visit.way_out()
        visit.gone()

    found = await scenario.measure(body, Limits(), Sentinel(), door=door)
    assert [run.makespan < 0.1 for run in found.singles] == [True] * 3


@pytest.mark.asyncio
async def test_copies_that_are_set_up_pass_the_door_together_though_others_have_ended(monkeypatch):
    levels = iter([8, None])
    monkeypatch.setattr("pytest_nonblocking.load.schedule.next_level", lambda *_: next(levels))
    loop, entered = asyncio.get_running_loop(), []
    door = Door(loop)

    async def body():
        copy = current_copy()
        if copy % 2 == 0:
            return  # before the others are set up
        async with set_up():
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1 * copy)  # on the way to the app
        visit = await door.enter(copy)
        entered.append(loop.time())
        visit.returned()
        await visit.way_out()
        visit.gone()

    await scenario.measure(body, Limits(), Sentinel(), door=door)
    assert len(entered) == 4
    assert max(entered) - min(entered) < 0.1


@pytest.mark.asyncio
async def test_a_fault_ends_the_measurement_and_leaves_no_verdict():
    machine = Simulated(works=4)
    found = await replicate(machine, Evidence(), Limits())
    assert len(machine.made) == 4
    assert found.unmeasured == "the machine is broken"
    assert verdict.judge(found, Limits()).verdict == "not-measured"


@pytest.mark.asyncio
async def test_a_task_that_the_app_starts_and_keeps_does_not_keep_the_burst():
    over, kept = asyncio.Event(), []

    async def body():
        if not kept:  # as a pool does that is opened by the first request
            kept.append(asyncio.ensure_future(over.wait()))
        await asyncio.sleep(0)

    await scenario.measure(body, Limits(), Sentinel())
    await asyncio.sleep(0)  # a look that is posted does nothing any more
    gc.collect()
    assert not [one for one in gc.get_objects() if type(one) is _Burst]
    over.set()
    await kept[0]


@pytest.mark.asyncio
async def test_what_the_plugin_takes_until_a_copy_ends_is_known_for_each_copy():
    sentinel = Sentinel()

    async def body():
        if current_copy() == 3:
            sentinel.probe.as_own(lambda: time.sleep(0.030))

    (burst, *_) = (await scenario.measure(body, Limits(concurrency=6), sentinel)).bursts
    taken = dict(zip(burst.ended, burst.taken, strict=True))
    assert {copy for copy, seconds in taken.items() if seconds >= 0.030} == {3, 4, 5}
    assert burst.taken == tuple(sorted(burst.taken))


# The heap


@pytest.fixture
def heap():
    """A heap of which nothing is frozen, as it was found."""
    before = gc.get_freeze_count()
    gc.unfreeze()
    yield
    gc.unfreeze()
    if before:
        gc.freeze()


def test_the_heap_is_frozen_within_a_measurement_and_not_after_it(heap):
    with scenario.frozen_heap():
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_the_heap_is_free_again_whatever_ends_the_measurement(heap, error):
    with pytest.raises(error), scenario.frozen_heap():
        raise error
    assert gc.get_freeze_count() == 0


def test_a_heap_that_the_application_has_frozen_stays_frozen(heap):
    gc.freeze()
    frozen = gc.get_freeze_count()
    # Not exactly as many: frozen objects may be freed meanwhile, by threads of the test's runner.
    with scenario.frozen_heap():
        assert gc.get_freeze_count() > 0.9 * frozen
    assert gc.get_freeze_count() > 0.9 * frozen
