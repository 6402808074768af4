"""A slow service on loopback: GET /30 answers after 30 ms, GET /serial/30 one after the other."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n"


@contextmanager
def service() -> Iterator[int]:
    """Run the service in a process of its own and yield its port."""
    command = [sys.executable, __file__]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


async def main() -> None:
    """Serve on a free port, whose number is the one line that is written."""
    turn = asyncio.Lock()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await reader.readuntil(b"\r\n\r\n"):
                path = request.split(maxsplit=2)[1].decode()
                delay = int(path.rpartition("/")[2]) / 1000
                if path.startswith("/serial/"):
                    async with turn:
                        await asyncio.sleep(delay)
                else:
                    await asyncio.sleep(delay)
                writer.write(_HEAD + b"ok")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        sys.exit(0)
