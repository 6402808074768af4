"""Responses that are held back by the door, and delivered."""

import asyncio

import pytest

from pytest_nonblocking.asgi.observed import _Answer


class Visit:
    """A visit that may leave from the second message on."""

    keeps_answers = True

    async def way_out(self):
        pass

    def answered(self):
        pass


@pytest.mark.asyncio
@pytest.mark.parametrize("factory", [None, getattr(asyncio, "eager_task_factory", None)])
async def test_a_stream_goes_on_once_the_door_is_open(factory):
    asyncio.get_running_loop().set_task_factory(factory)
    sent = []

    async def send(message):
        sent.append(message["type"])

    visit = Visit()
    answer = _Answer(visit, send)
    await answer.send({"type": "http.response.start"})
    assert sent == []
    visit.keeps_answers = False
    for number in range(3):
        await answer.send({"type": "http.response.body", "body": b"x", "more_body": True})
        await asyncio.sleep(0)
        assert len(sent) == 2 + number
