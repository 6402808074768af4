"""One table of options: command-line flags, ini values and marker keywords, with provenance.

Precedence: marker keyword, then command line, then ini, then default. Loaded by every pytest run
that has the plugin, so it imports nothing but pytest.
"""

from __future__ import annotations

import functools
import importlib.util
import math
import re
import reprlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

_MOST_COPIES = 100_000
_LARGEST = 1e6
"""The largest share, and the longest duration in seconds (11 days): no clock or wait overflows."""
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_APP = r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*(\(\))?"
_DOTTED = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+"
_CALLS_THAT_FAIL = "network, database, sleep, process, lock, dns"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
METHODS = (*SAFE_METHODS, "POST", "PUT", "PATCH", "DELETE", "TRACE", "QUERY")
"""The methods of HTTP that a scan may use."""
_GUARD_CALL = (
    "the dotted name of a C function, with an optional category, such as "
    "'mylib._native.Client.fetch: network'"
)


def parse_duration(raw: Any) -> float:
    """Return seconds from ``20ms``, ``1.5s``, ``800us`` or a number of seconds.

    Raises ValueError for anything else, and for what is negative or longer than ``_LARGEST``.
    """
    try:
        if isinstance(raw, str):
            text = raw.strip()
            unit = next((unit for unit in _UNITS if text.endswith(unit)), "")
            seconds = float(text.removesuffix(unit)) * _UNITS.get(unit, 1.0)
        elif isinstance(raw, (int, float)) and not isinstance(raw, bool):
            seconds = float(raw)
        else:
            raise ValueError
        if not 0 <= seconds <= _LARGEST:  # NaN is not
            raise ValueError
    except (ValueError, OverflowError):
        raise ValueError(
            "a duration such as 20ms, 1.5s or 800us, or a number of seconds, "
            f"of at most {_LARGEST:.0f} s"
        ) from None
    return seconds


def _positive_duration(raw: Any) -> float:
    seconds = parse_duration(raw)
    if seconds == 0:
        raise ValueError("a duration longer than zero, such as 20ms")
    return seconds


def _whole_number(least: int, most: float = math.inf) -> Callable[[Any], int]:
    def parse(raw: Any) -> int:
        try:
            if isinstance(raw, bool) or (isinstance(raw, float) and not raw.is_integer()):
                raise ValueError
            number = int(raw)
            if not least <= number <= most:
                raise ValueError
        except (TypeError, ValueError, OverflowError):
            limit = "" if most == math.inf else f" and at most {most}"
            raise ValueError(f"an integer of at least {least}{limit}") from None
        return number

    return parse


def _fraction(raw: Any) -> float:
    try:
        if isinstance(raw, bool):
            raise ValueError
        number = float(raw)
        if not 0 < number <= _LARGEST:
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"a number above 0 and at most {_LARGEST:.0f}, such as 0.1") from None
    return number


def _reasons(raw: Any, names: Sequence[str], kind: str) -> dict[str, str | None]:
    """Return the given ones of ``names``, each with its reason or None.

    Written as a mapping, as names, or as lines of the form ``name: reason``.
    """
    pairs: list[tuple[Any, Any]] = []
    if isinstance(raw, Mapping):
        pairs += raw.items()
    elif isinstance(raw, (str, list, tuple, set, frozenset)):
        for line in raw.splitlines() if isinstance(raw, str) else raw:
            if not isinstance(line, str):
                pairs.append((line, None))
                continue
            name, colon, reason = line.partition(":")
            given = [name.strip()] if colon else re.split(r"[\s,]+", name.strip())
            pairs += [(one, reason.strip() or None) for one in given if one]
    if not pairs or any(
        name not in names or not isinstance(reason, (str, type(None))) for name, reason in pairs
    ):
        raise ValueError(
            f"one or more of {', '.join(names)}, each with an optional reason "
            f"({{{kind}: reason}} or '{kind}: reason')"
        )
    return dict(pairs)


def _allowances(raw: Any) -> dict[str, str | None]:
    """Return the accepted causes, each with its reason or None."""
    if not raw:
        return {}
    from .model import CAUSES  # loads the dataclasses, which a run without us need not pay

    return _reasons(raw, CAUSES, "cause")


def _allowed_categories(raw: Any) -> dict[str, str | None]:
    """Return the accepted categories of blocking calls, each with its reason or None."""
    if not raw:
        return {}
    from .model import CATEGORIES  # as above

    return _reasons(raw, CATEGORIES, "category")


