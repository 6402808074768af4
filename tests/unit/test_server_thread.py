"""The thread of a live server ends, also when nobody waits for it any longer."""

import asyncio
import contextlib
import gc
import sys

import pytest

from pytest_nonblocking.asgi.lifespan import AppStartupError
from pytest_nonblocking.asgi.observed import News
from pytest_nonblocking.asgi.server_thread import ServerThread
from pytest_nonblocking.asgi.servers import LiveServer


async def leaves_late():
    await asyncio.sleep(3600)


async def ignores():
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)


@pytest.mark.parametrize("serve", [leaves_late, ignores])
def test_no_thread_of_a_server_is_left_behind_after_control_c(serve):
    thread = ServerThread("served", serve, News())

    async def main():
        thread.start()
        while thread.loop is None:
            await asyncio.sleep(0.001)
        ending = asyncio.ensure_future(thread.end(lambda: None, 60, lambda: None))
        await asyncio.sleep(0.01)
        ending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ending
        assert not thread._thread.is_alive()

    asyncio.run(main())


@pytest.mark.asyncio
async def test_all_tasks_end_though_several_exit():
    ended, tasks = [], []

    async def exits(number):
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append(number)
            sys.exit(number)

    async def serve():
        tasks.extend(asyncio.ensure_future(exits(number)) for number in range(3))
        await asyncio.sleep(0)
        tasks[0].cancel()
        await asyncio.sleep(3600)

    thread = ServerThread("served", serve, News())
    thread.start()
    assert await thread.until(lambda: thread.ended, 10)
    await thread.end(lambda: None, 10, lambda: None)
    assert sorted(ended) == [0, 1, 2]
    assert [task.exception().code for task in tasks] == [0, 1, 2]
    assert isinstance(thread.error, SystemExit)


@pytest.mark.asyncio
async def test_a_server_that_does_not_start_leaves_no_log_to_a_later_test(caplog):
    async def app(scope, receive, send):
        assert (await receive())["type"] == "lifespan.startup"
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    gc.collect()  # what earlier tests left
    server = LiveServer(app, "uvicorn")
    with pytest.raises(AppStartupError, match="no database"):
        await server.startup()
    caplog.clear()
    gc.collect()
    assert not caplog.records
