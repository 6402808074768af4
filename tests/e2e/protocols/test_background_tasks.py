"""Background tasks: the response does not wait for them, but the loop can."""

import asyncio
import time

import pytest
from fastapi import BackgroundTasks, FastAPI
from judged import PASS, fail, said

pytestmark = pytest.mark.asyncio


def send_mail():
    time.sleep(0.05)  # culprit


async def send_mail_on_the_loop():
    send_mail()


async def fail_to_send_mail(delay):
    if delay:
        await asyncio.sleep(delay)
    raise ValueError("no such mailbox")


class Desk:
    """Background work that goes on only when the client, who has its answer, has said so."""

    def __init__(self):
        self.begun = self.ended = 0
        self._answered = {}

    def answered(self, order):
        return self._answered.setdefault(order, asyncio.Event())

    async def work(self, order):
        self.begun += 1
        await self.answered(order).wait()
        await asyncio.sleep(0.02)
        self.ended += 1


@pytest.fixture
def desk():
    return Desk()


@pytest.fixture
def nonblocking_app(desk):
    app = FastAPI()

    @app.post("/orders/{order}")
    async def take_order(order: str, tasks: BackgroundTasks):
        tasks.add_task(desk.work, order)

    @app.post("/broken-mail/{when}")
    async def broken_mail(when: str, tasks: BackgroundTasks):
        tasks.add_task(fail_to_send_mail, 0.0 if when == "at-once" else 0.05)

    @app.post("/mail-on-the-loop")
    async def mail_on_the_loop(tasks: BackgroundTasks):
        tasks.add_task(send_mail_on_the_loop)

    @app.post("/mail-in-a-thread")
    async def mail_in_a_thread(tasks: BackgroundTasks):
        tasks.add_task(send_mail)

    return app


@pytest.fixture
def post(nonblocking_client):
    """Return a scenario: a POST that is not waited for any longer than its response takes."""

    def scenario(path):
        async def body():
            assert (await nonblocking_client.post(path)).status_code == 200
            await asyncio.sleep(0.02)

        return body

    return scenario


async def test_the_response_does_not_wait_for_background_work(measure, nonblocking_client, desk):
    orders = iter(range(10_000))

    async def body():
        order = str(next(orders))
        # With the work in the latency, this would never return.
        assert (await nonblocking_client.post(f"/orders/{order}")).status_code == 200
        desk.answered(order).set()

    outcome = await measure(body, timeout="5s")
    assert said(outcome) == PASS
    assert any(
        "after the response: the latency does not include it" in note for note in outcome.notes
    )
    assert desk.begun == desk.ended == next(orders)


@pytest.mark.parametrize("when", ["at-once", "after-the-response"])
async def test_what_a_background_task_raises_reaches_the_test(measure, post, when):
    with pytest.raises(ValueError, match="no such mailbox"):
        await measure(post(f"/broken-mail/{when}"))


async def test_a_background_task_that_blocks_fails_with_its_line(measure, post):
    assert said(await measure(post("/mail-on-the-loop"))) == fail(__file__)


async def test_a_def_background_task_passes(measure, post):
    assert said(await measure(post("/mail-in-a-thread"))) == PASS
