"""The stacks of a report in the format of speedscope, a viewer of profiles.

Each measurement has up to two profiles: its merged stacks, weighted by how often each was seen, and
the long callbacks of one burst in the order of time. The viewer is https://www.speedscope.app; it
sends what it opens nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from .plain import one_line
from .record import Record, Report, Stack, Timeline

_SCHEMA = "https://www.speedscope.app/file-format-schema.json"
_FRAME = re.compile(r"(.+?) \((.+):([0-9]+)\)")
_BLOCKED = "blocked"


def profiled(report: Report) -> list[Record]:
    """Return the measurements that have stacks or long callbacks."""
    return [one for one in report.tests if one.stacks or _has_steps(one.timeline)]


def render(given: Sequence[Record], tool: str, name: str) -> str:
    """Return the text of a file called ``name``; the viewer opens the first failure in it."""
    frames = _Frames()
    made = [(record, profile) for record in given for profile in _profiles(record, frames)]
    failed = (n for n, (record, _) in enumerate(made) if record.verdict == "fail")
    content = {
        "$schema": _SCHEMA,
        "name": name,
        "exporter": tool,
        "activeProfileIndex": next(failed, 0),
        "profiles": [profile for _, profile in made],
        "shared": {"frames": frames.listed()},
    }
    return one_line(content) + "\n"


class _Frames:
    """The frames that all profiles share, each once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        """Return the number of a frame as a report writes it, ``function (file:line)``."""
        return self._numbers.setdefault(text, len(self._numbers))

    def listed(self) -> list[dict[str, Any]]:
        """Return the frames by their numbers."""
        return [_frame(text) for text in self._numbers]


def _frame(text: str) -> dict[str, Any]:
    found = _FRAME.fullmatch(text)
    if found is None:
        return {"name": text}
    return {"name": found[1], "file": found[2], "line": int(found[3])}


def _has_steps(timeline: Timeline | None) -> bool:
    return timeline is not None and any(copy.steps_ms for copy in timeline.copies)


def _profiles(record: Record, frames: _Frames) -> Iterator[dict[str, Any]]:
    if record.stacks:
        yield _sampled(f"{record.nodeid}: {record.cause or record.verdict}", record.stacks, frames)
    if record.timeline is not None and _has_steps(record.timeline):
        name = f"{record.nodeid}: callbacks in a burst of {record.timeline.concurrency}"
        yield _evented(name, record.timeline, frames)


def _sampled(name: str, stacks: Sequence[Stack], frames: _Frames) -> dict[str, Any]:
    weights = [stack.count for stack in stacks]
    return {
        "type": "sampled",
        "name": name,
        "unit": "none",
        "startValue": 0,
        "endValue": sum(weights),
        "samples": [[frames.number(frame) for frame in stack.frames] for stack in stacks],
        "weights": weights,
    }


def _evented(name: str, timeline: Timeline, frames: _Frames) -> dict[str, Any]:
    """Return the callbacks of all copies, one after another as the loop ran them.

    When a callback was blocked is not known, only for how long: it is drawn at the end.
    """
    events: list[dict[str, Any]] = []
    end = 0.0

    def add(kind: str, frame: str, at: float) -> None:
        events.append({"type": kind, "frame": frames.number(frame), "at": round(at, 3)})

    copies = enumerate(timeline.copies)
    steps = [(*step, f"copy {number}") for number, copy in copies for step in copy.steps_ms]
    for start, length, blocked, copy in sorted(steps):
        began = max(start, end)  # of rounded times, one may begin before the last has ended
        end = max(began, start + length)
        add("O", copy, began)
        if blocked > 0:
            add("O", _BLOCKED, max(began, end - blocked))
            add("C", _BLOCKED, end)
        add("C", copy, end)
    return {
        "type": "evented",
        "name": name,
        "unit": "milliseconds",
        "startValue": 0,
        "endValue": max(timeline.makespan_ms, round(end, 3)),
        "events": events,
    }
