"""Short calls for the guard: calls that block, and their like that do not.

No other laboratory draws them.
"""

from __future__ import annotations

from .primitives import Primitive

_SOCKETS = "one, two = socket.socketpair()\n"
_LOCK = "lock_{n} = threading.Lock()\nlock_{n}.acquire()\n"
_THREAD = ("from anyio import to_thread",)


def _call(calls: str, body: str, *imports: str, definitions: str = "") -> Primitive:
    return Primitive("blocked", body, imports=imports, definitions=definitions, calls=calls)


BLOCKING: dict[str, Primitive] = {
    "sleep-0": _call("sleep", "pause(0.0001){mark}\n", "from time import sleep as pause"),
    "sqlite": _call(
        "database",
        "with closing(sqlite3.connect(database())) as db:\n"
        '    db.execute("select count(*) from orders").fetchone(){mark}\n',
        "import sqlite3",
        "from contextlib import closing",
        "from corpus.services import database",
    ),
    "sqlalchemy": _call(
        "database",
        'with engine_{n}.connect() as db:\n    db.execute(text("select 1")).all(){mark}\n',
        "from sqlalchemy import create_engine, text",
        definitions='engine_{n} = create_engine("sqlite://")\n',
    ),
    "pipe": _call(
        "process",
        "end, start = os.pipe()\n"
        'os.write(start, b"x")\n'
        "os.read(end, 1){mark}\n"
        "os.close(end)\n"
        "os.close(start)\n",
        "import os",
    ),
    "run": _call("process", 'subprocess.run(["true"], check=True){mark}\n', "import subprocess"),
    "read": _call("file", "Path(__file__).read_text(){mark}\n", "from pathlib import Path"),
    "open": _call(
        "file",
        "with open(__file__) as source:{mark}\n    source.readline()\n",
    ),
    "exists": _call("file", "os.path.exists(__file__){mark}\n", "import os"),
    "held": _call("lock", _LOCK + "lock_{n}.acquire(timeout=0.0001){mark}\n", "import threading"),
    "empty": _call(
        "lock",
        "with suppress(Empty):\n    Queue().get(timeout=0.0001){mark}\n",
        "from contextlib import suppress",
        "from queue import Empty, Queue",
    ),
    "result": _call(
        "lock",
        "with ThreadPoolExecutor(1) as threads_{n}:\n"
        "    threads_{n}.submit(time.sleep, 0.01).result(){mark}\n",
        "import time",
        "from concurrent.futures import ThreadPoolExecutor",
    ),
    "name": _call("dns", 'socket.getaddrinfo("localhost", 80){mark}\n', "import socket"),
    "recv": _call(
        "network",
        _SOCKETS
        + "two.sendall(b'x')\n"
        + "one.recv(1){mark}\n"
        + "one.close()\n"
        + "two.close()\n",
        "import socket",
    ),
    "select": _call("network", "select.select([], [], [], 0.0001){mark}\n", "import select"),
}

HARMLESS: dict[str, Primitive] = {
    "sleep-in-thread": _call(
        "",
        "await to_thread.run_sync(time.sleep, 0.0001)\n",
        "import time",
        *_THREAD,
    ),
    "read-in-thread": _call(
        "",
        "await to_thread.run_sync(Path(__file__).read_text)\n",
        "from pathlib import Path",
        *_THREAD,
    ),
    "aiosqlite": _call(
        "",
        "async with aiosqlite.connect(database()) as db:\n"
        '    await (await db.execute("select 1")).fetchone()\n',
        "import aiosqlite",
        "from corpus.services import database",
    ),
    "free": _call("", "with threading.Lock():\n    pass\n", "import threading"),
    "tried": _call("", _LOCK + "lock_{n}.acquire(blocking=False)\n", "import threading"),
    "full": _call(
        "",
        "filled_{n} = Queue()\nfilled_{n}.put(1)\nfilled_{n}.get()\n",
        "from queue import Queue",
    ),
    "thread": _call("", "threading.Thread(target=int).start()\n", "import threading"),
    "address": _call("", 'socket.getaddrinfo("127.0.0.1", 80)\n', "import socket"),
    "patient": _call(
        "",
        _SOCKETS
        + "one.setblocking(False)\n"
        + "one.send(b'x')\n"
        + "one.close()\n"
        + "two.close()\n",
        "import socket",
    ),
    "polled": _call("", "select.select([], [], [], 0)\n", "import select"),
    "child": _call(
        "",
        'child_{n} = await asyncio.create_subprocess_exec("true")\nawait child_{n}.wait()\n',
        "import asyncio",
    ),
    "logged": _call("", 'logging.getLogger("shop").debug("asked")\n', "import logging"),
    "memory": _call("", 'io.BytesIO(b"x").read()\n', "import io"),
}
