"""The door: who is held, until when, and that nobody stays there."""

import asyncio

import pytest

from pytest_nonblocking.asgi.door import Door, _Gathering
from pytest_nonblocking.model import CopyEnd

pytestmark = pytest.mark.asyncio


class Record:
    """Notes the turns; the clock stands still."""

    def __init__(self):
        self.turns = []

    def turn(self, name):
        if self.turns[-1:] != [name]:
            self.turns.append(name)

    def end_at(self, name, now_ns):
        return CopyEnd(0.007, 0.002)


@pytest.fixture
def record():
    return Record()


@pytest.fixture
def begun():
    return []


@pytest.fixture
def shut(record, begun):
    """Return how to make a door that is shut for a burst."""

    def make(copies, first=0):
        door = Door(asyncio.get_running_loop())
        indices = range(first, first + copies)
        door.shut(indices, record, lambda: begun.append(True))
        return door

    return make


async def turns_of_the_loop(count=5):
    for _ in range(count):
        await asyncio.sleep(0)


def enter(door, *copies):
    return [asyncio.ensure_future(door.enter(copy)) for copy in copies]


async def test_the_requests_of_all_copies_enter_together(shut, record, begun):
    door = shut(3)
    early = enter(door, 0, 1)
    await turns_of_the_loop()
    assert not any(task.done() for task in early)
    assert (door.is_gathering, door.has_begun, record.turns, begun) == (True, False, [], [])
    await door.enter(2)
    await asyncio.gather(*early)
    assert (door.inside, record.turns, begun) == (3, ["window"], [True])


async def test_nobody_waits_for_copies_that_have_ended(shut):
    door = shut(3)
    (held,) = enter(door, 0)
    await turns_of_the_loop()
    door.ended(1)
    door.ended(2)
    await held


async def test_another_copy_alone_is_measured_as_the_first_is(shut, record, begun):
    door = shut(1, first=31)
    await door.enter(31)
    assert (door.has_begun, record.turns, begun) == (True, ["window"], [True])


async def test_one_copy_alone_is_let_in_at_once_and_its_answer_leaves_at_once(shut):
    door = shut(1)
    visit = await door.enter(0)
    assert not visit.keeps_answers
    await visit.way_out()


async def test_answers_leave_when_the_application_has_nothing_to_do(shut, record):
    door = shut(2)
    first, second = await asyncio.gather(*enter(door, 0, 1))
    assert first.keeps_answers
    first.answered()
    first.returned()
    (leaving,) = [asyncio.ensure_future(first.way_out())]
    await turns_of_the_loop()
    assert not leaving.done()
    second.answered()
    assert record.turns == ["window", "after"]
    await turns_of_the_loop()
    assert not leaving.done()  # a background task
    second.returned()
    await leaving
    assert record.turns == ["window", "after", None]
    assert door.ends == {0: CopyEnd(0.007, 0.002), 1: CopyEnd(0.007, 0.002)}


async def test_the_second_requests_of_all_copies_enter_together_too(shut, record):
    door = shut(2)
    for _ in range(2):
        visits = await asyncio.gather(*enter(door, 0, 1))
        for visit in visits:
            visit.returned()
        for visit in visits:
            await visit.way_out()
            visit.gone()
    assert record.turns == ["window", None, "window", None]


async def test_requests_that_a_copy_sends_at_once_enter_with_each_other(shut):
    door = shut(2)
    held = enter(door, 0, 0)
    await turns_of_the_loop()
    assert not any(task.done() for task in held)
    await door.enter(1)
    await asyncio.gather(*held)
    await door.enter(1)  # it comes late, into a round that has begun
    assert door.inside == 4


async def test_who_waits_too_long_for_others_is_let_in(shut, monkeypatch):
    door = shut(2)
    (held,) = enter(door, 0)
    await turns_of_the_loop()
    door.look()
    await turns_of_the_loop()
    assert not held.done()
    monkeypatch.setattr(_Gathering, "overdue", True)
    door.look()
    await held
    await door.enter(1)


async def test_answers_that_wait_too_long_for_others_leave(shut, monkeypatch):
    door = shut(2)
    first, _ = await asyncio.gather(*enter(door, 0, 1))
    first.returned()
    leaving = asyncio.ensure_future(first.way_out())
    await turns_of_the_loop()
    monkeypatch.setattr(_Gathering, "overdue", True)
    door.look()
    await leaving


async def test_the_end_of_the_burst_lets_go_whatever_is_held(shut, record):
    door = shut(3)
    held = enter(door, 0)
    await turns_of_the_loop()
    door.open()
    await asyncio.gather(*held)
    await door.enter(1)
    assert record.turns == [None]

    door = shut(2)
    first, second = await asyncio.gather(*enter(door, 0, 1))
    first.returned()
    leaving = asyncio.ensure_future(first.way_out())
    await turns_of_the_loop()
    door.open()
    await leaving
    second.returned()
    await second.way_out()


async def test_a_request_that_is_cancelled_at_the_door_keeps_nobody_there(shut):
    door = shut(2)
    (held,) = enter(door, 0)
    await turns_of_the_loop()
    held.cancel()
    await asyncio.gather(held, return_exceptions=True)
    assert not door.is_gathering
    door.ended(0)
    await door.enter(1)


async def test_the_answer_of_a_copy_whose_client_has_left_is_not_waited_for(shut, record):
    door = shut(2)
    first, second = await asyncio.gather(*enter(door, 0, 1))
    second.returned()
    door.ended(0)
    assert record.turns == ["window", "after"]
    first.returned()
    assert record.turns == ["window", "after", None]


@pytest.mark.parametrize("copy", [None, 0])
async def test_nobody_is_held_but_in_a_burst_and_for_a_copy(record, copy):
    door = Door(asyncio.get_running_loop())
    await door.enter(copy)
    door.shut(range(2), record, lambda: None)
    await door.enter(None)
    door.open()
    await door.enter(copy)


async def test_requests_on_another_loop_are_not_held(record):
    door = Door(asyncio.new_event_loop())
    try:
        door.shut(range(2), record, lambda: None)
        visit = await door.enter(0)
        visit.returned()
        await visit.way_out()
    finally:
        door.loop.close()
        door.open()


async def test_a_request_on_trio_passes_a_door_that_is_shut_for_another_loop(shut):
    trio = pytest.importorskip("trio", reason="trio is not installed")
    door = shut(2)
    await asyncio.to_thread(trio.run, door.enter, 0)
