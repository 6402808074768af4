"""What every app opens at its start-up, reads in its healthy endpoint and closes at its end."""

import asyncio


class Store:
    """A resource of one event loop, as a pool of connections is."""

    def __init__(self):
        self.events = []

    async def open(self):
        self.events.append("opened")
        self._loop = asyncio.get_running_loop()
        self._lock = asyncio.Lock()

    async def read(self):
        assert self.events == ["opened"]
        assert asyncio.get_running_loop() is self._loop
        await asyncio.sleep(0.02)
        return "ok"

    async def read_alone(self):
        async with self._lock:  # one at a time
            return await self.read()

    async def close(self):
        assert asyncio.get_running_loop() is self._loop
        self.events.append("closed")