def _categories(raw: Any) -> tuple[str, ...]:
    if raw == _CALLS_THAT_FAIL:  # in every run: the model is not loaded for it
        return tuple(_CALLS_THAT_FAIL.split(", "))
    from .model import CATEGORIES

    names = re.split(r"[\s,]+", raw.strip()) if isinstance(raw, str) else raw
    known = isinstance(names, (list, tuple, set, frozenset)) and names
    if not known or not all(name in CATEGORIES for name in names):
        raise ValueError(f"one or more of {', '.join(CATEGORIES)}")
    return tuple(name for name in CATEGORIES if name in names)


def _guard_calls(raw: Any) -> dict[str, str]:
    """Return the categories of C functions, by the functions' dotted names."""
    if not raw:
        return {}
    from .model import CATEGORIES

    lines = raw.splitlines() if isinstance(raw, str) else raw
    if not isinstance(lines, (list, tuple)) or not all(isinstance(one, str) for one in lines):
        raise ValueError(_GUARD_CALL)
    found = {}
    for line in filter(None, map(str.strip, lines)):
        name, _, category = (part.strip() for part in line.partition(":"))
        if not re.fullmatch(_DOTTED, name) or (category or "network") not in CATEGORIES:
            raise ValueError(f"{_GUARD_CALL} (one of {', '.join(CATEGORIES)})")
        found[name] = category or "network"
    return found


def _one_of(*choices: str) -> Callable[[Any], str]:
    def parse(raw: Any) -> str:
        if raw not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return str(raw)

    return parse


def _transport(raw: Any) -> str:
    name = _one_of("asgi", "uvicorn", "hypercorn")(raw)
    if name != "asgi" and importlib.util.find_spec(name) is None:
        raise ValueError(f"asgi while {name} is not installed (pip install {name})")
    return name


def _path(raw: Any) -> str:
    if not isinstance(raw, str) or not raw.strip():
        raise ValueError("a file name")
    return raw.strip()


def _app(raw: Any) -> str:
    if not isinstance(raw, str) or not re.fullmatch(_APP, raw):
        raise ValueError("module:attribute, such as myapp.main:app or myapp.main:create_app()")
    return raw


def _switch(raw: Any) -> bool:
    words = {"true": True, "yes": True, "on": True, "1": True}
    words |= {"false": False, "no": False, "off": False, "0": False}
    known = words.get(str(raw).strip().lower())
    if known is None:
        raise ValueError("true or false")
    return known


def _lines(raw: Any, must_be: str = "text or a list of text") -> tuple[str, ...]:
    lines = raw.splitlines() if isinstance(raw, str) else raw
    if not isinstance(lines, (list, tuple)) or not all(isinstance(one, str) for one in lines):
        raise ValueError(must_be)
    return tuple(line.strip() for line in lines if line.strip())


def _paths(raw: Any) -> tuple[str, ...]:
    return _lines(raw, "a file name or a list of file names")


def _methods(raw: Any) -> tuple[str, ...]:
    words = re.split(r"[\s,]+", raw.strip()) if isinstance(raw, str) else raw
    named = isinstance(words, (list, tuple)) and words
    if not named or not all(isinstance(word, str) and word.upper() in METHODS for word in words):
        raise ValueError(f"one or more of {', '.join(METHODS)}")
    return tuple(word.upper() for word in words)


def _operations(raw: Any) -> tuple[str, ...]:
    lines = _lines(raw)
    for line in lines:
        method, _, path = line.rpartition(" ")
        if not path.startswith("/") or (method and len(_methods(method)) != 1):
            raise ValueError("paths, each after an optional method, such as 'GET /health'")
    return lines


