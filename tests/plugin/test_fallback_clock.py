"""Where the system tells nothing of its scheduler, as on macOS and Windows."""

import json

import pytest

MARKED = """
import pytest

@pytest.mark.nonblocking(concurrency=16)
async def test_it(nonblocking_client):
    assert (await nonblocking_client.get("{path}")).status_code == 200
"""


@pytest.fixture
def report(project, monkeypatch):
    """Measure one path of the application without schedstat and return its report."""
    monkeypatch.setenv("PYTEST_NONBLOCKING_CLOCK", "fallback")

    def measure(path):
        project.makepyfile(MARKED.format(path=path))
        project.runpytest_subprocess(
            "--nonblocking-report=report.json", "--nonblocking-mode=report"
        )
        return json.loads((project.path / "report.json").read_text("utf-8"))

    return measure


def test_a_blocking_call_is_found_with_its_line(report):
    written = report("/blocking")
    (test,) = written["tests"]
    assert (test["verdict"], test["cause"]) == ("fail", "blocking-call")
    assert test["culprit"]["code"] == "time.sleep(0.05)"
    assert written["environment"]["clock"] == "thread_time with a canary thread"


def test_asynchronous_work_passes(report):
    (test,) = report("/")["tests"]
    assert (test["verdict"], test["cause"]) == ("pass", None)


CHILD = """
import asyncio, concurrent.futures, multiprocessing


def compute(number):
    total = 0
    for value in range(400_000):
        total = (total + value * number) % 65_521
    return total


pool = None


async def app(scope, receive, send):
    global pool
    if scope["type"] != "http":
        raise RuntimeError("no lifespan here")
    if pool is None:
        context = multiprocessing.get_context("spawn")
        pool = concurrent.futures.ProcessPoolExecutor(2, mp_context=context)
    await asyncio.get_running_loop().run_in_executor(pool, compute, 3)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
"""


def test_the_work_of_child_processes_is_seen(report, project):
    # If it is not seen, it looks like a queue and fails. Noise looks like one, too, without
    # schedstat, and may leave the verdict inconclusive.
    project.makepyfile(webapp=CHILD)
    (test,) = report("/")["tests"]
    assert test["verdict"] != "fail"
    assert any("CPU-bound" in note for note in test["notes"])


LOCKED = """
import asyncio, threading, time

import fastapi

app, lock = fastapi.FastAPI(), threading.Lock()


def work():
    time.sleep(0.03)
    with lock:
        time.sleep(0.03)


@app.get("/")
async def run() -> None:
    await asyncio.to_thread(work)
"""


def test_a_lock_that_threads_of_the_default_pool_wait_for_is_named(report, project):
    # The size of that pool follows from the number of cores, which would excuse its queue.
    project.makepyfile(webapp=LOCKED)
    (test,) = report("/")["tests"]
    assert (test["verdict"], test["cause"]) == ("fail", "serialised-wait")
    assert test["culprit"]["code"] == "with lock:"
