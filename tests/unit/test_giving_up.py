"""Tasks that ignore their cancellation stay suspended, and their loop ends without them.

Each test also runs without the private parts of asyncio or trio that giving up uses.
"""

import asyncio
import contextlib
import gc
import logging

import anyio
import pytest

try:
    import trio
except ImportError:
    trio = None

from pytest_nonblocking import giving_up
from pytest_nonblocking.tasks import running_tasks

INTERNAL_ERROR = getattr(trio, "TrioInternalError", ())
LOOPS = ["asyncio", "uvloop", "trio"]


class WithoutParts(asyncio.Task):
    """A task of an asyncio whose private parts have other names."""

    _fut_waiter = property()


def factory(loop, coroutine, **more):
    return WithoutParts(coroutine, loop=loop, **more)


@pytest.fixture(params=LOOPS)
def run(request, monkeypatch):
    """Run a coroutine function on a loop that is closed after it."""
    if request.param != "asyncio":
        pytest.importorskip(request.param, reason=f"{request.param} is not installed")

    def run(function, private):
        if request.param == "trio":
            if not private:
                monkeypatch.setattr(giving_up, "_OF_TRIO", ("no_such_part",))
            return anyio.run(function, backend="trio")

        async def on_asyncio():
            if not private:
                asyncio.get_running_loop().set_task_factory(factory)
            return await function()

        options = {"use_uvloop": request.param == "uvloop"}
        return anyio.run(on_asyncio, backend_options=options)

    return run


async def swallows(log, wait):
    while True:
        try:
            await wait()
        except BaseException as error:
            log.append(type(error).__name__)


WAITS = {"sleeps": lambda: anyio.sleep(100), "spins": lambda: anyio.sleep(0)}


@pytest.mark.parametrize("private", [True, False], ids=["", "without-private-parts"])
@pytest.mark.parametrize("wait", WAITS)
def test_no_code_of_a_task_that_is_given_up_runs_again(run, wait, private, caplog):
    log = []

    async def test():
        tasks = running_tasks()
        task = tasks.start(swallows(log, WAITS[wait]))
        await anyio.sleep(0.01)
        task.cancel()
        await anyio.sleep(0.01)
        assert log
        given_up = tasks.give_up([task])
        log.clear()
        await anyio.sleep(0.01)
        assert task.done()
        return len(given_up)

    with caplog.at_level(logging.ERROR):
        assert run(test, private) == 1
    gc.collect()
    assert len(log) <= (not private)  # a step that is scheduled already
    if private and wait == "sleeps":
        assert caplog.text == ""


@pytest.mark.parametrize("private", [True, False], ids=["", "without-private-parts"])
def test_children_are_given_up_with_their_parent(run, private):
    log = []

    async def shields():
        with anyio.CancelScope(shield=True):
            await anyio.sleep(100)

    async def parent():
        async with anyio.create_task_group() as group:
            group.start_soon(swallows, log, WAITS["sleeps"])
            group.start_soon(shields)

    async def test():
        tasks = running_tasks()
        before = tasks.independent()
        task = tasks.start(parent())
        await anyio.sleep(0.01)
        task.cancel()
        await anyio.sleep(0.01)
        tasks.give_up([task, *(tasks.independent() - before - {task})])
        await anyio.sleep(0.01)
        return task.done()

    may_break = contextlib.nullcontext() if private else contextlib.suppress(INTERNAL_ERROR)
    with may_break:
        assert run(test, private)


def test_what_a_given_up_task_waited_for_may_come():
    async def test():
        tasks, event = running_tasks(), anyio.Event()
        task = tasks.start(swallows([], event.wait))
        await anyio.sleep(0.01)
        tasks.give_up([task])
        event.set()
        await anyio.sleep(0.01)

    for backend in ("asyncio", "trio"):
        anyio.run(test, backend=backend)
