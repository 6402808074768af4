"""Tasks start within the running callback, and nothing that other threads post is lost."""

import asyncio
import collections
import contextvars
import sys
import threading

import anyio
import pytest

from pytest_nonblocking.tasks import all_ended, call_later, running_tasks


class PostedTo(collections.deque):
    """The callbacks of a loop to which a thread posts another one whenever the last is read."""

    post = None

    def __getitem__(self, index):
        handle = super().__getitem__(index)
        if self.post is not None:
            self.append(self.post)
        return handle


async def note(notes, what):
    notes.append(what)


async def start_one(notes):
    tasks = running_tasks()
    task = tasks.start_now(note(notes, "ran"))
    notes.append("started")
    await asyncio.wait([task])


def test_a_task_runs_at_once_and_only_once():
    notes = []
    asyncio.run(start_one(notes))
    assert notes == ["ran", "started"]


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="CPython 3.12+ starts tasks eagerly itself")
def test_a_callback_that_a_thread_posts_while_a_task_starts_is_not_lost(caplog):
    notes = []
    loop = asyncio.new_event_loop()
    loop._ready = PostedTo()
    handle = asyncio.Handle(notes.append, ("posted",), loop)

    async def main():
        loop._ready.post = handle
        tasks = running_tasks()
        task = tasks.start_now(note(notes, "ran"))
        loop._ready.post = None
        await asyncio.wait([task])

    loop.run_until_complete(main())
    loop.close()
    assert notes == ["ran", "posted"]
    assert not caplog.records


def test_a_timer_that_outlives_its_loop_raises_nothing(monkeypatch):
    raised = []
    monkeypatch.setattr(threading, "excepthook", raised.append)

    async def main():
        return call_later(0.05, raised.append)

    loop = asyncio.new_event_loop()
    timer = loop.run_until_complete(main())
    loop.close()
    timer._thread.join()
    assert raised == []


@pytest.mark.skipif(sys.version_info < (3, 11), reason="a task's context is new in Python 3.11")
def test_tasks_that_share_one_context_start_all_the_same():
    notes, shared = [], contextvars.copy_context()

    def in_shared_context(loop, coroutine, **more):
        return asyncio.Task(coroutine, loop=loop, context=shared)

    loop = asyncio.new_event_loop()
    loop.set_task_factory(in_shared_context)
    loop.run_until_complete(start_one(notes))
    loop.close()
    assert sorted(notes) == ["ran", "started"]


class Wrapped:
    """What a task factory may return in place of the task."""

    def __init__(self, task):
        self._task = task

    def __getattr__(self, name):
        return getattr(self._task, name)


def test_tasks_that_a_factory_wraps_are_seen_to_end():
    async def run():
        loop = asyncio.get_running_loop()
        loop.set_task_factory(
            lambda loop, work, **more: Wrapped(asyncio.Task(work, loop=loop, **more))
        )
        task = running_tasks().start(asyncio.sleep(0))
        with anyio.fail_after(5):
            await all_ended([task])

    asyncio.run(run())
