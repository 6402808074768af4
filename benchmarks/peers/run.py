"""Put the peers side by side on the laboratory's corpus, in one run, and write the table.

    python benchmarks/peers/run.py [--python 3.12] [--write docs/peers.md]

For each tool: which faulty handlers it finds, by kind, whether its message names the right line,
which healthy ones it reports, and what a test costs in multiples of the bare request.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

_HERE = Path(__file__).resolve().parent
_ROOT = _HERE.parents[1]
sys.path[:0] = [str(_HERE.parent / "truth"), str(_ROOT / "examples")]

import interpreters
from corpus import Case, cases
from detectors import PEERS, Peer
from shop.orders import fill
from slow_service import service

_BUILD = _ROOT / "build" / "truth"
_KINDS = {
    "blocking-call": "blocking",
    "cpu-on-loop": "CPU",
    "gil-contention": "GIL",
    "thread-pool": "threads",
    "serialised-wait": "queues",
}


class Result(NamedTuple):
    """What one tool said of one case."""

    found: bool
    text: str
    seconds: float


def run(peer: Peer, python: str, variables: dict[str, str]) -> dict[str, Result]:
    """Run all cases under one tool."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results"
        command = [python, "-m", "pytest", f"{_HERE / 'test_peers.py'}", "-q", "--tb=native"]
        command += ["-p", "no:cacheprovider", "-W", "default", "-k", peer.test, *peer.arguments]
        environment = {**os.environ, **variables, "PEERS_RESULTS": str(results)}
        environment["PEERS_NAME"] = peer.name
        subprocess.run(command, cwd=_HERE, env=environment, capture_output=True, check=False)
        lines = [json.loads(line) for line in results.read_text("utf-8").splitlines()]
    return {
        line["case"]: Result(line["failed"], line["text"], line["seconds"] or line["duration"])
        for line in lines
    }


def names_line(text: str, case: Case) -> bool:
    """Return whether ``text`` names one of the lines of the case's culprit."""
    numbers = re.findall(rf"{re.escape(case.file)}\"?(?::|, line )(\d+)", text)
    return any(int(number) in case.lines for number in numbers)


def row(peer: Peer, results: dict[str, Result], bare: dict[str, Result]) -> str:
    """Return one row of the table."""
    found: dict[str, list[bool]] = defaultdict(list)
    lines: list[bool] = []
    alarms: list[str] = []
    for case in cases():
        result = results[case.name]
        if case.cause is None:
            alarms += [case.name] if result.found else []
            continue
        found[case.cause].append(result.found)
        if result.found and case.lines:
            lines.append(names_line(result.text, case))
    healthy = sum(case.cause is None for case in cases())
    ratios = [results[name].seconds / bare[name].seconds for name in results if name in bare]
    cells = [peer.name]
    cells += [f"{sum(found[cause])}/{len(found[cause])}" for cause in _KINDS]
    cells += [f"{sum(lines)}/{len(lines)}", f"{len(alarms)}/{healthy}"]
    cells.append(f"{statistics.median(ratios):.1f}")
    print(f"{peer.name}: false alarms {', '.join(alarms) or 'none'}", flush=True)
    return "| " + " | ".join(cells) + " |"


def versions(python: str) -> dict[str, str]:
    """Return the versions of the tools."""
    names = sorted({peer.distribution for peer in PEERS if peer.distribution})
    code = "import sys,json,importlib.metadata as m;"
    code += "print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"
    done = subprocess.run([python, "-c", code, *names], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def main() -> int:
    """Run all tools and print or write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default="3.12")
    parser.add_argument("--environments", type=Path, default=_BUILD / "python")
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    python = interpreters.environment(arguments.python, arguments.environments)
    if python is None:
        print(f"CPython {arguments.python} is not on this machine", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder, service() as port:
        database = f"{folder}/orders.db"
        fill(database)
        variables = {"TRUTH_PORT": str(port), "TRUTH_DATABASE": database}
        os.environ.update(variables)
        results = {peer.name: run(peer, python.command, variables) for peer in PEERS}
    page = _page(results, versions(python.command), python.version)
    print(page)
    if arguments.write:
        arguments.write.write_text(page, "utf-8")
    return 0


def _page(results: dict[str, dict[str, Result]], found: dict[str, str], python: str) -> str:
    bare = results["none"]
    head = ["tool", *_KINDS.values(), "line named", "false alarms", "cost"]
    rows = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    rows += [row(peer, results[peer.name], bare) for peer in PEERS if peer.name != "none"]
    tools = ["| tool | version | how it was used | what it is made for |", "|---|---|---|---|"]
    tools += [
        f"| {peer.name} | {_version(peer, found, python)} | {peer.used} | {peer.purpose} |"
        for peer in PEERS
        if peer.name != "none"
    ]
    return _TEXT.format(
        table="\n".join(rows),
        tools="\n".join(tools),
        system=f"CPython {python}, {platform.system()}, {os.cpu_count()} cores",
        faulty=sum(case.cause is not None for case in cases()),
        healthy=sum(case.cause is None for case in cases()),
    )


def _version(peer: Peer, found: dict[str, str], python: str) -> Any:
    return found[peer.distribution] if peer.distribution else f"CPython {python}"


_TEXT = """# Side by side with other tools

{faulty} faulty and {healthy} healthy handlers of the laboratory's corpus, each tool around one
request that is not the first, in one run ({system}). Written by `benchmarks/peers/run.py`.

{table}

The columns are how many faulty handlers were found, by kind: blocking calls in `async def`, CPU
on the loop, pure Python in threads (GIL), thread pools that are too small, and queues on locks
and connection pools; for how many of the finds the message names the file and line at fault;
how many healthy handlers were reported; and the median time of the test in multiples of the bare
request.

**What the figures do not say.** The tools have different purposes. Those that watch one request
cost almost nothing and can watch a whole suite or production. They cannot see what only shows under
concurrency (the last three kinds), and none of them claims to. pytest-nonblocking runs a test at
least 63 times before it passes, so its tests take many times as long, and it runs in tests only. A
limit in milliseconds misses shorter blocks; rows marked "20 ms" use pytest-nonblocking's limit for
one callback. blockbuster and aiocop report calls that may block even if they took microseconds, so
what counts as a false alarm here may be a finding for you. The corpus is pytest-nonblocking's own:
its authors chose what is faulty.

{tools}
"""


if __name__ == "__main__":
    sys.exit(main())
