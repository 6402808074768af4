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
import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

_TRUTH = Path(__file__).resolve().parents[1]
sys.path[0] = str(_TRUTH)  # in place of this file's own folder

import run
import score
from conditions import CONDITIONS, Condition
from interpreters import Interpreter
from slow_service import service

from generated import apps, calibrate, compose, render
from generated.calm import await_calm, pressure
from generated.validate import Ledger, validate

_BUILD = apps.FOLDER.parent
_NAMES = [condition.name for condition in CONDITIONS]
_SEED = re.compile(r"seed-(\d+)\]$")


class Chunk(NamedTuple):
    """Some seeds in one session under one condition."""

    condition: Condition
    python: Interpreter
    cases: Sequence[compose.Case]

    @property
    def seeds(self) -> list[int]:
        """The numbers of the cases."""
        return [case.seed for case in self.cases]

    @property
    def file(self) -> str:
        """The name of its report, which is another one where seeds are drawn otherwise."""
        drawn = hashlib.sha256(repr(self.cases).encode()).hexdigest()[:8]
        seeds = f"{self.seeds[0]:06}-{self.seeds[-1]:06}-{drawn}"
        return f"{self.condition.name}_{self.python.version}_{seeds}.json"


def chunks(cases: Sequence[compose.Case], arguments: argparse.Namespace) -> list[Chunk]:
    """Return all chunks, condition after condition for the same seeds."""
    python = Interpreter("{}.{}".format(*sys.version_info), sys.executable)
    return [
        Chunk(condition, python, cases[start : start + arguments.chunk])
        for start in range(0, len(cases), arguments.chunk)
        for condition in CONDITIONS
        if condition.name in (arguments.condition or ["quiet", "busy"])
    ]


def judge(plan: list[Chunk], results: Path, variables: dict[str, str], patience: float) -> None:
    """Run the chunks that have no report yet."""
    todo = [chunk for chunk in plan if not (results / chunk.file).exists()]
    print(f"{len(plan)} chunks, {len(plan) - len(todo)} of them judged before")
    rates = calibrate.variables()
    for number, chunk in enumerate(todo, 1):
        await_calm(patience)
        started, waited = time.monotonic(), pressure()
        seeds = {"TRUTH_SEEDS": json.dumps(chunk.seeds), **rates}
        test = _TRUTH / "generated" / "test_generated.py"
        status = run.run(chunk, results, {**variables, **seeds}, test)
        took = time.monotonic() - started
        print(
            f"[{number}/{len(todo)}] {chunk.condition.name}, "
            f"seeds {chunk.seeds[0]} to {chunk.seeds[-1]}: "
            f"{took:.0f} s, pytest ended with {status}, "
            f"some task waited for a processor in {(pressure() - waited) / took:.0%} of the time",
            flush=True,
        )


def findings(
    plan: list[Chunk], results: Path, ledger: Ledger
) -> dict[tuple[str, str], list[score.Finding]]:
    """Return what was found of the seeds whose labels hold, by condition and Python."""
    found: dict[tuple[str, str], list[score.Finding]] = {}
    for chunk in plan:
        file = results / chunk.file
        if not file.exists():
            continue
        tests = json.loads(file.read_text("utf-8"))["tests"]
        records = {int(m.group(1)): t for t in tests if (m := _SEED.search(t["nodeid"]))}
        mine = found.setdefault((chunk.condition.name, chunk.python.version), [])
        for case in chunk.cases:
            if not ledger.against(case):
                mine.append(_finding(case, records.get(case.seed)))
    return found


def _finding(case: compose.Case, record: dict[str, Any] | None) -> score.Finding:
    if record is None:
        faulty = case.label.cause is not None
        nothing = "its test left no verdict"
        return score.Finding(case.name, faulty, "not-measured", nothing, False, True, None)
    label = score.Label(case.label.cause, render.culprit_file(case), has_line=True)
    return score.judge(record, case.name, label, alone_ms=(0, 1000))


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
                case = described(by_name[finding.case])
                print(f"{condition}: {finding.wrong}: {case}: {finding.detail}")
    for case in cases:
        if against := ledger.against(case):
            print(f"label not confirmed: {described(case)}: {'; '.join(against)}")
    if unknown := sum(ledger.against(case) is None for case in cases):
        print(f"{unknown} labels were not validated, or while the machine was busy: validate again")
    print("\n".join(score.lost(results)))
    wrong = ("wrong fail", "wrong pass")
    return int(any(f.wrong in wrong for mine in found.values() for f in mine))


def main() -> int:
    """Validate, judge and report; the exit status is 1 where a verdict was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seed", type=int, action="append", help="only this one")
    parser.add_argument("--chunk", type=int, default=50)
    parser.add_argument("--condition", action="append", choices=_NAMES, help="quiet and busy")
    parser.add_argument("--validate", action="store_true", help="confirm the labels and end")
    parser.add_argument(
        "--patience", type=float, default=0, help="seconds to wait for a calm machine, each time"
    )
    parser.add_argument("--again", action="store_true", help="judge what was judged before")
    parser.add_argument("--show", action="store_true", help="list the compositions and end")
    parser.add_argument("--results", type=Path, default=_BUILD / "results")
    parser.add_argument("--labels", type=Path, default=_BUILD / "labels.json")
    arguments = parser.parse_args()
    first = arguments.first_seed
    cases = list(map(compose.case, arguments.seed or range(first, first + arguments.count)))
    if arguments.show:
        print("\n".join(map(described, cases)))
        return 0
    ledger = Ledger(arguments.labels)
    results = arguments.results.resolve()
    results.mkdir(parents=True, exist_ok=True)
    plan = [] if arguments.validate else chunks(cases, arguments)
    for chunk in plan if arguments.again else []:
        (results / chunk.file).unlink(missing_ok=True)
    for case in cases:
        apps.write(case)
    with service() as port:
        # The plugin of this tree is judged, wherever the installed one comes from.
        tree = [str(_TRUTH.parents[1]), os.environ.get("PYTHONPATH", "")]
        path = os.pathsep.join(filter(None, tree))
        variables = {"TRUTH_PORT": str(port), "PYTHONPATH": path}
        if arguments.validate:
            validate(cases, ledger, variables, arguments.patience)
        else:
            judge(plan, results, variables, arguments.patience)
    return report(plan, results, ledger, cases)


if __name__ == "__main__":
    sys.exit(main())
