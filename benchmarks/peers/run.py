"""Put the peers side by side on the laboratory's handlers, in one run, and write the tables.

    python benchmarks/peers/run.py [--python 3.12] [--generated 200] [--write docs/peers.md]

For each tool: which faulty handlers of the corpus it finds, by kind, whether its message names the
right line, which healthy ones it reports, and what a test costs in multiples of the bare request.
For those that name blocking calls: what they find, miss and wrongly report by category, in the
corpus and in handlers that are composed from the first seeds.
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
sys.path[:0] = [str(_HERE.parent), str(_HERE.parent / "truth"), str(_ROOT / "examples")]

import guard
import interpreters
from corpus import Case, cases
from detectors import PEERS, Peer
from reporters import REPORTERS
from shop.orders import fill
from slow_service import service

GUARD = "pytest-nonblocking's guard"
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


def run(peer: Peer, python: str) -> dict[str, Result]:
    """Run all cases under one tool."""
    lines = _session("test_peers.py", peer.name, ["-k", peer.test, *peer.arguments], python)
    return {
        line["case"]: Result(line["failed"], line["text"], line["seconds"] or line["duration"])
        for line in lines
    }


def _session(test: str, name: str, arguments: list[str], python: str) -> list[dict[str, Any]]:
    """Run a test file under the tool of that name and return what became of each test."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results"
        command = [python, "-m", "pytest", f"{_HERE / test}", "-q", "--tb=native"]
        command += ["-p", "no:cacheprovider", "-W", "default", *arguments]
        environment = {**os.environ, "PEERS_RESULTS": str(results), "PEERS_NAME": name}
        subprocess.run(command, cwd=_HERE, env=environment, capture_output=True, check=False)
        return [json.loads(line) for line in results.read_text("utf-8").splitlines()]


class Calls(NamedTuple):
    """What the tools that name blocking calls found in each laboratory, by the tool's name."""

    seeds: range
    written: dict[str, guard.Tally]
    generated: dict[str, guard.Tally]


def calls(seeds: range, python: str) -> Calls:
    """Run the guard and its peers over the corpus and the generated handlers."""
    variables = guard.of_seeds(seeds)
    os.environ.update(variables)
    tests = guard.CORPUS, guard.GENERATED
    measured = [guard.records(test, variables, [], python) for test in tests]
    both = {name: record["guard"] for one in measured for name, record in one.items()}
    found = {GUARD: both}
    for reporter in REPORTERS:
        lines = _session("test_calls.py", reporter.name, [], python)
        if failed := [line["text"] for line in lines if line["failed"]]:
            raise RuntimeError(f"{reporter.name} did not measure all: {failed[0]}")
        found[reporter.name] = {line["case"]: line["found"] for line in lines}
    written = _tallies(guard.of_corpus(), found)
    return Calls(seeds, written, _tallies(guard.of_generated(seeds), found))


def _tallies(
    truth: guard.Truth, found: dict[str, dict[str, list[guard.Finding]]]
) -> dict[str, guard.Tally]:
    """Count by the lines alone: the other tools have no categories."""
    tallies = {}
    for tool, findings in found.items():
        mine = {name: findings[name] for name in truth.places}
        tallies[tool] = guard.Tally(truth, mine, guard.Blocks.has)
        for remark in tallies[tool].remarks:
            print(f"{tool}: {remark}")
    return tallies


def by_category(tallies: dict[str, guard.Tally]) -> str:
    """Return the table of one laboratory."""
    every = list(tallies.values())
    rows = [["category", "places", *tallies], ["---", *["---:"] * (len(every) + 1)]]
    for one in guard.CATEGORIES:
        cells = [f"{t.found[one]} / {t.missed[one]} / {t.alarms[one]}" for t in every]
        rows.append([one, str(every[0].found[one] + every[0].missed[one]), *cells])
    accused = [f"{len(tally.accused)} of {len(tally.healthy)}" for tally in every]
    rows.append(["handlers without such a call that are reported", "", *accused])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


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
    parser.add_argument("--generated", type=int, default=200, metavar="SEEDS")
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    python = interpreters.environment(arguments.python, arguments.environments)
    if python is None:
        print(f"CPython {arguments.python} is not on this machine", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder, service() as port:
        database = f"{folder}/orders.db"
        fill(database)
        os.environ.update({"TRUTH_PORT": str(port), "TRUTH_DATABASE": database})
        named = calls(range(arguments.generated), python.command)
        results = {peer.name: run(peer, python.command) for peer in PEERS}
    page = _page(results, named, versions(python.command), python.version)
    print(page)
    if arguments.write:
        arguments.write.write_text(page, "utf-8")
    return 0


def _page(
    results: dict[str, dict[str, Result]], named: Calls, found: dict[str, str], python: str
) -> str:
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
    naming = ["| tool | version | how it was used |", "|---|---|---|"]
    naming.append(f"| {GUARD} | {found['pytest-nonblocking']} | `guard=fail`, all categories |")
    naming += [f"| {one.name} | {found[one.distribution]} | {one.used} |" for one in REPORTERS]
    return _TEXT.format(
        table="\n".join(rows),
        tools="\n".join(tools),
        written=by_category(named.written),
        generated=by_category(named.generated),
        seeds=f"{len(named.seeds)} handlers, seeds {named.seeds[0]} to {named.seeds[-1]}",
        naming="\n".join(naming),
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

## Blocking calls by category

Three of the tools name each blocking call, however short: pytest-nonblocking's guard, blockbuster
and aiocop. In the same run ({system}) they were asked for all calls
that they find, in the corpus and in handlers that are composed at random from seeds, the same as
`benchmarks/guard.py --generated` composes. To three of four of these a short call of one of the
categories is added, and to all of them a call like it that does not block: a free lock, an address
instead of a name, the same call in a thread.

The cells are places found / places missed / false alarms. A place is a call that blocks, with its
lines; it is found if the tool names one of them, with whatever function. A false alarm is another
line of the handler, in the corpus of a handler without a blocking call (of the others, only one
place is labelled).

### The corpus

{written}

### Generated handlers

{seeds}.

{generated}

**What the figures do not say.** The labels are those of the guard, which was made with these
laboratories at hand; the others were not. Generated handlers count a call as blocking if it waits
or does I/O on the loop's thread, for microseconds too. The corpus calls a handler healthy that
keeps within the limits, also `small-file`, which opens a file on the loop as all three say. Two
handlers of the corpus wait in a function that a database calls: blockbuster names the call of the
database, which is not the labelled line. The guard measures a test in many requests, the others
watch one.

blockbuster replaces functions when it is activated, so what was imported by name before
(`from time import sleep`) is not seen, and it does not replace `select`, `getaddrinfo`, `open` and
`readline`. aiocop listens to audit events, which locks, `select` and most calls of databases do not
have. It also reports `socket.getaddrinfo` of a plain address, which looks up nothing, and the start
of a child process within `asyncio.create_subprocess_exec`, which holds the loop until the child has
been started: the guard leaves that out, as the loop's own affair. In the corpus, both report
what `submit` of a process pool does, which the guard leaves out, too.

{naming}
"""


if __name__ == "__main__":
    sys.exit(main())
