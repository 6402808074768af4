"""Judge the corpus again and again under every condition; may be stopped and goes on later.

    python benchmarks/truth/run.py [--repetitions 6] [--every 4] [--only CONDITION] [--python 3.12]

Each run of the corpus leaves one report in the folder of the results; a run whose report is
there is not made again. The table is printed at the end.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

_HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(_HERE.parents[1] / "examples"))

import score
from conditions import CONDITIONS, Condition, neighbours
from interpreters import VERSIONS, Interpreter, environment
from shop.orders import fill
from slow_service import service

_BUILD = _HERE.parents[1] / "build" / "truth"
_HUNG = 1200
_UNUSABLE = ("2", "3", "4", "5")  # pytest: interrupted, broken, wrongly called, nothing found


class Job(NamedTuple):
    """One run of the corpus."""

    condition: Condition
    python: Interpreter
    repetition: int

    @property
    def file(self) -> str:
        """The name of its report."""
        return f"{self.condition.name}_{self.python.version}_{self.repetition}.json"


def run(
    job: Any, results: Path, variables: dict[str, str], test: Path = _HERE / "test_corpus.py"
) -> str:
    """Make one run of ``test``; return pytest's exit status, or that it hung.

    A job has a condition, an interpreter (``python``) and the name of its report (``file``).
    """
    report = results / job.file
    command = [job.python.command, "-m"]
    with tempfile.TemporaryDirectory() as folder:
        if job.condition.coverage:
            command += ["coverage", "run", f"--data-file={folder}/coverage"]
            command += ["--source", str(_HERE / "corpus"), "-m"]
        command += ["pytest", str(test), "-q", "-p", "no:cacheprovider"]
        command += ["--nonblocking-mode", "report", "--nonblocking-report", str(report)]
        command += job.condition.arguments
        extra = dict(job.condition.environment)
        with neighbours(job.condition), (results / f"{job.file}.log").open("w") as log:
            try:
                done = subprocess.run(
                    command,
                    cwd=_HERE,
                    env={**os.environ, **variables, **extra},
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    timeout=_HUNG,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                return "nothing: it HUNG"
            return str(done.returncode)


def jobs(arguments: argparse.Namespace, pythons: list[Interpreter]) -> list[Job]:
    """Return all jobs, one repetition of everything after the other."""
    return [
        Job(condition, python, repetition)
        for repetition in range(arguments.repetitions)
        for condition in CONDITIONS
        for python in pythons
        if not arguments.only or condition.name in arguments.only
        if python.number >= condition.since
    ]


def main() -> int:
    """Run and score; the exit status is that of the score."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=6)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--python", action="append", default=[])
    parser.add_argument("--every", type=int, default=1, help="of the cases only every n-th")
    parser.add_argument("--markdown", type=Path, help="where to write the page")
    parser.add_argument("--results", type=Path, default=_BUILD / "results")
    parser.add_argument("--environments", type=Path, default=_BUILD / "python")
    arguments = parser.parse_args()
    arguments.results = arguments.results.resolve()
    arguments.results.mkdir(parents=True, exist_ok=True)
    versions = arguments.python or VERSIONS
    found = {version: environment(version, arguments.environments) for version in versions}
    for version, python in found.items():
        if python is None:
            print(f"CPython {version} is not on this machine: not run")
    plan = jobs(arguments, [python for python in found.values() if python])
    todo = [job for job in plan if not (arguments.results / job.file).exists()]
    print(f"{len(plan)} runs of the corpus, {len(plan) - len(todo)} of them made before")
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, service() as port:
        database = f"{folder}/orders.db"
        fill(database)
        variables = {"TRUTH_PORT": str(port), "TRUTH_DATABASE": database}
        for number, job in enumerate(todo, 1):
            started = time.monotonic()
            variables["TRUTH_EVERY"] = f"{arguments.every} {job.repetition}"
            status = run(job, arguments.results, variables)
            now = time.monotonic()
            left = (now - began) / number * (len(todo) - number)
            print(
                f"[{number}/{len(todo)}] {job.condition.name} {job.python.version}: "
                f"{now - started:.0f} s, pytest ended with {status}, {left / 60:.0f} min left",
                flush=True,
            )
            if status in _UNUSABLE:
                log = arguments.results / f"{job.file}.log"
                print(log.read_text("utf-8"), file=sys.stderr)
                return 2
    os.environ.update(variables)
    return score.report(arguments.results, arguments.markdown)


if __name__ == "__main__":
    sys.exit(main())
