"""Run all examples and compare what the plugin says with what it must say.

Exits with 0 only if every verdict, cause and culprit is as labelled in ``expectations.py``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from expectations import EXPECTED, Expected

_HERE = Path(__file__).resolve().parent


def _run(report: Path) -> int:
    command = [sys.executable, "-m", "pytest", "examples", "-v", "--tb=short"]
    command += ["-p", "no:cacheprovider", "--nonblocking-report", str(report)]
    return subprocess.run(command, cwd=_HERE.parent, check=False).returncode


def _problems(found: dict[str, Any] | None, expected: Expected) -> list[str]:
    if found is None:
        return ["not in the report"]
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


def main() -> int:
    """Return the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        status = _run(report)
        if status != 1 or not report.exists():  # 1: the wrong endpoints must fail
            print(f"pytest ended with {status}", file=sys.stderr)
            return 1
        tests = json.loads(report.read_text(encoding="utf-8"))["tests"]
    found = {test["nodeid"].partition("/")[2]: test for test in tests}
    width = max(map(len, EXPECTED))
    wrong = 0
    print(f"\n{'example':<{width}}  {'expected':<24} measured")
    for nodeid, expected in EXPECTED.items():
        problems = _problems(found.pop(nodeid, None), expected)
        label = expected.cause or expected.verdict
        print(f"{nodeid:<{width}}  {label:<24} {'; '.join(problems) or 'the same'}")
        wrong += bool(problems)
    for nodeid in found:
        print(f"{nodeid:<{width}}  not labelled")
    wrong += len(found)
    print(f"\n{len(EXPECTED)} examples, {wrong} not as labelled")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
