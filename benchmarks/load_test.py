"""The verdicts on the examples beside a load test of the same apps behind a real server.

Each app is served by uvicorn and loaded from outside: one request at a time, then 16 at once.
Throughput that does not grow must go with a fail. The load comes from hey if it is installed, else
from a client here. Prints a table; exits with 1 if a verdict and the load disagree.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))

import services
from shop import orders

_ROOT = Path(__file__).resolve().parent.parent
AT_ONCE = 16
LEAST_GAIN = 3.5
"""How many times the throughput of one client 16 reach if requests do not wait for one another."""
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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _served(module: str, environment: Mapping[str, str]) -> Iterator[str]:
    """Serve one module's app with uvicorn and yield its URL."""
    port = _free_port()
    command = [sys.executable, "-m", "uvicorn", f"shop.{module}:app", "--port", str(port)]
    command += ["--host", "127.0.0.1", "--log-level", "warning", "--app-dir", "examples"]
    with subprocess.Popen(command, cwd=_ROOT, env={**os.environ, **environment}) as process:
        try:
            for _ in range(400):
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except ConnectionRefusedError:
                    if process.poll() is not None:
                        raise RuntimeError(f"uvicorn ended with {process.returncode}") from None
                    time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


async def _request(port: int, path: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    if not answer.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"{path} answered {answer[:80]!r}")


async def _load(url: str, total: int, at_once: int) -> float:
    port, path = int(url.split(":")[2].split("/")[0]), "/" + url.rpartition("/")[2]
    turns = asyncio.Semaphore(at_once)

    async def one() -> None:
        async with turns:
            await _request(port, path)

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(total)))
    return total / (time.perf_counter() - began)


def throughput(url: str, total: int, at_once: int) -> float:
    """Return the requests per second that ``at_once`` clients reach with ``total`` requests."""
    hey = shutil.which("hey")
    if hey is None:
        return asyncio.run(_load(url, total, at_once))
    command = [hey, "-n", str(total), "-c", str(at_once), url]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"Requests/sec:\s+([\d.]+)", out)
    if found is None or not re.search(rf"\[200\]\s+{total} responses", out):
        raise RuntimeError(out)
    return float(found[1])


def _verdicts(folder: Path) -> dict[str, str]:
    """Return the plugin's verdicts on the examples, by request."""
    report = folder / "report.json"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["--nonblocking-report", str(report)]
    command += [f"examples/test_{module}.py" for module in ENDPOINTS]
    subprocess.run(command, cwd=_ROOT, capture_output=True, check=False)
    tests = json.loads(report.read_text("utf-8"))["tests"]
    return {test["target"]: test["verdict"] for test in tests if "accepted" not in test["nodeid"]}


def _agrees(path: str, url: str, verdict: str, serialised: bool) -> bool:
    """Load one endpoint and print its row; return whether the load shows what is expected."""
    target = f"{url}/{path}"
    throughput(target, AT_ONCE, AT_ONCE)  # opens connections and fills caches
    alone = throughput(target, 8, 1)
    # Where requests queue, a pause of the machine hides nothing.
    together = throughput(target, AT_ONCE * (2 if serialised else 6), AT_ONCE)
    gain = together / alone
    agrees = (gain < LEAST_GAIN) is serialised and verdict == ("fail" if serialised else "pass")
    row = f"{f'GET /{path}':<28} {verdict:<13} {alone:>8.0f}/s {together:>10.0f}/s {gain:>4.1f}"
    print(row if agrees else f"{row}  disagrees", flush=True)
    return agrees


def main() -> int:
    """Print the table; return the exit status."""
    agreeing = []
    with tempfile.TemporaryDirectory() as folder, services.slow_service() as stock:
        verdicts = _verdicts(Path(folder))
        database = str(Path(folder) / "shop.db")
        orders.fill(database)
        environment = {"STOCK_URL": stock, "SHOP_DATABASE": database}
        print(f"{'request':<28} {'verdict':<13} {'1 client':>10} {f'{AT_ONCE} clients':>12} gain")
        for module, paths in ENDPOINTS.items():
            with _served(module, environment) as url:
                agreeing += [
                    _agrees(path, url, verdicts[f"GET /{path}"], serialised)
                    for path, serialised in paths.items()
                ]
    print(f"{len(agreeing)} endpoints, {agreeing.count(False)} of them disagree")
    return 0 if all(agreeing) else 1


if __name__ == "__main__":
    sys.exit(main())
