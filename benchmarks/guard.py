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
from pathlib import Path
from typing import Any, NamedTuple

_HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(_HERE / "truth"), str(_HERE.parent / "examples")]

import corpus  # noqa: E402
from generated import calibrate, compose, render  # noqa: E402
from shop.orders import fill  # noqa: E402
from slow_service import service  # noqa: E402

_ALL = "network, database, sleep, file, process, lock, dns"


class Blocks(NamedTuple):
    """A place where a handler calls what blocks; without a category any of them is right."""

    file: str
    lines: range | frozenset[int]
    category: str | None = None

    def has(self, finding: dict[str, Any]) -> bool:
        """Return whether a finding is of one of its lines."""
        return finding["file"].endswith(self.file) and finding["line"] in self.lines

    def is_found(self, finding: dict[str, Any]) -> bool:
        """Return whether a finding is of its call."""
        return self.has(finding) and self.category in (None, finding["category"])


def of_corpus() -> dict[str, list[Blocks]]:
    """Return where each handler of the corpus blocks."""
    return {
        case.name: [Blocks(case.file, frozenset(case.lines))]
        if case.cause == "blocking-call"
        else []
        for case in corpus.cases()
    }


def of_generated(seeds: range) -> dict[str, list[Blocks]]:
    """Return where each generated handler blocks."""
    return {f"seed-{seed}": _steps(compose.with_calls(compose.case(seed))) for seed in seeds}


def _steps(case: compose.Case) -> list[Blocks]:
    found = []
    for number, step in enumerate(case.composition.steps):
        if step.primitive.calls:
            name, lines = render.lines_of(case, number)
            found.append(Blocks(f"seed_{case.seed}/{name}", lines, step.primitive.calls))
    return found


def records(test: str, variables: dict[str, str], arguments: list[str]) -> dict[str, Any]:
    """Measure the cases of a test file and return their records by name."""
    with tempfile.TemporaryDirectory() as folder, service() as port:
        database, report = f"{folder}/orders.db", f"{folder}/report.json"
        fill(database)
        command = [sys.executable, "-m", "pytest", test, "-q"]
        command += ["-p", "no:cacheprovider", "-W", "default", "--nonblocking-guard=fail"]
        command += [f"--nonblocking-guard-categories={_ALL}", f"--nonblocking-report={report}"]
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


def _shown(finding: dict[str, Any]) -> str:
    names = ", ".join(finding["functions"])
    return f"{finding['category']}: {names} at {finding['file']}:{finding['line']}"


def count(truth: dict[str, list[Blocks]], found: dict[str, Any]) -> None:
    """Print what was missed and what is a false alarm, and how many there are of each."""
    places, missed, alarms = Counter[str](), Counter[str](), Counter[str]()
    for name, record in found.items():
        for note in record["notes"]:
            if note.startswith("guard: not-measured"):
                print(f"{name}: {note}")
        for place in truth[name]:
            kind = place.category or "blocking"
            places[kind] += 1
            if not any(map(place.is_found, record["guard"])):
                missed[kind] += 1
                print(f"{name}: missed {place}")
        for finding in record["guard"]:
            # Of the corpus one line of each handler is known. Besides, a line may make calls of
            # other categories: requests also reads a file with passwords.
            if not any(place.category is None or place.has(finding) for place in truth[name]):
                alarms[finding["category"]] += 1
                print(f"{name}: not of a blocking place: {_shown(finding)}")
    healthy = sum(not truth[name] for name in found)
    print(f"{len(found)} handlers, {healthy} of them without a blocking call")
    for kind, number in sorted(places.items()):
        print(f"{kind}: found {number - missed[kind]} of {number} places")
    print(f"found elsewhere, by category: {dict(alarms)}")


def main(arguments: list[str]) -> int:
    """Print the figures; return 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generated", type=int, metavar="SEEDS", help="compose so many handlers")
    mine, others = parser.parse_known_args(arguments)
    if mine.generated is None:
        count(of_corpus(), records("truth/test_corpus.py", {}, others))
        return 0
    seeds = range(mine.generated)
    variables = {"TRUTH_SEEDS": json.dumps(list(seeds)), "TRUTH_CALLS": ""}
    variables |= calibrate.variables()
    count(of_generated(seeds), records("truth/generated/test_generated.py", variables, others))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
