"""The thread of a live server ends, also when nobody waits for it any longer."""

import asyncio
import contextlib

import pytest

from pytest_nonblocking.asgi.observed import News
from pytest_nonblocking.asgi.server_thread import ServerThread


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
        await thread.until(lambda: thread.loop is not None, 10)
        ending = asyncio.ensure_future(thread.end(lambda: None, 60, lambda: None))
        await asyncio.sleep(0.01)
        ending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ending
        assert not thread._thread.is_alive()

    asyncio.run(main())
