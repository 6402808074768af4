"""What endpoints are made of: each primitive's source, and of which resource its time is.

In the source ``{ms}``, ``{width}`` and ``{slices}`` are the step's own, ``{n}`` is its number and
``{mark}`` the comment that marks a culprit. LOOP, ROWS and the like are amounts of work that take
a millisecond, constants of ``generated.machine``.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Cause = Literal["blocking-call", "cpu-on-loop", "gil-contention", "thread-pool", "serialised-wait"]
CAUSES: tuple[Cause, ...] = (
    "blocking-call",
    "cpu-on-loop",
    "gil-contention",
    "thread-pool",
    "serialised-wait",
)
Resource = Literal["wait", "blocked", "loop", "gil", "cores"]
"""What the milliseconds are spent on.

``wait``: nothing of this process. ``blocked``: the loop's thread, off the processor. ``loop``: its
processor time. ``gil``: pure Python in a worker thread. ``cores``: processor time without the GIL
of the loop's process.
"""

DEFAULT_THREADS = 40


class Primitive(NamedTuple):
    """One thing that a request does.

    ``guilt`` and ``innocence`` are the ranges of milliseconds from which a step is drawn where it
    is to be at fault and where it is not; the truth decides what it is in the end.
    """

    uses: Resource
    body: str
    cause: Cause | None = None
    guilt: tuple[float, float] = (0, 0)
    innocence: tuple[float, float] = (0, 0)
    whole: bool = False  # whether its time is drawn in whole milliseconds, as timers are
    imports: tuple[str, ...] = ()
    constants: tuple[str, ...] = ()
    definitions: str = ""
    shared: str = ""  # the constructor of what all requests share
    context: bool = False  # whether that is a context manager
    narrow: tuple[int, ...] = ()  # widths of a queue that is at fault
    wide: tuple[int, ...] = ()
    threads: bool = False  # whether it needs one of the default worker threads
    in_def: bool = False
    after: bool = False  # whether it runs after the response
    overhead: float = 0.0  # milliseconds of loop CPU beside its own
    late: float = 0.0  # by how many milliseconds it may take longer than it was asked to
    suspends: bool = True  # whether it ends the loop's step
    slices: tuple[int, ...] = ()
    calls: str = ""  # the guard's category of what it calls on the loop's thread


_BURN = """
total = 0
for value in range(int({ms} * LOOP)):{mark}
    total = (total + value * 31) % 65_521{mark}
"""
_BURN_FUNCTION = """
def burn_{n}() -> None:
    total = 0
    for value in range(int({ms} * LOOP)):{mark}
        total = (total + value * 31) % 65_521{mark}
"""
_JSON = 'json.loads("[" + ",".join([RECORD] * int({ms} * JSON)) + "]"){mark}\n'
_HASH = 'hashlib.pbkdf2_hmac("sha256", b"secret", b"salt", int({ms} * HASH))'
_HASH_FUNCTION = f"""
def hash_{{n}}() -> None:
    {_HASH}
