"""The settings of a run and of a test: each option's value, and where it was set.

Precedence: marker keyword, then command line, then ini, then default. Loaded by every pytest run
that has the plugin, so it imports nothing else than pytest.
"""

from __future__ import annotations

import functools
import reprlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from .options import MARKER_KEYWORDS, OPTIONS, Option

_BY_NAME = {option.name: option for option in OPTIONS}


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
