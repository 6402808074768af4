"""From the reports of the runs to one confusion table per condition.

    python benchmarks/truth/score.py build/truth/results [--markdown docs/truth.md]

A verdict is wrong where it is not the label's; ``inconclusive`` and ``not-measured`` are counted
apart. The cost is what a whole verdict takes in multiples of a single request's latency, median
over the cases that take 15 to 30 ms alone.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from conditions import CONDITIONS
from corpus.labels import names_in

_NAME = re.compile(r"\[(.*)\]$")


class Label(NamedTuple):
    """What is true of a case."""

    cause: str | None
    file: str
    has_line: bool


class Finding(NamedTuple):
    """One verdict, and what is wrong with it ('' where nothing is)."""

    case: str
    faulty: bool
    wrong: str
    detail: str
    failed: bool
    has_line: bool
    cost: float | None


def labels() -> dict[str, Label]:
    """Return the labels by the cases' names."""
    from corpus import cases

    return {case.name: Label(case.cause, case.file, bool(case.lines)) for case in cases()}


def judge(
    record: dict[str, Any], case: str, label: Label, alone_ms: tuple[float, float] = (15, 30)
) -> Finding:
    """Compare one record of a report with its label; it has a cost if it takes ``alone_ms``."""
    verdict, cause, culprit = record["verdict"], record["cause"], record["culprit"]
    wrong = detail = ""
    failed = verdict == "fail"
    if verdict in ("inconclusive", "not-measured"):
        wrong, detail = verdict, "; ".join(record["notes"])
    elif failed and label.cause is None:
        wrong = "wrong fail"
        where = f"{culprit['function']}:{culprit['line']}" if culprit else "no line"
        detail = f"{cause} {record['reasons']} {where}"
    elif not failed and label.cause is not None:
        wrong, detail = "wrong pass", f"judged {record.get('judged')}"
    elif failed and cause != label.cause:
        wrong, detail = "wrong cause", f"{cause} for {label.cause}"
    elif failed and label.has_line and not _is_at(culprit, case, label.file):
        wrong = "wrong line"
        detail = f"{culprit['file']}:{culprit['line']} {culprit['code']}" if culprit else "none"
    return Finding(
        case, label.cause is not None, wrong, detail, failed, label.has_line,
        _cost(record, alone_ms),
    )  # fmt: skip


def _is_at(culprit: dict[str, Any] | None, case: str, file: str) -> bool:
    # By the line's mark, not its number: a report stays true when lines are added above.
    return (
        culprit is not None
        and Path(culprit["file"]).name == file
        and case in names_in(culprit["code"])
    )


def _cost(record: dict[str, Any], alone_ms: tuple[float, float]) -> float | None:
    alone = [level for level in record["levels"] if level["concurrency"] == 1]
    if not alone:
        return None
    latency = float(alone[0]["latency_ms"]["p50"])
    return record["wall_s"] * 1000 / latency if alone_ms[0] <= latency <= alone_ms[1] else None


def read(folder: Path) -> dict[tuple[str, str], list[Finding]]:
    """Return the findings of all reports, by condition and Python."""
    truth = labels()
    found: dict[tuple[str, str], list[Finding]] = defaultdict(list)
    for file in sorted(folder.glob("*.json")):
        condition, python, _ = file.stem.rsplit("_", 2)
        tests = {t["nodeid"]: t for t in json.loads(file.read_text("utf-8"))["tests"]}
        seen = {match.group(1): t for n, t in tests.items() if (match := _NAME.search(n))}
        for name, record in seen.items():
            if name in truth:
                found[condition, python].append(judge(record, name, truth[name]))
    return found


KINDS = ("wrong fail", "wrong pass", "inconclusive", "not-measured", "wrong cause", "wrong line")
_HEAD = (
    "| condition | healthy | faulty | wrong fail | wrong pass | inconclusive | not measured "
    "| wrong cause | wrong line | healthy, R1 | faulty, R1 |\n|---|" + "---:|" * 10
)


def row(name: str, findings: list[Finding]) -> str:
    """Return one row of the table."""
    kinds = Counter(f.wrong for f in findings if f.wrong)
    healthy = [f for f in findings if not f.faulty]
    faulty = [f for f in findings if f.faulty]
    lines = [f for f in faulty if f.failed and f.has_line and f.wrong != "wrong cause"]
    failed = sum(f.failed for f in faulty)
    total = len(findings)
    cells = [name, len(healthy), len(faulty), kinds["wrong fail"], kinds["wrong pass"]]
    cells += [_share(kinds[kind], total) for kind in ("inconclusive", "not-measured")]
    cells += [_share(kinds["wrong cause"], failed), _share(kinds["wrong line"], len(lines))]
    cells += [_median(healthy), _median(faulty)]
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _share(number: int, of: int) -> str:
    return f"{number} ({number / of:.1%})" if number else "0"


