"""Judge endpoints that are composed at random; may be stopped and goes on later.

    python benchmarks/truth/generated/laboratory.py --validate
    python benchmarks/truth/generated/laboratory.py --count 300 --condition quiet --condition busy

Each chunk of seeds is one session of pytest under one condition and leaves one report in the
folder of the results; a chunk whose report is there is not run again. The table and the wrong
seeds are printed at the end. With --validate a plain driver first confirms the labels, on a
machine where nothing else runs; seeds whose label it does not confirm are not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import NamedTuple

_TRUTH = Path(__file__).resolve().parents[1]
sys.path[0] = str(_TRUTH)  # in place of this file's own folder

import run
import score
from conditions import CONDITIONS, Condition
from interpreters import Interpreter
from slow_service import service

from generated import apps, calibrate, compose, render
from generated.validate import Ledger, validate

_BUILD = apps.FOLDER.parent
_NAMES = [condition.name for condition in CONDITIONS]
_SEED = re.compile(r"seed-(\d+)\]$")


class Chunk(NamedTuple):
    """Some seeds in one session under one condition."""

    condition: Condition
    python: Interpreter
    seeds: range

    @property
    def file(self) -> str:
        """The name of its report."""
        seeds = f"{self.seeds[0]:06}-{self.seeds[-1]:06}"
        return f"{self.condition.name}_{self.python.version}_{seeds}.json"


def chunks(arguments: argparse.Namespace) -> list[Chunk]:
    """Return all chunks, condition after condition for the same seeds."""
    python = Interpreter("{}.{}".format(*sys.version_info), sys.executable)
    first, last = arguments.first_seed, arguments.first_seed + arguments.count
    return [
        Chunk(condition, python, range(start, min(start + arguments.chunk, last)))
        for start in range(first, last, arguments.chunk)
        for condition in CONDITIONS
        if condition.name in (arguments.condition or ["quiet", "busy"])
    ]


def judge(plan: list[Chunk], results: Path, variables: dict[str, str]) -> None:
    """Run the chunks that have no report yet."""
    todo = [chunk for chunk in plan if not (results / chunk.file).exists()]
    print(f"{len(plan)} chunks, {len(plan) - len(todo)} of them judged before")
    rates = calibrate.variables()
    for number, chunk in enumerate(todo, 1):
        started, waited = time.monotonic(), _pressure()
        seeds = {"TRUTH_SEEDS": json.dumps(list(chunk.seeds)), **rates}
        test = _TRUTH / "generated" / "test_generated.py"
        status = run.run(chunk, results, {**variables, **seeds}, test)
        took = time.monotonic() - started
        print(
            f"[{number}/{len(todo)}] {chunk.condition.name} {chunk.seeds}: "
            f"{took:.0f} s, pytest ended with {status}, "
            f"some task waited for a processor in {(_pressure() - waited) / took:.0%} of the time",
            flush=True,
        )


def _pressure() -> float:
    """Return for how many seconds some task has waited for a processor; 0 where none tells."""
    file = Path("/proc/pressure/cpu")
    found = re.search(r"some .*total=(\d+)", file.read_text("ascii")) if file.exists() else None
    return int(found.group(1)) / 1e6 if found else 0.0


def findings(
    plan: list[Chunk], results: Path, ledger: Ledger
) -> dict[tuple[str, str], list[score.Finding]]:
    """Return what was found of the seeds whose labels hold, by condition and Python."""
    found: dict[tuple[str, str], list[score.Finding]] = {}
    for chunk in plan:
        file = results / chunk.file
        if not file.exists():
            continue
        for record in json.loads(file.read_text("utf-8"))["tests"]:
            match = _SEED.search(record["nodeid"])
            case = compose.case(int(match.group(1))) if match else None
            if case is not None and ledger.is_confirmed(case) is not False:
                label = score.Label(case.label.cause, render.culprit_file(case), has_line=True)
                finding = score.judge(record, case.name, label, alone_ms=(0, 1000))
                found.setdefault((chunk.condition.name, chunk.python.version), []).append(finding)
    return found


def described(case: compose.Case) -> str:
    """Return the composition in one line."""
    steps = ", ".join(
        f"{s.kind} {s.ms:g}{f'/{s.width}' if s.width else ''}{'!' * (n == case.label.culprit)} "
        f"in {s.place}{f'+{s.depth}' if s.depth else ''}"
        for n, s in enumerate(case.composition.steps)
    )
    return f"{case.name}: {case.label.cause or 'healthy'} ({steps})"


def report(plan: list[Chunk], results: Path, ledger: Ledger, cases: list[compose.Case]) -> int:
    """Print the table, the wrong seeds and the labels in doubt; return the status."""
    found = findings(plan, results, ledger)
    if found:
        print(score.table(found, total=False))
    by_name = {case.name: case for case in cases}
    for (condition, _), mine in found.items():
        for finding in sorted(mine, key=lambda f: (*score.KINDS, "").index(f.wrong)):
            if finding.wrong:
                told = described(by_name[finding.case])
                print(f"{condition}: {finding.wrong}: {told}: {finding.detail}")
    for case in cases:
        if ledger.is_confirmed(case) is False:
            print(f"label not confirmed: {described(case)}: {ledger.against(case)}")
    if unknown := sum(ledger.is_confirmed(case) is None for case in cases):
        print(f"{unknown} labels were not validated")
    print("\n".join(score.lost(results)))
    wrong = ("wrong fail", "wrong pass")
    return int(any(f.wrong in wrong for mine in found.values() for f in mine))


def main() -> int:
    """Validate, judge and report; the exit status is 1 where a verdict was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--chunk", type=int, default=50)
    parser.add_argument("--condition", action="append", choices=_NAMES, help="quiet and busy")
    parser.add_argument("--validate", action="store_true", help="confirm the labels and end")
    parser.add_argument("--show", action="store_true", help="list the compositions and end")
    parser.add_argument("--results", type=Path, default=_BUILD / "results")
    parser.add_argument("--labels", type=Path, default=_BUILD / "labels.json")
    arguments = parser.parse_args()
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.count)
    cases = [compose.case(seed) for seed in seeds]
    if arguments.show:
        print("\n".join(map(described, cases)))
        return 0
    ledger = Ledger(arguments.labels)
    results = arguments.results.resolve()
    results.mkdir(parents=True, exist_ok=True)
    plan = [] if arguments.validate else chunks(arguments)
    for case in cases:
        apps.write(case)
    with service() as port:
        # The plugin of this tree is judged, wherever the installed one comes from.
        tree = [str(_TRUTH.parents[1]), os.environ.get("PYTHONPATH", "")]
        path = os.pathsep.join(filter(None, tree))
        variables = {"TRUTH_PORT": str(port), "PYTHONPATH": path}
        if arguments.validate:
            validate(cases, ledger, variables)
        else:
            judge(plan, results, variables)
    return report(plan, results, ledger, cases)


if __name__ == "__main__":
    sys.exit(main())
