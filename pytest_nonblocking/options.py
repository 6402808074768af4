"""One table of options: command-line flags, ini values and marker keywords.

Loaded by every pytest run that has the plugin, so it imports nothing else than pytest.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, NamedTuple, TypedDict

import pytest

from . import accepts

_MOST_COPIES = 100_000


class Option(NamedTuple):
    """One setting: how it is spelled everywhere, what it accepts, and what it means."""

    name: str
    default: Any
    parse: Callable[[Any], Any]
    metavar: str
    help: str
    marker: bool = True
    repeated: bool = False
    switch: bool = False

    @property
    def flag(self) -> str:
        """The command-line spelling."""
        return "--nonblocking-" + self.name.replace("_", "-")

    @property
    def ini(self) -> str:
        """The spelling in a configuration file."""
        return "nonblocking_" + self.name


OPTIONS = (
    Option(
        "concurrency",
        50,
        accepts.whole_number(2, _MOST_COPIES),
        "N",
        "number of copies in the largest burst",
    ),
    Option(
        "max_serial_fraction",
        0.1,
        accepts.fraction,
        "F",
        "share of a single request's latency that each additional concurrent request may add",
    ),
    Option(
        "max_lag",
        "20ms",
        accepts.positive_duration,
        "TIME",
        "maximum time one callback may hold the loop, noise excluded",
    ),
    Option(
        "max_blocked",
        "5ms",
        accepts.positive_duration,
        "TIME",
        "maximum time one callback may be blocked",
    ),
    Option(
        "cpu_allowance",
        "5ms",
        accepts.duration,
        "TIME",
        "CPU time per request on the loop that never counts against scaling",
    ),
    Option(
        "allow",
        (),
        accepts.allowances,
        "CAUSE[: REASON]",
        "causes to accept, each with an optional reason; those found are reported as notes",
        repeated=True,
    ),
    Option(
        "timeout",
        "30s",
        accepts.positive_duration,
        "TIME",
        "maximum duration of a burst; a longer one fails and reports where its copies wait",
    ),
    Option(
        "mode",
        "enforce",
        accepts.one_of("enforce", "report", "off"),
        "MODE",
        "enforce, report (measure, but never fail a test) or off",
    ),
    Option(
        "transport",
        "asgi",
        accepts.transport,
        "NAME",
        "how nonblocking_client reaches the app: asgi (in process), uvicorn or hypercorn",
    ),
    Option(
        "app",
        None,
        accepts.app,
        "MODULE:ATTRIBUTE",
        "the ASGI application under test, such as myapp.main:app or myapp.main:create_app()",
    ),
    Option(
        "inconclusive",
        "warn",
        accepts.one_of("warn", "fail"),
        "WHAT",
        "what to do with a test whose verdict is inconclusive: warn or fail",
    ),
    Option(
        "guard",
        "note",
        accepts.one_of("note", "fail", "off"),
        "MODE",
        "calls that block the loop, however fast they are here: note, fail or off",
    ),
    Option(
        "guard_categories",
        accepts.CALLS_THAT_FAIL,
        accepts.categories,
        "CATEGORIES",
        "categories of calls that fail a test with guard=fail, of network, database, sleep, file, "
        "process, lock and dns; the others are notes",
    ),
    Option(
        "guard_allow",
        (),
        accepts.allowed_categories,
        "CATEGORY[: REASON]",
        "categories of calls to accept, each with an optional reason; those found are reported "
        "as notes",
        repeated=True,
    ),
    Option(
        "guard_calls",
        (),
        accepts.guard_calls,
        "FUNCTION[: CATEGORY]",
        "further functions that block, such as mylib._native.Client.fetch: network",
        marker=False,
        repeated=True,
    ),
    Option(
        "watch",
        False,
        accepts.switch,
        "",
        "run each unmarked async test once and fail it if a callback holds the loop too long",
        marker=False,
        switch=True,
    ),
    Option(
        "report",
        (),
        accepts.file_names,
        "FILE",
        "report file to write; the extension selects the format (.json, .html, .md or .sarif), and "
        "- prints JSON",
        marker=False,
        repeated=True,
    ),
    Option(
        "baseline",
        None,
        accepts.file_name,
        "FILE",
        "accept the known failures listed in this file; fail new and worse ones",
        marker=False,
    ),
    Option(
        "update_baseline",
        False,
        accepts.switch,
        "",
        "accept all failures of this run and write them to the baseline file",
        marker=False,
        switch=True,
    ),
    Option(
        "history",
        None,
        accepts.file_name,
        "FILE",
        "file to which each run adds its figures as a line of JSON (.jsonl); the HTML report draws "
        "the trend of each test",
        marker=False,
    ),
    Option(
        "require",
        None,
        accepts.whole_number(0),
        "N",
        "fail the run if fewer than N measurements produced a verdict (unset: if there are tests "
        "to measure and none was measured)",
        marker=False,
    ),
    Option(
        "scan",
        False,
        accepts.switch,
        "",
        "collect a test for each operation of the app",
        marker=False,
        switch=True,
    ),
    Option(
        "scan_methods",
        ", ".join(accepts.SAFE_METHODS),
        accepts.methods,
        "METHODS",
        "methods that a scan may use; POST, PUT, PATCH and DELETE change the app's data",
        marker=False,
    ),
    Option(
        "scan_include",
        (),
        accepts.texts,
        "PATTERN",
        "operations to scan, such as 'GET /users/*'; all if there is none",
        marker=False,
        repeated=True,
    ),
    Option(
        "scan_exclude",
        (),
        accepts.texts,
        "PATTERN",
        "operations not to scan",
        marker=False,
        repeated=True,
    ),
    Option(
        "scan_paths",
        (),
        accepts.operations,
        "PATH",
        "operations that the app does not describe, such as 'GET /health'",
        marker=False,
        repeated=True,
    ),
    Option(
        "scan_limits",
        (),
        accepts.limits_by_pattern,
        "PATTERN: SETTING=VALUE",
        "settings of scanned operations, such as 'GET /reports/*: max_serial_fraction=0.3'",
        marker=False,
        repeated=True,
    ),
)
MARKER_KEYWORDS = tuple(option.name for option in OPTIONS if option.marker)


class ScenarioKeywords(TypedDict, total=False):
    """The settings of one measurement, for type checkers; ``OPTIONS`` say what each accepts.

    Durations are seconds, or text with a unit.
    """

    concurrency: int
    max_serial_fraction: float
    max_lag: float | str
    max_blocked: float | str
    cpu_allowance: float | str
    allow: str | Collection[str] | Mapping[str, str]
    timeout: float | str
    guard: Literal["note", "fail", "off"]
    guard_categories: str | Collection[str]
    guard_allow: str | Collection[str] | Mapping[str, str]


class Keywords(ScenarioKeywords, total=False):
    """The keywords of the marker: further settings that only a test has."""

    mode: Literal["enforce", "report", "off"]
    transport: Literal["asgi", "uvicorn", "hypercorn"]
    app: str
    inconclusive: Literal["warn", "fail"]


def add_options(parser: pytest.Parser) -> None:
    """Register every option of the table as a flag and an ini value.

    Flags default to None: a concrete default would hide the ini value.
    """
    group = parser.getgroup("nonblocking", "event-loop blocking (pytest-nonblocking)")
    for option in OPTIONS:
        shown = "off" if option.switch else "none" if option.repeated else option.default
        text = f"{option.help} (default: {'none' if shown is None else shown})"
        how: dict[str, Any] = {"action": "append" if option.repeated else "store"}
        how["metavar"] = option.metavar
        if option.switch:
            how = {"action": "store_const", "const": True}
        group.addoption(option.flag, dest=option.ini, default=None, help=text, **how)
        parser.addini(option.ini, text, type="string", default=None)
