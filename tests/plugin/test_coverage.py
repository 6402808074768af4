"""Under coverage the verdict is the same, and coverage is that of one ordinary run."""

import json
import os
import subprocess
import sys

import pytest

APP = """
import asyncio


async def app(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("no lifespan here")
    total = 0
    for value in range(4_000):
        total = (total + value) % 65_521
    await asyncio.sleep(0.005)
    if scope["path"] == "/other":
        total += 1
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(total).encode()})
"""
MARKED = """
import pytest


@pytest.mark.nonblocking(concurrency=8)
async def test_it(nonblocking_client):
    assert (await nonblocking_client.get("/")).status_code == 200


def after():
    return 1


def test_after():
    assert after() == 1
"""
CORES = ["ctrace", "sysmon"] if sys.version_info >= (3, 12) else ["ctrace"]


def run(project, core, *flags):
    """Run the test of the project under coverage; return its report and the lines that ran."""
    environment = {"COVERAGE_CORE": core, "PYTEST_ADDOPTS": os.environ["PYTEST_ADDOPTS"]}
    command = [sys.executable, "-m", "coverage", "run", "--source=.", "-m", "pytest"]
    command += ["-q", "-p", "no:cacheprovider", "--nonblocking-report=report.json", *flags]
    for part in (command, [sys.executable, "-m", "coverage", "json", "-q", "-o", "lines.json"]):
        done = subprocess.run(
            part, cwd=project.path, capture_output=True, text=True, env=environment, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "CoverageWarning" not in done.stderr
    report = json.loads((project.path / "report.json").read_text("utf-8"))
    files = json.loads((project.path / "lines.json").read_text("utf-8"))["files"]
    return report, {name: files[name]["executed_lines"] for name in ("webapp.py", "test_it.py")}


@pytest.mark.parametrize("core", CORES)
def test_coverage_counts_the_lines_that_one_run_executes(project, core):
    project.makepyfile(
        webapp=APP,
        test_it=MARKED,
    )
    _, plain = run(project, core, "--nonblocking-mode=off")
    report, measured = run(project, core)
    (test,) = report["tests"]
    assert test["verdict"] == "pass"
    assert measured == plain
    assert plain["webapp.py"]


def test_the_report_names_the_tracer_that_was_suspended(project):
    project.makepyfile(
        webapp=APP,
        test_it=MARKED,
    )
    report, _ = run(project, "ctrace")
    assert "coverage" in report["environment"]["tracer"]
