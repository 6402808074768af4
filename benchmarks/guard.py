"""What the guard finds, misses and accuses in the written laboratory, by category.

    python benchmarks/guard.py [PYTEST ...]

Each labelled handler is measured once with ``guard=fail`` and all categories. Further arguments are
pytest's: ``--nonblocking-transport=uvicorn``, ``-k healthy``.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(_HERE / "truth"), str(_HERE.parent / "examples")]

from corpus import Case, cases  # noqa: E402
from shop.orders import fill  # noqa: E402
from slow_service import service  # noqa: E402

_ALL = "network, database, sleep, file, process, lock, dns"


def records(arguments: list[str]) -> dict[str, dict[str, Any]]:
    """Measure all cases and return their records by name."""
    with tempfile.TemporaryDirectory() as folder, service() as port:
        database, report = f"{folder}/orders.db", f"{folder}/report.json"
        fill(database)
        command = [sys.executable, "-m", "pytest", "truth/test_corpus.py", "-q"]
        command += ["-p", "no:cacheprovider", "-W", "default", "--nonblocking-guard=fail"]
        command += [f"--nonblocking-guard-categories={_ALL}", f"--nonblocking-report={report}"]
        variables = {"TRUTH_PORT": str(port), "TRUTH_DATABASE": database}
        subprocess.run(
            [*command, *arguments],
            cwd=_HERE,
            env={**os.environ, **variables},
            stdout=subprocess.DEVNULL,
            check=False,
        )
        tests = json.loads(Path(report).read_text("utf-8"))["tests"]
    return {re.search(r"\[(.*)\]", test["nodeid"])[1]: test for test in tests}  # type: ignore[index]


def _told(finding: dict[str, Any]) -> str:
    names = ", ".join(finding["functions"])
    return f"{finding['category']}: {names} at {finding['file']}:{finding['line']}"


def _is_at(finding: dict[str, Any], case: Case) -> bool:
    return finding["file"].endswith(case.file) and finding["line"] in case.lines


def main(arguments: list[str]) -> int:
    """Print the table; return 0."""
    found = records(arguments)
    right, named, missed, alarms = 0, 0, [], Counter[str]()
    faulty = [one for one in cases() if one.cause == "blocking-call" and one.name in found]
    for case in cases():
        if (record := found.get(case.name)) is None:
            continue
        unmeasured = [note for note in record["notes"] if note.startswith("guard: not-measured")]
        if unmeasured:
            print(f"{case.name}: {unmeasured[0]}")
        if case.cause == "blocking-call":
            right += bool(record["guard"])
            named += any(_is_at(one, case) for one in record["guard"])
            if not any(_is_at(one, case) for one in record["guard"]):
                missed.append(case.name)
                print(f"{case.name}: not at its line: {[_told(one) for one in record['guard']]}")
        else:
            for one in record["guard"]:
                alarms[one["category"]] += 1
                print(f"{case.name} ({case.cause or 'healthy'}): {_told(one)}")
    print(f"blocking: found {right} of {len(faulty)}, the line in {named}")
    print(f"other handlers: {len(found) - len(faulty)}, accused by category: {dict(alarms)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