def _median(findings: Iterable[Finding]) -> str:
    costs = [f.cost for f in findings if f.cost is not None]
    return f"{statistics.median(costs):.1f}" if costs else ""


def table(found: dict[tuple[str, str], list[Finding]], *, total: bool = True) -> str:
    """Return the table: one row per condition; then, for a ``total``, one per Python, then all."""
    rows = [_HEAD]
    for condition in CONDITIONS:
        mine = [f for (name, _), fs in found.items() if name == condition.name for f in fs]
        if mine:
            rows.append(row(f"{condition.name}: {condition.says}", mine))
    if not total:
        return "\n".join(rows)
    for python in sorted({python for _, python in found}, key=lambda v: int(v.split(".")[1])):
        mine = [f for (_, p), fs in found.items() if p == python for f in fs]
        rows.append(row(f"CPython {python}, all conditions", mine))
    rows.append(row("all", [f for fs in found.values() for f in fs]))
    return "\n".join(rows)


def problems(found: dict[tuple[str, str], list[Finding]]) -> list[str]:
    """Return what was wrong, one line for each case and kind, the most frequent first."""
    counts: Counter[tuple[str, str]] = Counter()
    where: dict[tuple[str, str], list[str]] = defaultdict(list)
    for (condition, python), findings in found.items():
        for finding in findings:
            if finding.wrong:
                key = finding.wrong, finding.case
                counts[key] += 1
                where[key].append(f"{condition} {python}: {finding.detail}")
    ordered = sorted(counts, key=lambda key: (KINDS.index(key[0]), -counts[key]))
    return [
        f"{kind}: {case} ×{counts[kind, case]} ({'; '.join(where[kind, case][:3])})"
        for kind, case in ordered
    ]


def main() -> int:
    """Print the table and the problems; return 1 where a verdict was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    return report(arguments.results, arguments.markdown)


def report(results: Path, markdown: Path | None) -> int:
    """Print the table and the problems and write the page, if asked for; return the status."""
    found = read(results)
    print(table(found))
    print("\n".join([*problems(found), *lost(results)]))
    if markdown:
        page = _PAGE.format(
            table=table(found), runs=_described(results), problems=_listed(found, results)
        )
        markdown.write_text(page, "utf-8")
    wrong = ("wrong fail", "wrong pass")
    return int(any(f.wrong in wrong for findings in found.values() for f in findings))


def _described(results: Path) -> str:
    files = sorted(results.glob("*.json"))
    seen = [json.loads(file.read_text("utf-8"))["environment"] for file in files]
    pythons = ", ".join(sorted({e["python"] for e in seen}))
    cores = ", ".join(sorted({str(e["cpu_count"]) for e in seen}))
    return f"{len(files)} runs of the corpus, CPython {pythons}, {cores} cores, Linux"


def lost(results: Path) -> list[str]:
    """Return which runs ended without a result, and their last words; they are not counted."""
    lines = []
    for log in sorted(results.glob("*.json.log")):
        if not log.with_suffix("").exists():
            condition, python, _ = log.name.split("_")
            output = log.read_text("utf-8", errors="replace").splitlines()
            why = next((line for line in output if "Fatal Python error" in line), "no result")
            lines.append(f"lost: {condition} {python}: {why.lstrip('.')}")
    return lines


def _listed(found: dict[tuple[str, str], list[Finding]], results: Path) -> str:
    lines = [*problems(found), *lost(results)]
    return "\n".join(f"- {_shortened(line)}" for line in lines) or "Nothing."


def _shortened(line: str) -> str:
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} …"


_LONGEST = 240


_PAGE = """# Truth under noise

`make truth` judges a corpus of labelled handlers under each of these conditions and counts what
was wrong. {runs}. This page is written by `benchmarks/truth/score.py`.

{table}

Shares are of all verdicts (inconclusive, not measured), of the fails (cause), and of the fails
that have a culprit in the user's code (line: file and line must be exact). The last two columns
are the cost of a whole verdict in multiples of a single request's latency, median over the cases
that take 15 to 30 ms alone.

## What was wrong

{problems}

## The crash of an earlier state

One run of an earlier state (memory pressure, CPython 3.11) ended with a segmentation fault in a
walk, in Python, over the frames of another thread that ran on meanwhile: a frame may be freed or
reused between two steps of such a walk. 40 s of a stress script did not reproduce it. Since then
all that is read of another thread comes from a single call in C, during which no other thread runs
Python. Eleven runs under memory pressure and xdist on CPython 3.11 then ended without a crash; a
run that is lost on this page is listed above.
"""


if __name__ == "__main__":
    sys.exit(main())
