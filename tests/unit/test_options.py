"""Durations, and the one table that all spellings come from."""

import dataclasses
from decimal import Decimal

import pytest

from pytest_nonblocking import accepts
from pytest_nonblocking import config as settings
from pytest_nonblocking.model import Limits
from pytest_nonblocking.options import MARKER_KEYWORDS, OPTIONS, Keywords, ScenarioKeywords
from pytest_nonblocking.script import SETTINGS_OF_TESTS


@pytest.mark.parametrize(
    ("raw", "seconds"),
    [
        ("20ms", 0.02),
        ("1.5s", 1.5),
        ("800us", 0.0008),
        (" 5 ms ", 0.005),
        ("0.02", 0.02),
        (0.02, 0.02),
        (3, 3.0),
        ("1e-3s", 0.001),
    ],
)
def test_durations_have_units_or_are_seconds(raw, seconds):
    assert accepts.duration(raw) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "raw",
    [
        *("", "ms", "20 minutes", "-5ms", -1, "nan", float("inf"), True, None, [], "1.2.3s"),
        *(10**400, 10**5000, "1e400s", 1e7, "9" * 5000),
    ],
    ids=lambda raw: str(type(raw)),
)
def test_other_durations_are_refused(raw):
    with pytest.raises(ValueError, match="20ms"):
        accepts.duration(raw)


def test_every_option_has_a_field_and_every_limit_an_option():
    fields = {field.name for field in dataclasses.fields(settings.Settings)} - {"origins"}
    names = {option.name for option in OPTIONS}
    assert fields == names
    assert {field.name for field in dataclasses.fields(Limits)} < names


def test_type_checkers_know_every_keyword():
    assert Keywords.__annotations__.keys() == set(MARKER_KEYWORDS)
    assert ScenarioKeywords.__annotations__.keys() == set(MARKER_KEYWORDS) - set(SETTINGS_OF_TESTS)


def test_the_defaults_of_the_limits_are_the_defaults_of_the_options():
    limits = Limits()
    for option in OPTIONS:
        if hasattr(limits, option.name):
            default = option.parse(option.default)
            default = tuple(default) if isinstance(default, dict) else default
            assert default == getattr(limits, option.name)


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("concurrency", ["1", 0, "many", True, 10**9, 10**400, "1" * 5000, float("nan")]),
        ("concurrency", [2.5, 3.0, "3.0", "1e3", Decimal(3)]),
        ("max_serial_fraction", ["0", -1, "nan", "x", True, 10**400, "1e400", "1e300"]),
        ("max_lag", ["0ms", "soon"]),
        ("cpu_allowance", ["-1ms"]),
        ("allow", ["lock", ["thread-pool", "x"], 5, [10**5000], {"thread-pool": None}]),
        ("mode", ["on", True]),
        ("inconclusive", ["ignore"]),
        ("app", ["myapp", "my-app:app", 5]),
    ],
)
def test_bad_values_are_refused(name, bad):
    option = next(option for option in OPTIONS if option.name == name)
    for raw in bad:
        with pytest.raises(ValueError, match=r"\w"):
            option.parse(raw)
