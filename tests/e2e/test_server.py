"""What the plugin says in process is what a load test shows of the same app behind a real server.

Each endpoint of the examples is served by uvicorn and loaded from
outside: 1 request at a time, then 16 at once. Serialised throughput must go with a fail. The load
comes from hey where it is installed, else from a small client of our own.
"""

import asyncio
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import services
from inner_runs import LEFT_OUT
from shop import orders

pytest.importorskip("uvicorn", reason="uvicorn is not installed: there is no server to load")

ROOT = Path(__file__).resolve().parent.parent.parent
AT_ONCE = 16
LEAST_GAIN = 3.5
# By module: path -> whether load serialises it. Endpoints whose limit is the CPU of the machine
# are left out: their throughput grows with its cores, whatever the plugin says.
ENDPOINTS = {
    "queues": {
        "forty-threads": False,
        "asyncio-to-thread": False,
        "no-lock": False,
        "pool": False,
        "lock": True,
        "semaphore": True,
        "small-pool": True,
    },
    "hidden": {
        "threaded-dependency": False,
        "async-middleware": False,
        "blocking-dependency": True,
        "blocking-middleware": True,
    },
    "stock": {
        "httpx-async": False,
        "requests-in-def": False,
        "requests-offloaded": False,
        "requests-in-async": True,
    },
    "orders": {
        "aiosqlite": False,
        "async-session": False,
        "sqlite3": True,
        "sync-session": True,
    },
    "reports": {"on-the-loop": True, "on-the-loop-in-slices": True, "in-threads": True},
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def served(module, environment):
    """Serve one module's app with uvicorn and yield its URL."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", f"shop.{module}:app", "--port", str(port)]
    command += ["--host", "127.0.0.1", "--log-level", "warning", "--app-dir", "examples"]
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment}) as process:
        try:
            for _ in range(400):
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except ConnectionRefusedError:
                    assert process.poll() is None, "uvicorn did not start"
                    time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Run what the shop needs: the slow service and the database."""
    database = str(tmp_path_factory.mktemp("shop") / "shop.db")
    orders.fill(database)
    with services.slow_service() as url:
        yield {"STOCK_URL": url, "SHOP_DATABASE": database}


async def _request(port, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200"), answer


async def _load(url, total, at_once):
    port, path = int(url.split(":")[2].split("/")[0]), "/" + url.rpartition("/")[2]
    turns = asyncio.Semaphore(at_once)

    async def one():
        async with turns:
            await _request(port, path)

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(total)))
    return total / (time.perf_counter() - began)


def throughput(url, total, at_once):
    """Return requests per second with ``at_once`` clients."""
    hey = shutil.which("hey")
    if hey is None:
        return asyncio.run(_load(url, total, at_once))
    command = [hey, "-n", str(total), "-c", str(at_once), url]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert re.search(rf"\[200\]\s+{total} responses", out), out
    return float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    """Return the plugin's verdicts on the examples, by module and path."""
    report = tmp_path_factory.mktemp("report") / "report.json"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += LEFT_OUT.split()
    command += ["--nonblocking-report", str(report)]
    command += [f"examples/test_{module}.py" for module in ENDPOINTS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout)  # why, if a verdict is another one
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
    tests = json.loads(report.read_text("utf-8"))["tests"]
    return {test["target"]: test["verdict"] for test in tests if "accepted" not in test["nodeid"]}


@pytest.mark.parametrize("module", ENDPOINTS)
def test_the_verdicts_agree_with_a_load_test(environment, verdicts, module):
    with served(module, environment) as url:
        for path, serialised in ENDPOINTS[module].items():
            target = f"{url}/{path}"
            throughput(target, AT_ONCE, AT_ONCE)
            alone = throughput(target, 8, 1)
            # Where requests queue, a pause of the machine hides nothing.
            together = throughput(target, AT_ONCE * (2 if serialised else 6), AT_ONCE)
            print(f"{path}: {alone:.0f}/s alone, {together:.0f}/s with {AT_ONCE} at once")
            assert (together / alone < LEAST_GAIN) is serialised
            assert verdicts[f"GET /{path}"] == ("fail" if serialised else "pass")
