"""One table of options: command-line flags, ini values and marker keywords, with provenance.

Precedence: marker keyword, then command line, then ini, then default. Loaded by every pytest run
that has the plugin, so it imports nothing else than pytest.
"""

from __future__ import annotations

import functools
import reprlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

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
_BY_NAME = {option.name: option for option in OPTIONS}
MARKER_KEYWORDS = tuple(option.name for option in OPTIONS if option.marker)


@dataclass(frozen=True)
class Settings:
    """The settings that hold for one test, each with its origin in ``origins``."""

    concurrency: int
    max_serial_fraction: float
    max_lag: float
    max_blocked: float
    cpu_allowance: float
    allow: Mapping[str, str | None]
    timeout: float
    mode: str
    transport: str
    app: str | None
    inconclusive: str
    guard: str
    guard_categories: tuple[str, ...]
    guard_allow: Mapping[str, str | None]
    guard_calls: Mapping[str, str]
    watch: bool
    report: tuple[str, ...]
    baseline: str | None
    update_baseline: bool
    history: str | None
    require: int | None
    scan: bool
    scan_methods: tuple[str, ...]
    scan_include: tuple[str, ...]
    scan_exclude: tuple[str, ...]
    scan_paths: tuple[str, ...]
    scan_limits: Mapping[str, Mapping[str, str]]
    origins: Mapping[str, str]

    @property
    def watches(self) -> bool:
        """Whether coroutine tests without the marker are watched."""
        return self.watch and self.mode != "off"

    def overlay(self, values: Mapping[str, Any], origin: str) -> Settings:
        """Return these settings with the raw ``values`` of a marker or a call on top.

        Raises pytest.UsageError for an unknown name or a bad value.
        """
        parsed = {
            name: _checked(_marker_option(name, origin), raw, origin)
            for name, raw in values.items()
        }
        if not parsed:
            return self
        fields = {option.name: getattr(self, option.name) for option in OPTIONS} | parsed
        return Settings(**fields, origins={**self.origins, **dict.fromkeys(parsed, origin)})

    def for_operation(self, patterns: Collection[str]) -> Settings:
        """Return the settings of a scanned operation that ``patterns`` select.

        Raises pytest.UsageError for an unknown name or a bad value.
        """
        settings = self
        for pattern, values in self.scan_limits.items():
            if pattern in patterns:
                origin = f"scan_limits for {pattern} from {self.origins['scan_limits']}"
                settings = settings.overlay(values, origin)
        return settings


def _marker_option(name: str, origin: str) -> Option:
    option = _BY_NAME.get(name)
    if option is None:
        raise pytest.UsageError(
            f"{origin}: nonblocking has no setting {name!r}; "
            f"valid settings: {', '.join(MARKER_KEYWORDS)}"
        )
    if not option.marker:
        raise pytest.UsageError(
            f"{origin}: {name!r} applies to the whole run; "
            f"set it with {option.flag}, or with {option.ini} in the ini file"
        )
    return option


def _checked(option: Option, raw: Any, origin: str) -> Any:
    try:
        return option.parse(raw)
    except ValueError as error:
        raise pytest.UsageError(
            f"{origin}: nonblocking setting {option.name} is {_shown(raw)}, but must be {error}"
        ) from None


def _shown(raw: Any) -> str:
    try:
        return reprlib.repr(raw)
    except Exception:  # an integer of more than 4,300 digits, and objects of the user's
        return f"of type {type(raw).__name__}"


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


def from_config(config: pytest.Config) -> Settings:
    """Resolve command line, ini file and defaults; raise pytest.UsageError for bad input."""
    settings = _resolved(functools.partial(_raw, config))
    for pattern in settings.scan_limits:
        settings.for_operation([pattern])  # validates what it sets
    return settings


def defaults() -> Settings:
    """Return the settings of a run that sets none."""
    return _resolved(lambda option: (option.default, "default"))


def _resolved(raw_of: Callable[[Option], tuple[Any, str]]) -> Settings:
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for option in OPTIONS:
        raw, origin = raw_of(option)
        values[option.name] = None if raw is None else _checked(option, raw, origin)
        origins[option.name] = origin
    return Settings(**values, origins=origins)


def _raw(config: pytest.Config, option: Option) -> tuple[Any, str]:
    from_flag = config.getoption(option.ini)
    if from_flag is not None:
        return from_flag, option.flag
    overrides = overridden(config)
    if option.ini in overrides:
        return overrides[option.ini], f"-o {option.ini}"
    table = ini_table(config)
    if option.ini in table:
        entry = table[option.ini]
        return getattr(entry, "value", entry), config.inipath.name if config.inipath else "ini"
    return option.default, "default"


def overridden(config: pytest.Config) -> dict[str, str]:
    """Return the ini values that ``-o`` sets; of several for one name, the last."""
    words: Iterable[str] = config.getoption("override_ini") or ()
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def ini_table(config: pytest.Config) -> Mapping[str, Any]:
    """Return the raw values of the ini file.

    getini() would refuse a TOML number for a "string" and has no type for "a duration or a number";
    the raw value is what `_inicfg` holds (pytest >= 9) or `inicfg` (pytest 8.4).
    """
    table: Mapping[str, Any] = config._inicfg if hasattr(config, "_inicfg") else config.inicfg
    return table


def from_markers(base: Settings, item: pytest.Item) -> Settings | None:
    """Return the settings of a marked test, or None for one without the marker.

    A closer marker wins over a farther one (function, class, module), keyword by keyword.
    """
    marks = list(item.iter_markers("nonblocking"))
    if not marks:
        return None
    settings = base
    for mark in reversed(marks):
        if mark.args:
            raise pytest.UsageError(
                f"{item.nodeid}: @pytest.mark.nonblocking takes keyword arguments only, "
                f"got {_shown(mark.args[0])}; valid settings: {', '.join(MARKER_KEYWORDS)}"
            )
        try:
            settings = settings.overlay(mark.kwargs, "marker")
        except pytest.UsageError as error:
            raise pytest.UsageError(f"{item.nodeid}: {error}") from None
    return settings