def _limits_by_pattern(raw: Any) -> dict[str, dict[str, str]]:
    """Return raw settings by the patterns of operations."""
    found: dict[str, dict[str, str]] = {}
    for line in _lines(raw):
        pattern, colon, rest = line.rpartition(": ")
        pairs = [one.partition("=") for one in rest.split(",")]
        if not colon or not all(name.strip() and equals for name, equals, _ in pairs):
            raise ValueError(
                "lines such as 'GET /reports/*: max_serial_fraction=0.3, max_lag=50ms'"
            )
        found[pattern.strip()] = {name.strip(): value.strip() for name, _, value in pairs}
    return found


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
        _whole_number(2, _MOST_COPIES),
        "N",
        "number of copies in the largest burst",
    ),
    Option(
        "max_serial_fraction",
        0.1,
        _fraction,
        "F",
        "share of a single request's latency that each additional concurrent request may add",
    ),
    Option(
        "max_lag",
        "20ms",
        _positive_duration,
        "TIME",
        "maximum time one callback may hold the loop, noise excluded",
    ),
    Option(
        "max_blocked",
        "5ms",
        _positive_duration,
        "TIME",
        "maximum time one callback may be blocked",
    ),
    Option(
        "cpu_allowance",
        "5ms",
        parse_duration,
        "TIME",
        "CPU time per request on the loop that never counts against scaling",
    ),
    Option(
        "allow",
        (),
        _allowances,
        "CAUSE[: REASON]",
        "causes to accept, each with an optional reason; those found are reported as notes",
        repeated=True,
    ),
    Option(
        "timeout",
        "30s",
        _positive_duration,
        "TIME",
        "maximum duration of a burst; a longer one fails and reports where its copies wait",
    ),
    Option(
        "mode",
        "enforce",
        _one_of("enforce", "report", "off"),
        "MODE",
        "enforce, report (measure, but never fail a test) or off",
    ),
    Option(
        "transport",
        "asgi",
        _transport,
        "NAME",
        "how nonblocking_client reaches the app: asgi (in process), uvicorn or hypercorn",
    ),
    Option(
        "app",
        None,
        _app,
        "MODULE:ATTRIBUTE",
        "the ASGI application under test, such as myapp.main:app or myapp.main:create_app()",
    ),
    Option(
        "inconclusive",
        "warn",
        _one_of("warn", "fail"),
        "WHAT",
        "what to do with a test whose verdict is inconclusive: warn or fail",
    ),
    Option(
        "guard",
        "note",
        _one_of("note", "fail", "off"),
        "MODE",
        "calls that block the loop, however fast they are here: note, fail or off",
    ),
    Option(
        "guard_categories",
        _CALLS_THAT_FAIL,
        _categories,
        "CATEGORIES",
        "categories of calls that fail a test with guard=fail, of network, database, sleep, file, "
        "process, lock and dns; the others are notes",
    ),
    Option(
        "guard_allow",
        (),
        _allowed_categories,
        "CATEGORY[: REASON]",
        "categories of calls to accept, each with an optional reason; those found are reported "
        "as notes",
        repeated=True,
    ),
    Option(
        "guard_calls",
        (),
        _guard_calls,
        "FUNCTION[: CATEGORY]",
        "further functions that block, such as mylib._native.Client.fetch: network",
        marker=False,
        repeated=True,
    ),
    Option(
        "watch",
        False,
        _switch,
        "",
        "run each unmarked async test once and fail it if a callback holds the loop too long",
        marker=False,
        switch=True,
    ),
    Option(
        "report",
        (),
        _paths,
        "FILE",
        "report file to write; the extension selects the format (.json, .html, .md or .sarif), and "
        "- prints JSON",
        marker=False,
        repeated=True,
    ),
    Option(
        "baseline",
        None,
        _path,
        "FILE",
        "accept the known failures listed in this file; fail new and worse ones",
        marker=False,
    ),
    Option(
        "update_baseline",
        False,
        _switch,
        "",
        "accept all failures of this run and write them to the baseline file",
        marker=False,
        switch=True,
    ),
    Option(
        "history",
        None,
        _path,
        "FILE",
        "file to which each run adds its figures as a line of JSON (.jsonl); the HTML report draws "
        "the trend of each test",
        marker=False,
    ),
    Option(
        "require",
        None,
        _whole_number(0),
        "N",
        "fail the run if fewer than N measurements produced a verdict (unset: if there are tests "
        "to measure and none was measured)",
        marker=False,
    ),
    Option(
        "scan",
        False,
        _switch,
        "",
        "collect a test for each operation of the app",
        marker=False,
        switch=True,
    ),
    Option(
        "scan_methods",
        ", ".join(SAFE_METHODS),
        _methods,
        "METHODS",
        "methods that a scan may use; POST, PUT, PATCH and DELETE change the app's data",
        marker=False,
    ),
    Option(
        "scan_include",
        (),
        _lines,
        "PATTERN",
        "operations to scan, such as 'GET /users/*'; all if there is none",
        marker=False,
        repeated=True,
    ),
    Option(
        "scan_exclude",
        (),
        _lines,
        "PATTERN",
        "operations not to scan",
        marker=False,
        repeated=True,
    ),
    Option(
        "scan_paths",
        (),
        _operations,
        "PATH",
        "operations that the app does not describe, such as 'GET /health'",
        marker=False,
        repeated=True,
    ),
    Option(
        "scan_limits",
        (),
        _limits_by_pattern,
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
