"""What the guard finds and leaves alone: real databases, sockets, files, processes and threads."""

import asyncio
import concurrent.futures
import contextlib
import functools
import http.client
import http.server
import os
import queue
import select
import selectors
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from time import sleep

import aiosqlite
import anyio
import httpx
import pytest
import requests

pytestmark = pytest.mark.asyncio
HERE = Path(__file__)


class _Ok(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def port():
    """A loopback HTTP server in a thread."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Ok) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture
def found(nonblocking):
    """Return what the guard finds in a scenario: categories and functions by line of code."""

    async def measure(scenario):
        outcome = await nonblocking.measure(
            scenario, concurrency=2, max_blocked="10s", max_lag="10s"
        )
        assert outcome.evidence.guarded.unmeasured is None
        print(*outcome.findings, sep="\n")  # pytest shows it where a test fails
        return outcome.findings

    return measure


# What blocks


def in_database():
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        db.execute("select 1").fetchall()  # found


def with_a_name_bound_before():
    sleep(0.0001)  # found


def through_a_partial():
    functools.partial(in_database)()


def with_http_client(port):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/")
    connection.getresponse().read()  # found
    connection.close()


def with_requests(port):
    requests.get(f"http://127.0.0.1:{port}/", timeout=5)  # found


def looks_a_name_up():
    socket.getaddrinfo("localhost", 80)  # found


def reads_a_file():
    with open(HERE) as source:  # noqa: PTH123  # found
        source.readline()


def reads_a_path():
    HERE.read_bytes()  # found


def stats_a_file():
    HERE.stat()  # found


def runs_a_process():
    subprocess.run([sys.executable, "-S", "-c", ""], check=True)  # found


def waits_in_select():
    select.select([], [], [], 0.0001)  # found


def waits_in_a_selector():
    with selectors.DefaultSelector() as selector:
        selector.select(0.0001)  # found


def takes_a_lock_that_is_held():
    lock = threading.Lock()
    lock.acquire()
    lock.acquire(timeout=0.0001)  # found


def gets_from_an_empty_queue():
    with contextlib.suppress(queue.Empty):
        queue.Queue().get(timeout=0.0001)  # found


def gets_from_an_empty_simple_queue():
    with contextlib.suppress(queue.Empty):
        queue.SimpleQueue().get(timeout=0.0001)  # found


def joins_a_thread():
    go_on = threading.Event()
    thread = threading.Thread(target=go_on.wait)
    thread.start()
    threading.Timer(0.02, go_on.set).start()
    thread.join()  # found


def waits_for_a_future():
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(time.sleep, 0.02).result()  # found


def reads_a_pipe():
    reader, writer = os.pipe()
    os.write(writer, b"x")
    os.read(reader, 1)  # found
    os.close(reader)
    os.close(writer)


def line_of(function):
    """Return the number of the line that is marked in a function."""
    code = getattr(function, "func", function).__code__
    lines = HERE.read_text("utf-8").splitlines()
    first = code.co_firstlineno
    return next(n for n in range(first, first + 20) if lines[n - 1].endswith("# found"))


BLOCKING = [
    (in_database, "database", "sqlite3."),
    (with_a_name_bound_before, "sleep", "time.sleep"),
    (looks_a_name_up, "dns", "socket.getaddrinfo"),
    (reads_a_file, "file", "io.open"),
    (reads_a_path, "file", "io.open"),
    (stats_a_file, "file", "os.stat"),
    (runs_a_process, "process", ""),  # fork_exec or posix_spawn
    (waits_in_select, "network", "select.select"),
    (waits_in_a_selector, "network", "poll"),
    (takes_a_lock_that_is_held, "lock", "threading.Lock.acquire"),
    (gets_from_an_empty_queue, "lock", "threading.Lock.acquire"),
    (gets_from_an_empty_simple_queue, "lock", "queue.SimpleQueue.get"),
    (joins_a_thread, "lock", "threading."),
    (waits_for_a_future, "lock", "threading.Lock.acquire"),
    (reads_a_pipe, "process", "os.read"),
]


@pytest.mark.parametrize(
    ("function", "category", "name"), BLOCKING, ids=lambda one: getattr(one, "__name__", None)
)
async def test_a_blocking_call_is_found_at_its_line(found, function, category, name):
    async def scenario():
        function()

    findings = [one for one in await found(scenario) if one.line == line_of(function)]
    assert category in [one.category for one in findings]
    functions = [called for one in findings for called in one.functions]
    assert any(name in called for called in functions)


@pytest.mark.parametrize("function", [with_http_client, with_requests])
async def test_a_client_of_http_is_found_at_its_line(found, port, function):
    async def scenario():
        function(port)

    findings = await found(scenario)
    there = [one for one in findings if one.line == line_of(function)]
    (one,) = (one for one in there if one.category == "network")
    assert {"socket.recv_into"} <= set(one.functions)


async def test_calls_through_a_partial_of_a_python_function_are_found(found):
    async def scenario():
        through_a_partial()

    assert [one.function for one in await found(scenario) if one.category == "database"]


# What does not


async def takes_a_free_lock(port):
    lock = threading.Lock()
    lock.acquire()
    lock.release()
    again = threading.RLock()
    again.acquire()
    again.acquire()


async def tries_a_lock(port):
    lock = threading.Lock()
    lock.acquire()
    lock.acquire(blocking=False)
    lock.acquire(False)


async def polls(port):
    select.select([], [], [], 0)
    poll = select.poll() if hasattr(select, "poll") else None
    if poll is not None:
        poll.poll(0)
    with selectors.DefaultSelector() as selector:
        selector.select(0)


async def uses_a_socket_without_time_out(port):
    one, two = socket.socketpair()
    one.setblocking(False)
    two.setblocking(False)
    one.send(b"x")
    two.recv(1)
    one.close()
    two.close()


async def sends_a_datagram(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", ("127.0.0.1", port))


async def starts_a_thread(port):
    threading.Thread(target=int).start()


async def works_in_threads(port):
    await asyncio.to_thread(in_database)
    await anyio.to_thread.run_sync(reads_a_file)
    await anyio.Path(HERE).read_bytes()


async def uses_aiosqlite(port):
    async with aiosqlite.connect(":memory:") as db, db.execute("select 1") as cursor:
        await cursor.fetchall()


async def uses_httpx(port):
    context = ssl.create_default_context()  # reads files in C
    async with httpx.AsyncClient(verify=context) as client:
        assert (await client.get(f"http://127.0.0.1:{port}/")).text == "ok"


async def uses_streams(port):
    reader, writer = await asyncio.open_connection("localhost", port)
    writer.write(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
    await reader.read()
    writer.close()


async def runs_a_process_without_waiting(port):
    process = await asyncio.create_subprocess_exec(sys.executable, "-S", "-c", "")
    await process.wait()


async def looks_an_address_up(port):
    socket.getaddrinfo("127.0.0.1", 80)


async def prints_and_logs(port):
    import logging

    print("printed")
    logging.getLogger("shop").warning("logged")


async def takes_from_a_full_queue(port):
    full = queue.SimpleQueue()
    full.put(1)
    full.get()
    also = queue.Queue()
    also.put(1)
    also.get()


async def imports_a_module(port):
    sys.modules.pop("this_is_imported_anew", None)
    import this_is_imported_anew  # noqa: F401


HEALTHY = [
    takes_a_free_lock,
    tries_a_lock,
    polls,
    uses_a_socket_without_time_out,
    sends_a_datagram,
    starts_a_thread,
    works_in_threads,
    uses_aiosqlite,
    uses_httpx,
    uses_streams,
    runs_a_process_without_waiting,
    looks_an_address_up,
    prints_and_logs,
    takes_from_a_full_queue,
    imports_a_module,
]


@pytest.mark.parametrize("function", HEALTHY, ids=lambda function: function.__name__)
async def test_what_does_not_block_is_not_accused(found, port, function, tmp_path, monkeypatch):
    (tmp_path / "this_is_imported_anew.py").write_text("import time\ntime.sleep(0.0001)\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    async def scenario():
        await function(port)

    assert await found(scenario) == ()
