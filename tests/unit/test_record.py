"""The typed record: its schema, and reports that do not fit it."""

import copy
import functools
import json
from dataclasses import replace
from importlib import resources

import jsonschema
import pytest
from reported import LIMITS, culprit, failing, report

from pytest_nonblocking.gate import cli
from pytest_nonblocking.reporting.json_report import schema
from pytest_nonblocking.reporting.plain import DoesNotFitError, from_plain, text_of, to_plain
from pytest_nonblocking.reporting.record import Report

PAGE = "pytest_nonblocking.reporting.html_report"
IN_LIBRARY = culprit(file="pydantic/main.py", library=True, route="shop/app.py:40 in export")
FIGURE = {
    "setting": "max_serial_fraction",
    "unit": "fraction",
    "value": 1.0,
    "low": 0.9,
    "high": 1.1,
    "limit": 0.1,
}
READ = report(
    failing(
        culprit=IN_LIBRARY,
        figure=FIGURE,
        limits=LIMITS | {"max_lag": {"value": 0.02, "from": "default"}},
    )
)
WHOLE = to_plain(READ)
DELETED = object()
VALUES = (DELETED, None, True, -1, 0, 2.0, 1.5, "", "a:\n1\x1b", [], [[]], [None], {}, {"x": 1})
NO_NUMBERS = (float("nan"), float("inf"), 10**400, -(2**60))


def paths(node, path=()):
    """Yield where each value is; of a list, where its last one is."""
    if path:
        yield path
    if isinstance(node, dict):
        for key, value in node.items():
            yield from paths(value, (*path, key))
    elif isinstance(node, list) and node:
        yield from paths(node[-1], (*path, len(node) - 1))


def value_at(path, node=WHOLE):
    for key in path:
        node = node[key]
    return node


def altered(path, value, node=WHOLE):
    """Return the report with another value there, with none, or with one more field."""
    changed, (key, *rest) = copy.copy(node), path  # a copy of the whole takes most of the time
    if rest:
        changed[key] = altered(rest, value, node[key])
    elif value is DELETED:
        del changed[key]
    else:
        changed[key] = value
    return changed


PATHS = list(paths(WHOLE))
MORE = [(*path, "more") for path in PATHS if isinstance(value_at(path), dict)]
NUMBERS = [path for path in PATHS if type(value_at(path)) in (int, float)]
ALTERED = [(path, altered(path, value)) for path in PATHS for value in VALUES]
ALTERED += [(path, altered(path, 1)) for path in MORE]


def refusal(plain):
    """Return why a report is refused, None where it is read."""
    try:
        from_plain(Report, plain)
    except DoesNotFitError as error:
        return str(error)
    return None


@functools.cache
def accepted():
    """Return the altered reports that are read."""
    return [plain for _, plain in ALTERED if refusal(plain) is None]


@functools.cache
def refused():
    """Return the altered reports that are refused, and where each was altered."""
    return [(path, plain) for path, plain in ALTERED if refusal(plain)]


def test_the_published_schema_is_generated_from_the_record():
    published = resources.files("pytest_nonblocking.reporting").joinpath("report.schema.json")
    assert published.read_text("utf-8") == text_of(schema()), "write it anew: make schema"


def test_a_report_is_read_as_it_was_written():
    assert from_plain(Report, json.loads(text_of(READ))) == READ


def test_what_is_read_is_what_fits_the_schema():
    jsonschema.validate(WHOLE, schema())
    fits = jsonschema.Draft202012Validator(schema()).is_valid
    assert [plain for plain in accepted() if not fits(plain)] == []
    assert [path for path, plain in refused() if fits(plain)] == []


def test_a_refusal_names_the_field_in_one_line():
    no_numbers = [(path, altered(path, value)) for path in NUMBERS for value in NO_NUMBERS]
    assert len(refused()) > 500
    for path, plain in (*refused(), *no_numbers):
        why = refusal(plain)
        name = [key for key in path if isinstance(key, str)][-1]
        assert name in why, why
        assert why.isprintable(), why
        assert len(why) < 250, why


@pytest.fixture
def files(tmp_path):
    """The path of a good report, and that of a bad one."""
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(text_of(READ), encoding="utf-8")
    return str(good), bad


@pytest.mark.parametrize("command", ["show", "compare"])
def test_the_command_refuses_what_is_no_report_and_takes_the_rest(files, capsys, command):
    good, bad = files
    bad_ones = [plain for _, plain in refused()[::10]]
    for plain in (*accepted(), *bad_ones):
        bad.write_text(json.dumps(plain), encoding="utf-8")
        status = cli.main([command, *([good] if command == "compare" else []), str(bad)])
        shown = capsys.readouterr().err
        assert (status, shown.count("\n")) == (2, 1) if plain in bad_ones else shown == "", shown


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


EXTREMES = [
    (("nodeid",), "\ud800"),
    (("limits", "allow", "value"), nested(400)),
    (("limits", "allow", "value"), nested(900)),
    (("stacks", 0, "frames"), ["f"] * 5000),
    (("timeline", "makespan_ms"), 1e-320),
    (("timeline", "makespan_ms"), 2**53),
    (("levels", 1, "makespan_ms"), -(2**53)),
    (("levels", 1, "concurrency"), 2**53),
    (("culprit", "source", "first"), 2**53),
    (("ceiling_rps",), 1e-320),
    (("limits", "max_lag", "value"), float("nan")),
    (("limits", "max_lag", "value"), 10**400),
    (("limits", "max_lag", "value"), -1e308),
    (("limits", "max_serial_fraction", "value"), 10**400),
    (("figure", "high"), None),
    (("serial_fraction",), 2**53),
]


@pytest.mark.parametrize(("path", "value"), EXTREMES, ids=lambda one: str(one)[:40])
@pytest.mark.parametrize("command", ["show", "html"])
def test_the_command_stands_what_no_measurement_gives(files, capsys, command, path, value):
    pytest.importorskip(PAGE, reason="the extra html is not installed")
    _, bad = files
    bad.write_text(json.dumps(altered(("tests", 0, *path), value)), encoding="utf-8")
    status = cli.main([command, str(bad)])
    assert capsys.readouterr().err.count("\n") == (status == 2)


def test_a_page_is_made_of_whatever_is_read():
    html_report = pytest.importorskip(PAGE, reason="the extra html is not installed")
    read = [from_plain(Report, plain) for plain in accepted()]
    tests = [test for one in read for test in one.tests if test != READ.tests[0]]
    page = html_report.render(replace(READ, tests=tuple(tests)))
    assert page.count("<details") == len(tests) > 50
    sessions = [replace(READ, session=one.session) for one in read if one.session != READ.session]
    assert len(sessions) > 20
    assert all(html_report.render(one).startswith("<!doctype html>") for one in sessions)
