"""A pool of connections that the first burst fills: opening them is slow, and happens once."""

import asyncio
import threading

import pytest
from judged import PASS, said

pytestmark = pytest.mark.asyncio


class Server:
    """Accepts one connection after another, 25 ms each, and answers each request at once."""

    def __init__(self):
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        assert started.wait(5)

    def _run(self, started):
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve(started))
        self._loop.close()

    async def _serve(self, started):
        self._over, opening = asyncio.Event(), asyncio.Lock()
        tasks = set()

        async def serve(reader, writer):
            tasks.add(asyncio.current_task())
            try:
                async with opening:
                    await asyncio.sleep(0.025)
                writer.write(b"hello\n")
                while await reader.readline():
                    writer.write(b"answer\n")
            except (ConnectionError, asyncio.CancelledError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await self._over.wait()
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def close(self):
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(5)


class Pool:
    """Opens a connection for each request that finds none."""

    def __init__(self, port):
        self._port, self._free, self._all = port, [], []

    async def ask(self):
        connection = self._free.pop() if self._free else await self._open()
        reader, writer = connection
        writer.write(b"question\n")
        await reader.readline()
        await asyncio.sleep(0.002)
        self._free.append(connection)

    async def _open(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._all.append(writer)
        await reader.readline()
        return reader, writer

    async def close(self):
        for writer in self._all:
            writer.close()
            await writer.wait_closed()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


async def test_connections_that_open_one_after_another_are_no_queue_of_the_requests(
    measure, server
):
    pool = Pool(server.port)
    try:
        outcome = await measure(pool.ask)
    finally:
        await pool.close()
    assert said(outcome) == PASS
    small = outcome.evidence.bursts_of(8)
    assert small[0].opened >= 5
    assert small[0].makespan > 0.1


async def test_connections_that_each_request_opens_are(measure, server):
    async def ask():
        pool = Pool(server.port)
        try:
            await pool.ask()
        finally:
            await pool.close()

    outcome = await measure(ask)
    assert outcome.judgement.verdict == "fail"
    assert outcome.judgement.cause == "serialised-wait"
    assert not any(run.opened for run in outcome.evidence.bursts)


async def test_what_a_set_up_opens_is_not_of_the_burst(measure, nonblocking, server):
    opened = []

    async def ask():
        async with nonblocking.setup():
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            opened.append(writer)
            await reader.readline()  # the server's end is in this process, and open now
        await asyncio.sleep(0.01)

    outcome = await measure(ask)
    for writer in opened:
        writer.close()
        await writer.wait_closed()
    assert len(opened) > 8
    assert not any(run.opened for run in outcome.evidence.bursts)
