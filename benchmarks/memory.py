"""What measured tests leave in the process: memory, descriptors and threads, beside a plain run.

    python benchmarks/memory.py [--tests 1000] [--kind body|asgi|plain|uvicorn ...]

Every second test blocks and fails. The same suite also runs without the plugin, where every second
test fails with a text of that length: pytest keeps each failure until the session ends.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil

CONFTEST = """
import gc, json, os, pathlib, sys
import psutil, pytest

process = psutil.Process()
ended, rows = 0, []

@pytest.fixture
def nonblocking_app():
    from webapp import app
    return app

def pytest_runtest_logfinish():
    global ended
    ended += 1
    if ended in {at}:
        gc.collect()
        rows.append([ended, process.memory_info().rss, process.num_fds(), process.num_threads()])

def pytest_unconfigure():
    pathlib.Path("rows.json").write_text(json.dumps(rows))
"""
APP = """
import asyncio, time

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("no lifespan")
    if scope["path"] == "/1":
        time.sleep(0.03)
    await asyncio.sleep(0.001)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
"""
HEAD = """
import asyncio, time
import pytest
pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.parametrize("n", range({tests})),
]
"""
COROUTINE = "@pytest.mark.asyncio\n@pytest.mark.nonblocking(concurrency=8)\nasync def test_it"
GETS = f'{COROUTINE}(n, nonblocking_client):\n    await nonblocking_client.get(f"/{{n % 2}}")\n'
KINDS = {
    "body": f"{COROUTINE}(n):\n    n % 2 and time.sleep(0.03)\n    await asyncio.sleep(0.001)\n",
    "asgi": GETS,
    "uvicorn": GETS,
    "plain": """
from starlette.testclient import TestClient
from webapp import app

@pytest.mark.nonblocking(concurrency=8)
def test_it(n):
    with TestClient(app) as client:
        client.get(f"/{n % 2}")
""",
    "without": """
async def wait():
    await asyncio.sleep(0.001)

def test_it(n):
    asyncio.run(wait())
    if n % 2:
        pytest.fail("x" * 1000 + str(n), pytrace=False)
""",
}


def measured(kind: str, tests: int) -> list[list[int]]:
    """Return rows of (tests so far, resident bytes, descriptors, threads) of one suite."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        at = {tests // 100, tests // 10, tests // 4, tests // 2, tests}
        (folder / "conftest.py").write_text(CONFTEST.replace("{at}", repr(at)), encoding="utf-8")
        (folder / "webapp.py").write_text(APP, encoding="utf-8")
        text = HEAD.format(tests=tests) + KINDS[kind]
        (folder / "test_it.py").write_text(text, encoding="utf-8")
        flags = {
            "without": ["-p", "no:nonblocking"],
            "uvicorn": ["--nonblocking-transport=uvicorn"],
        }.get(kind, [])
        command = [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:randomly"]
        command += ["-p", "no:rerunfailures"]  # which keeps the traceback of each failure
        command += ["--tb=no", "--no-summary", *flags]
        done = subprocess.run(command, cwd=folder, text=True, capture_output=True, check=False)
        if not (folder / "rows.json").exists():
            raise RuntimeError(done.stdout + done.stderr)
        print(f"{kind:>8}  {done.stdout.strip().splitlines()[-1]}")
        rows: list[list[int]] = json.loads((folder / "rows.json").read_text("utf-8"))
        return rows


def main() -> None:
    """Print one line for each point at which a suite was looked at."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tests", type=int, default=1000)
    parser.add_argument("--kind", action="append", choices=KINDS)
    chosen = parser.parse_args()
    print(f"{sys.version.partition(' ')[0]}, psutil {psutil.__version__}")
    for kind in chosen.kind or ("without", "body", "asgi", "plain"):
        rows = measured(kind, chosen.tests)
        first = rows[0]
        for tests, resident, descriptors, threads in rows:
            grown = (resident - first[1]) / 1e6
            print(
                f"{kind:>8}  {tests:>5} tests: {resident / 1e6:6.1f} MB ({grown:+5.1f}), "
                f"{descriptors} descriptors, {threads} threads"
            )


if __name__ == "__main__":
    main()
