"""Whether a plain driver confirms what the truth predicts: the slope of a burst's makespan.

A seed is confirmed where the slope and the loop's processor time are within the tolerance of
what is predicted. Others are measured again, and left out of the count in the end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from . import calibrate, compose
from .calm import await_calm
from .driver import COPIES
from .truth import demand

_SHARE, _LEAST = 0.25, 1.0
_SHARED = 1.9  # how much slower two threads of a core are at once
_STEADY = 1.35
_CALM = 0.3
_ATTEMPTS = 3
_AT_A_TIME = 10
_HUNG = 300
_TRUTH = Path(__file__).resolve().parents[1]


def objections(measured: dict[str, Any], case: compose.Case, cores: int) -> list[str]:
    """Return what the measurement says against the label's figures."""
    if "error" in measured:
        return [measured["error"]]
    low, high = (demand(case.composition, scale=speed) for speed in measured["speed"])
    least, most = low.serial(COPIES, cores)[0], high.serial(COPIES, cores)[1]
    if high.gil + high.cores > _LEAST:
        shared = demand(case.composition, scale=_SHARED * measured["speed"][1])
        most = shared.serial(COPIES, cores)[1]
    against = []
    if not _within(measured["slope"], least, most):
        against.append(f"slope {measured['slope']:.1f} ms for {least:.1f} to {most:.1f}")
    if not _within(measured["loop_cpu"], low.loop, high.loop):
        against.append(
            f"loop CPU {measured['loop_cpu']:.1f} ms for {low.loop:.1f} to {high.loop:.1f}"
        )
    quick, slow = low.alone + low.after, high.alone + high.after
    if not _within(measured["alone"], quick, slow, least_tolerance=3):
        against.append(f"alone {measured['alone']:.1f} ms for {quick:.1f} to {slow:.1f}")
    return against


def _objections_if_calm(
    measured: dict[str, Any], case: compose.Case, cores: int
) -> list[str] | None:
    """Return the objections, or None where other work on the machine may be why.

    That can only add time: what agrees in spite of it is confirmed, unless the speed changed, for
    which there is an allowance that confirms too much.
    """
    low, high = measured.get("speed", (1, 1))
    if high > _STEADY * low:
        return None
    against = objections(measured, case, cores)
    return None if against and measured.get("pressure", 0) > _CALM else against


def _within(figure: float, least: float, most: float, least_tolerance: float = _LEAST) -> bool:
    below = max(least_tolerance, _SHARE * least)
    above = max(least_tolerance, _SHARE * most)
    return least - below <= figure <= most + above


class Ledger:
    """The last measurement of each case and how many there were undisturbed, in a file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[str, dict[str, Any]] = {}
        if file.exists():
            self._known = json.loads(file.read_text("utf-8"))

    def is_settled(self, case: compose.Case) -> bool:
        """Return whether the case, as it is drawn today, needs no further attempt."""
        return self.against(case) == [] or self._entry(case).get("attempts", 0) >= _ATTEMPTS

    def against(self, case: compose.Case) -> list[str] | None:
        """Return what speaks against the label; None where nothing is known."""
        known = self._entry(case)
        return _objections_if_calm(known["measured"], case, known["cores"]) if known else None

    def add(self, case: compose.Case, measured: dict[str, Any], cores: int) -> None:
        """Take note of one measurement."""
        against = _objections_if_calm(measured, case, cores)
        if against is None and self._entry(case):
            return
        self._known[case.name] = {
            "composition": repr(case.composition),
            "attempts": self._entry(case).get("attempts", 0) + (against is not None),
            "cores": cores,
            "measured": measured,
        }
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps(self._known, indent=1), "utf-8")

    def _entry(self, case: compose.Case) -> dict[str, Any]:
        known = self._known.get(case.name, {})
        return known if known.get("composition") == repr(case.composition) else {}


def validate(
    cases: Sequence[compose.Case], ledger: Ledger, variables: dict[str, str], patience: float
) -> None:
    """Measure the cases whose labels are not settled; the slow service has to run."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    variables = {**variables, **calibrate.variables()}
    for attempt in range(_ATTEMPTS):
        todo = [case for case in cases if not ledger.is_settled(case)]
        for start in range(0, len(todo), _AT_A_TIME):
            chunk = {case.seed: case for case in todo[start : start + _AT_A_TIME]}
            await_calm(patience)
            for measured in _driven(chunk, variables):
                ledger.add(chunk[measured["seed"]], measured, cores or 1)
            print(
                f"validated {start + len(chunk)} of {len(todo)}, attempt {attempt + 1}", flush=True
            )


def _driven(seeds: Iterable[int], variables: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Yield what the driver, in a process of its own, measures for each seed."""
    left = list(seeds)
    command = [sys.executable, "-m", "generated.driver", *map(str, left)]
    path = os.pathsep.join((str(_TRUTH), variables["PYTHONPATH"]))
    env = {**os.environ, **variables, "PYTHONPATH": path}
    try:
        done = subprocess.run(
            command, env=env, capture_output=True, text=True, timeout=_HUNG, check=False
        )
        out, err = done.stdout, done.stderr
    except subprocess.TimeoutExpired as expired:
        out, err = (expired.stdout or b"").decode(), "it hung"
    for line in out.splitlines():
        measured = json.loads(line)
        left.remove(measured["seed"])
        yield measured
    for seed in left[:1]:  # the others have not had their turn
        yield {"seed": seed, "error": f"the driver ended: {err[-300:]}"}
