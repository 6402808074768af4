"""What the guard finds, misses and accuses in the laboratory, by category.

    python benchmarks/guard.py [PYTEST ...]
    python benchmarks/guard.py --generated 200 [PYTEST ...]

Each labelled handler is measured once with ``guard=fail`` and all categories: those of the written
corpus, or those that are composed from the first seeds, with short calls added. Further arguments
are pytest's: ``--nonblocking-transport=uvicorn``, ``-k healthy``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

_HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(_HERE / "truth"), str(_HERE.parent / "examples")]

import corpus  # noqa: E402
from generated import calibrate, compose, render  # noqa: E402
from shop.orders import fill  # noqa: E402
from slow_service import service  # noqa: E402

CORPUS = "truth/test_corpus.py"
GENERATED = "truth/generated/test_generated.py"
CATEGORIES = ("network", "database", "sleep", "file", "process", "lock", "dns")


Finding = dict[str, Any]
"""A reported call: its file, line, category and functions, as in the plugin's report."""


class Blocks(NamedTuple):
    """A place where a handler calls what blocks."""

    file: str
    lines: range | frozenset[int]
    category: str

    def has(self, finding: Finding) -> bool:
        """Return whether a finding is of one of its lines."""
        return finding["file"].endswith(self.file) and finding["line"] in self.lines

    def is_found(self, finding: Finding) -> bool:
        """Return whether a finding is of its call."""
        return self.has(finding) and self.category == finding["category"]


class Truth(NamedTuple):
    """Where each handler blocks, by name, and whether those are all places where one does."""

    places: dict[str, list[Blocks]]
    is_complete: bool

    def is_alarm(self, name: str, finding: Finding) -> bool:
        """Return whether a finding is of no place where the handler blocks.

        A line may make calls of other categories: requests also reads a file with passwords.
        """
        places = self.places[name]
        is_known = self.is_complete or not places
        return is_known and not any(place.has(finding) for place in places)


def of_corpus() -> Truth:
    """Return where each handler of the corpus blocks, of which one place is labelled."""
    places = {
        case.name: [Blocks(case.file, frozenset(case.lines), case.calls)]
        if case.cause == "blocking-call"
        else []
        for case in corpus.cases()
    }
    return Truth(places, is_complete=False)


def of_generated(seeds: range) -> Truth:
    """Return where each generated handler blocks."""
    cases = [compose.with_calls(compose.case(seed)) for seed in seeds]
    return Truth({case.name: _steps(case) for case in cases}, is_complete=True)


def _steps(case: compose.Case) -> list[Blocks]:
    found = []
    for number, step in enumerate(case.composition.steps):
        if step.primitive.calls:
            name, lines = render.lines_of(case, number)
            found.append(Blocks(f"seed_{case.seed}/{name}", lines, step.primitive.calls))
    return found


def of_seeds(seeds: range) -> dict[str, str]:
    """Return the environment of tests of the generated handlers."""
    variables = {"TRUTH_SEEDS": json.dumps(list(seeds)), "TRUTH_CALLS": ""}
    return variables | calibrate.variables()


def records(
    test: str, variables: dict[str, str], arguments: list[str], python: str = sys.executable
) -> dict[str, Any]:
    """Measure the cases of a test file and return their records by name."""
    with tempfile.TemporaryDirectory() as folder, service() as port:
        database, report = f"{folder}/orders.db", f"{folder}/report.json"
        fill(database)
        command = [python, "-m", "pytest", test, "-q"]
        command += ["-p", "no:cacheprovider", "-W", "default", "--nonblocking-guard=fail"]
        command += [
            f"--nonblocking-guard-categories={', '.join(CATEGORIES)}",
            f"--nonblocking-report={report}",
        ]
        services = {"TRUTH_PORT": str(port), "TRUTH_DATABASE": database}
        subprocess.run(
            [*command, *arguments],
            cwd=_HERE,
            env={**os.environ, **services, **variables},
            stdout=subprocess.DEVNULL,
            check=False,
        )
        tests = json.loads(Path(report).read_text("utf-8"))["tests"]
    return {re.search(r"\[(.*)\]", test["nodeid"])[1]: test for test in tests}  # type: ignore[index]


class Tally:
    """How many places were found and missed, and how many lines accused, by category."""

    def __init__(
        self,
        truth: Truth,
        found: dict[str, list[Finding]],
        is_found: Callable[[Blocks, Finding], bool] = Blocks.is_found,
    ) -> None:
        self.found, self.missed, self.alarms = Counter[str](), Counter[str](), Counter[str]()
        self.healthy = [name for name in found if not truth.places[name]]
        self.accused: set[str] = set()
        self.remarks: list[str] = []
        """What was missed and what is a false alarm."""
        for name, findings in found.items():
            for place in truth.places[name]:
                is_there = any(is_found(place, finding) for finding in findings)
                (self.found if is_there else self.missed)[place.category] += 1
                if not is_there:
                    self.remarks.append(f"{name}: missed {place}")
            alarms = [finding for finding in findings if truth.is_alarm(name, finding)]
            self.remarks += [f"{name}: not of a blocking place: {_shown(one)}" for one in alarms]
            self.accused |= {name} if alarms and name in self.healthy else set()
            lines = {(one["category"], one["file"], one["line"]) for one in alarms}
            self.alarms.update(category for category, _, _ in lines)


def _shown(finding: Finding) -> str:
    names = ", ".join(finding["functions"])
    return f"{finding['category']}: {names} at {finding['file']}:{finding['line']}"


def show(truth: Truth, measured: dict[str, Any]) -> None:
    """Print what was missed and what is a false alarm, and how many there are of each."""
    for name, record in measured.items():
        for note in record["notes"]:
            if note.startswith("guard: not-measured"):
                print(f"{name}: {note}")
    tally = Tally(truth, {name: record["guard"] for name, record in measured.items()})
    print(*tally.remarks, sep="\n")
    print(f"{len(measured)} handlers, {len(tally.healthy)} of them without a blocking call")
    for kind, number in sorted((tally.found + tally.missed).items()):
        print(f"{kind}: found {tally.found[kind]} of {number} places")
    print(f"lines found elsewhere, by category: {dict(tally.alarms)}")


def main(arguments: list[str]) -> int:
    """Print the figures; return 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generated", type=int, metavar="SEEDS", help="compose so many handlers")
    mine, others = parser.parse_known_args(arguments)
    if mine.generated is None:
        show(of_corpus(), records(CORPUS, {}, others))
        return 0
    seeds = range(mine.generated)
    show(of_generated(seeds), records(GENERATED, of_seeds(seeds), others))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