"""
_ANYIO = ("from anyio import to_thread",)
_ASYNCIO = ("import asyncio",)
_ASYNCIO_TIME = ("import asyncio", "import time")
_HASHLIB = ("import hashlib",)
_FUTURES = "ThreadPoolExecutor({width})"
_EXECUTE = "loop = asyncio.get_running_loop()\nawait loop.run_in_executor(shared.{name}, "

PRIMITIVES: dict[str, Primitive] = {
    # Waits for which nothing queues.
    "sleep": Primitive(
        "wait",
        "await asyncio.sleep({seconds})\n",
        innocence=(5, 45),
        whole=True,
        imports=_ASYNCIO,
    ),
    "upstream": Primitive(
        "wait",
        "reader, writer = await asyncio.open_connection(host(), port())\n"
        'writer.write(b"GET /{ms} HTTP/1.1\\r\\n\\r\\n")\n'
        'await reader.readuntil(b"\\r\\n\\r\\n")\n'
        "writer.close()\n",
        innocence=(8, 40),
        whole=True,
        imports=("import asyncio", "from corpus.services import host, port"),
        overhead=0.3,
    ),
    # The loop's thread waits.
    "block": Primitive(
        "blocked",
        "time.sleep({seconds}){mark}\n",
        "blocking-call",
        guilt=(2, 40),
        innocence=(0.2, 3),
        imports=("import time",),
        suspends=False,
        calls="sleep",
    ),
    "block-socket": Primitive(
        "blocked",
        "with socket.create_connection((host(), port())) as connection:\n"
        '    connection.sendall(b"GET /{ms} HTTP/1.1\\r\\n\\r\\n")\n'
        "    connection.recv(1000){mark}\n",
        "blocking-call",
        guilt=(2, 40),
        innocence=(1, 3),
        whole=True,
        imports=("import socket", "from corpus.services import host, port"),
        overhead=0.2,
        late=1,
        suspends=False,
        calls="network",
    ),
    "block-requests": Primitive(
        "blocked",
        "requests.get(url({ms}), timeout=30){mark}\n",
        "blocking-call",
        guilt=(8, 40),
        innocence=(0, 0),
        whole=True,
        imports=("import requests", "from corpus.services import url"),
        overhead=1.4,
        late=2,
        suspends=False,
        calls="network",
    ),
    # The loop's thread works.
    "cpu": Primitive(
        "loop",
        _BURN,
        "cpu-on-loop",
        guilt=(8, 45),
        innocence=(0.3, 3.5),
        constants=("LOOP",),
        suspends=False,
    ),
    "cpu-slices": Primitive(
        "loop",
        "total = 0\n"
        "for _ in range({slices}):\n"
        "    for value in range(int({ms} / {slices} * LOOP)):{mark}\n"
        "        total = (total + value * 31) % 65_521{mark}\n"
        "    await asyncio.sleep(0){mark}\n",
        "cpu-on-loop",
        guilt=(9, 45),
        innocence=(0.5, 3.5),
        imports=_ASYNCIO,
        constants=("LOOP",),
        slices=(2, 3, 5, 8, 12, 20),
    ),
    "cpu-rows": Primitive(
        "loop",
        'len([{{"id": n, "tags": [n, str(n)]}} for n in range(int({ms} * ROWS))]){mark}\n',
        "cpu-on-loop",
        guilt=(8, 45),
        innocence=(0.3, 3.5),
        constants=("ROWS",),
        suspends=False,
    ),
    "cpu-json": Primitive(
        "loop",
        _JSON,
        "cpu-on-loop",
        guilt=(8, 45),
        innocence=(0.3, 3.5),
        imports=("import json",),
        constants=("JSON", "RECORD"),
        suspends=False,
    ),
    "cpu-dumps": Primitive(
        "loop",
        "json.dumps([DOCUMENT] * int({ms} * DUMPS)){mark}\n",
        "cpu-on-loop",
        guilt=(8, 45),
        innocence=(0.3, 3.5),
        imports=("import json",),
        constants=("DOCUMENT", "DUMPS"),
        suspends=False,
    ),
    "cpu-xml": Primitive(
        "loop",
        "for _ in range(5):{mark}\n"
        "    rows = ELEMENT * int({ms} / 5 * XML){mark}\n"
        "    ElementTree.fromstring(f'<rows>{{rows}}</rows>'){mark}\n",
        "cpu-on-loop",
        guilt=(8, 45),
        innocence=(0.3, 3.5),
        imports=("from xml.etree import ElementTree",),
        constants=("ELEMENT", "XML"),
        suspends=False,
    ),
    "cpu-models": Primitive(
        "loop",
        "for _ in range(int({ms} * MODELS)):{mark}\n"
        "    Order_{n}.model_validate(DOCUMENT).model_dump(){mark}\n",
        "cpu-on-loop",
        guilt=(8, 45),
        innocence=(0.3, 3.5),
        imports=("from pydantic import BaseModel",),
        constants=("DOCUMENT", "MODELS"),
        definitions="class Order_{n}(BaseModel):\n"
        "    id: int\n    name: str\n    tags: list[str]\n",
        suspends=False,
    ),
    # The loop is idle, and requests queue.
    "lock": Primitive(
        "wait",
        "async with shared.{name}:{mark}\n    await asyncio.sleep({seconds})\n",
        "serialised-wait",
        guilt=(5, 30),
        innocence=(1, 3),
        whole=True,
        imports=_ASYNCIO,
        shared="asyncio.Lock()",
        narrow=(1,),
        wide=(1,),
    ),
    "semaphore": Primitive(
        "wait",
        "async with shared.{name}:{mark}\n    await asyncio.sleep({seconds})\n",
        "serialised-wait",
        guilt=(10, 45),
        innocence=(5, 40),
        whole=True,
        imports=_ASYNCIO,
        shared="asyncio.Semaphore({width})",
        narrow=(2, 3, 4, 6),
        wide=(20, 30, 60),
    ),
    "connections": Primitive(
        "wait",
        "connection = await shared.{name}.get(){mark}\n"
        "try:\n"
        "    await asyncio.sleep({seconds})\n"
        "finally:\n"
        "    shared.{name}.put_nowait(connection)\n",
        "serialised-wait",
        guilt=(10, 45),
        innocence=(5, 40),
        whole=True,
        imports=_ASYNCIO,
        shared="filled({width})",
        narrow=(1, 2, 3, 4, 6),
        wide=(20, 30, 60),
    ),
    "lock-hash": Primitive(
        "cores",
        "async with shared.{name}:{mark}\n    await to_thread.run_sync(hash_{n})\n",
        "serialised-wait",
        guilt=(5, 30),
        innocence=(0.5, 3),
        imports=(*_ANYIO, *_HASHLIB),
        constants=("HASH",),
        definitions=_HASH_FUNCTION,
        shared="asyncio.Lock()",
        narrow=(1,),
        wide=(1,),
        overhead=0.1,
    ),
    "def-lock": Primitive(
        "wait",
        "with shared.{name}:{mark}\n    time.sleep({seconds})\n",
        "serialised-wait",
        guilt=(5, 30),
        innocence=(0.5, 3),
        imports=("import time",),
        shared="threading.Lock()",
        narrow=(1,),
        wide=(1,),
        threads=True,
        in_def=True,
        overhead=0.1,
    ),
    "def-lock-hash": Primitive(
        "cores",
        f"with shared.{{name}}:{{mark}}\n    {_HASH}\n",
        "serialised-wait",
        guilt=(5, 30),
        innocence=(0.5, 3),
        imports=_HASHLIB,
        constants=("HASH",),
        shared="threading.Lock()",
        narrow=(1,),
        wide=(1,),
        threads=True,
        in_def=True,
        overhead=0.1,
    ),
    # Worker threads.
    "executor": Primitive(
        "wait",
        _EXECUTE + "time.sleep, {seconds}){mark}\n",
        "thread-pool",
        guilt=(8, 45),
        innocence=(5, 40),
        imports=_ASYNCIO_TIME,
        shared=_FUTURES,
        context=True,
        narrow=(1, 2, 3, 4, 6),
        wide=(24, 32, 64),
        overhead=0.1,
    ),
    "limiter": Primitive(
        "wait",
        "await to_thread.run_sync(time.sleep, {seconds}, limiter=shared.{name}){mark}\n",
        "thread-pool",
        guilt=(8, 45),
        innocence=(5, 40),
        imports=("import time", *_ANYIO),
        shared="CapacityLimiter({width})",
        narrow=(1, 2, 3, 4, 6),
        wide=(24, 32, 64),
        overhead=0.1,
    ),
    "executor-hash": Primitive(
        "cores",
        _EXECUTE + "hash_{n}){mark}\n",
        "thread-pool",
        guilt=(5, 30),
        innocence=(0.5, 3),
        imports=(*_ASYNCIO, *_HASHLIB),
        constants=("HASH",),
        definitions=_HASH_FUNCTION,
        shared=_FUTURES,
        context=True,
        narrow=(1,),
        wide=(1,),
        overhead=0.1,
    ),
    "thread-sleep": Primitive(
        "wait",
        "await to_thread.run_sync(time.sleep, {seconds})\n",
        innocence=(5, 40),
        imports=("import time", *_ANYIO),
        threads=True,
        overhead=0.1,
    ),
    "thread-hash": Primitive(
        "cores",
        "await to_thread.run_sync(hash_{n})\n",
        innocence=(5, 30),
        imports=(*_ANYIO, *_HASHLIB),
        constants=("HASH",),
        definitions=_HASH_FUNCTION,
        threads=True,
        overhead=0.1,
    ),
    "thread-python": Primitive(
        "gil",
        "await to_thread.run_sync(burn_{n})\n",
        "gil-contention",
        guilt=(9, 35),
        innocence=(0.3, 2.5),
        imports=_ANYIO,
        constants=("LOOP",),
        definitions=_BURN_FUNCTION,
        threads=True,
        overhead=0.1,
    ),
    "thread-json": Primitive(
        "gil",
        "await to_thread.run_sync(parse_{n})\n",
        "gil-contention",
        guilt=(9, 35),
        innocence=(0.3, 2.5),
        imports=("import json", *_ANYIO),
        constants=("JSON", "RECORD"),
        definitions="def parse_{n}() -> None:\n    " + _JSON,
        threads=True,
        overhead=0.1,
    ),
    "def-python": Primitive(
        "gil",
        _BURN,
        "gil-contention",
        guilt=(9, 35),
        innocence=(0.3, 2.5),
        constants=("LOOP",),
        threads=True,
        in_def=True,
        overhead=0.1,
    ),
    "def-sleep": Primitive(
        "wait",
        "time.sleep({seconds})\n",
        innocence=(5, 40),
        imports=("import time",),
        threads=True,
        in_def=True,
        overhead=0.1,
    ),
    "def-hash": Primitive(
        "cores",
        _HASH + "\n",
        innocence=(5, 30),
        imports=_HASHLIB,
        constants=("HASH",),
        threads=True,
        in_def=True,
        overhead=0.1,
    ),
    # Other processes.
    "process": Primitive(
        "cores",
        _EXECUTE + "job_{n})\n",
        innocence=(8, 30),
        imports=(*_ASYNCIO, "from .jobs import job_{n}"),
        shared="ProcessPoolExecutor(2, mp_context=get_context({method!r}))",
        context=True,
        overhead=0.2,
    ),
    # After the response.
    "background-sleep": Primitive(
        "wait",
        "tasks.add_task(asyncio.sleep, {seconds})\n",
        innocence=(5, 40),
        whole=True,
        imports=_ASYNCIO,
        after=True,
    ),
    "background-python": Primitive(
        "gil",
        "tasks.add_task(burn_{n})\n",
        "gil-contention",
        guilt=(9, 30),
        innocence=(0.3, 2.5),
        constants=("LOOP",),
        definitions=_BURN_FUNCTION,
        threads=True,
        after=True,
        overhead=0.1,
    ),
}
