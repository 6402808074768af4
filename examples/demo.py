"""Run all examples and compare what the plugin says with what it must say.

Prints a table and one failure as a user sees it; ``-v`` also prints the whole output of pytest.
Exits with 0 only if every verdict, cause and culprit is as labelled in ``expectations.py``. What a
busy machine leaves inconclusive is counted apart.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from expectations import EXPECTED, Expected

_SHOWN = "test_stock.py::test_requests_in_async"
_UNDECIDED = "inconclusive"
_HERE = Path(__file__).resolve().parent


def _run(report: Path, *, verbose: bool) -> int:
    command = [sys.executable, "-m", "pytest", "examples", "-v", "--tb=short"]
    command += ["-p", "no:cacheprovider", "--nonblocking-report", str(report)]
    if verbose:
        return subprocess.run(command, cwd=_HERE.parent, check=False).returncode
    print(f"Running {len(EXPECTED)} examples, which takes about a minute …", flush=True)
    done = subprocess.run(command, cwd=_HERE.parent, check=False, capture_output=True, text=True)
    if done.returncode != 1:
        print(done.stdout, done.stderr)
    return done.returncode


def _problems(found: dict[str, Any] | None, expected: Expected) -> list[str]:
    if found is None:
        return ["not in the report"]
    if found["verdict"] == "inconclusive" and expected.verdict != "inconclusive":
        return [_UNDECIDED, *found["notes"]]
    problems = []
    if found["verdict"] != expected.verdict:
        problems.append(f"verdict {found['verdict']}")
    if found["cause"] != expected.cause:
        problems.append(f"cause {found['cause']}")
    culprit = found["culprit"] or {"file": None, "function": "", "code": ""}
    if expected.file and culprit["file"] != expected.file:
        problems.append(f"file {culprit['file']}")
    functions = expected.function.split(" or ") if expected.function else []
    if functions and culprit["function"].rpartition(".")[2] not in functions:
        problems.append(f"function {culprit['function']}")
    if expected.code and expected.code not in culprit["code"]:
        problems.append(f"code {culprit['code']!r}")
    if expected.note and not any(expected.note in note for note in found["notes"]):
        problems.append(f"notes {found['notes']}")
    return problems


def _show(nodeid: str, found: dict[str, dict[str, Any]]) -> None:
    """Print what the plugin says of one test."""
    if message := found.get(nodeid, {}).get("message"):
        print(f"\nWhat {nodeid} says:\n\n{message}")


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-v", "--verbose", action="store_true", help="print all that pytest prints")
    verbose: bool = parser.parse_args().verbose
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        status = _run(report, verbose=verbose)
        if status != 1 or not report.exists():  # 1: the wrong endpoints must fail
            print(f"pytest ended with {status}", file=sys.stderr)
            return 1
        tests = json.loads(report.read_text(encoding="utf-8"))["tests"]
    found = {test["nodeid"].partition("/")[2]: test for test in tests}
    shown = dict(found)
    width = max(map(len, EXPECTED))
    wrong: list[str] = []
    undecided: list[str] = []
    labels = max(len(one.cause or one.verdict) for one in EXPECTED.values())
    print(f"\n{'example':<{width}}  {'expected':<{labels}}  measured")
    for nodeid, expected in EXPECTED.items():
        problems = _problems(found.pop(nodeid, None), expected)
        label = expected.cause or expected.verdict
        print(f"{nodeid:<{width}}  {label:<{labels}}  {'; '.join(problems) or 'the same'}")
        if problems:
            seen = undecided if problems[0] == _UNDECIDED else wrong
            seen.append(f"{nodeid}: expected {label}, measured {'; '.join(problems)}")
    for nodeid in found:
        wrong.append(f"{nodeid}: not labelled")
    for nodeid in [] if verbose else [line.partition(": ")[0] for line in wrong] or [_SHOWN]:
        _show(nodeid, shown)
    counts = f"{len(wrong)} not as labelled, {len(undecided)} inconclusive"
    print(f"\n{len(EXPECTED)} examples, {counts}")
    for line in (*wrong, *undecided):
        print(line)
    if not verbose:
        print("make demo ARGS=-v prints each failure, and the table with all figures")
    return 1 if wrong or undecided else 0


if __name__ == "__main__":
    sys.exit(main())
