#!/usr/bin/env python3
"""Run tests on every CPython that is found, and with the lowest versions of what is needed.

The row of lowest versions has those of the core; the row of extras has the lowest versions of the
extras and runs the tests that use them.

    .ci/matrix.py [--python 3.12 ...] [--but 3.11 ...] [--only latest|lowest|extras] [PYTEST ...]

Says which interpreters were not found. Environments stay in build/matrix until pyproject.toml
changes. Exits with 1 if a row failed.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import hashlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benchmarks" / "truth"))

from interpreters import VERSIONS, find  # noqa: E402

FOLDER = ROOT / "build" / "matrix"
PYPROJECT = (ROOT / "pyproject.toml").read_text("utf-8")
# What is not needed to show the lower bounds, and needs newer versions of what is.
NOT_WITH_LOWEST = re.compile(
    "blacksheep|check-jsonschema|django|falcon|httpx2|hypercorn|litestar|mcp|nox|pre-commit"
    "|python-multipart|quart|schemastore|selenium|sse-starlette|tox"
)
EXTRAS = ("html", "sarif", "websockets")
WITH_EXTRAS = [
    *("-n", "2"),
    "tests/plugin/test_report_files.py",
    "tests/unit/test_text_reports.py",
    "tests/e2e/protocols/test_websockets.py",
]
SECONDS = 1200
# pytest-asyncio 1.0 leaves event loops open, which the collector finds during any later test.
LEFT_OPEN = ["-W", "ignore::pytest.PytestUnraisableExceptionWarning"]


class Row(NamedTuple):
    """One environment: a CPython and which versions it has of the packages."""

    version: str
    python: str
    packages: str


def listed(name: str) -> list[str]:
    """Return the requirements in the list ``name`` of pyproject.toml."""
    text = re.search(rf"^{name} = \[(.*?)\]$", PYPROJECT, re.MULTILINE | re.DOTALL)
    assert text is not None, name
    return re.findall(r'"(.+?)"(?:,|$)', text[1], re.MULTILINE)


def requirements(row: Row) -> list[str]:
    """Return what pip is to install for ``row``."""
    if row.packages == "latest":
        return ["--group", "test", "--editable", ".[all]"]
    tests = [one for one in listed("test") if not NOT_WITH_LOWEST.match(one)]
    if row.packages == "extras":
        lowest = [one for extra in EXTRAS for one in listed(extra)]
    else:
        lowest = [one for one in listed("dependencies") if ";" not in one]
        lowest += [one for one in tests if one.startswith("fastapi")]
    return ["--editable", ".", *tests, *(one.replace(">=", "==") for one in lowest)]


def environment(row: Row) -> Path:
    """Return the interpreter of an environment for ``row``, made where it is missing or old."""
    home = FOLDER / f"{row.version}-{row.packages}"
    made_for = home / "made-for"
    state = hashlib.sha256(PYPROJECT.encode()).hexdigest()
    python = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not made_for.exists() or made_for.read_text("utf-8") != state:
        subprocess.run([row.python, "-m", "venv", "--clear", str(home)], check=True)
        pip = [str(python), "-m", "pip", "install", "-qq"]
        subprocess.run([*pip, "--upgrade", "pip>=25.1"], check=True)  # which knows groups
        subprocess.run([*pip, *requirements(row)], cwd=ROOT, check=True)
        made_for.write_text(state, encoding="utf-8")
    return python


def run(row: Row, made: concurrent.futures.Future[Path], arguments: list[str]) -> tuple[bool, str]:
    """Run the tests of ``row``; return whether they passed, and pytest's last line."""
    try:
        python = made.result()
    except subprocess.CalledProcessError as error:
        return False, f"the environment could not be made: {error}"
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += WITH_EXTRAS if row.packages == "extras" else arguments
    command += LEFT_OPEN if row.packages == "lowest" else []
    try:
        done = subprocess.run(
            command, cwd=ROOT, text=True, stdout=subprocess.PIPE, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return False, f"not done within {SECONDS} s"
    if done.returncode:
        print(done.stdout)
    return done.returncode == 0, (done.stdout.strip().splitlines() or ["no output"])[-1]


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--python", action="append", choices=VERSIONS)
    parser.add_argument(
        "--but",
        action="append",
        default=[],
        choices=VERSIONS,
        help="skip its row of latest versions",
    )
    parser.add_argument("--only", choices=("latest", "lowest", "extras"))
    chosen, arguments = parser.parse_known_args()
    found = {version: find(version) for version in chosen.python or VERSIONS}
    rows = [Row(version, python, "latest") for version, python in found.items() if python]
    rows += [row._replace(packages=kind) for row in rows[:1] for kind in ("lowest", "extras")]
    rows = [row for row in rows if row.packages != "latest" or row.version not in chosen.but]
    for version in [version for version, python in found.items() if not python]:
        print(f"CPython {version} is not on this machine: not run")
    rows = [row for row in rows if chosen.only in (None, row.packages)]
    failed = False
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as makers:
        made = [makers.submit(environment, row) for row in rows]
        for row, future in zip(rows, made, strict=True):
            concurrent.futures.wait([future])
            began = time.monotonic()
            passed, last = run(row, future, arguments)
            failed |= not passed
            word = "passed" if passed else "FAILED"
            took = time.monotonic() - began
            print(f"{word} {row.version} {row.packages:<6} {took:4.0f} s  {last}", flush=True)
    return int(failed or not rows)


if __name__ == "__main__":
    sys.exit(main())
