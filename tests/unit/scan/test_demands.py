"""The parameters that an app asks for in what it refuses."""

import json

import pytest

from pytest_nonblocking.scan.demands import demanded
from pytest_nonblocking.scan.operation import Operation, Parameter
from pytest_nonblocking.scan.request import Answer

OPTIONAL = Parameter("run_id", "query", {"type": "integer"}, required=False)
OPERATION = Operation("GET", "/runs/{key}", (Parameter("key", "path"), OPTIONAL))


def asked(text, status=400):
    content = text if isinstance(text, str) else json.dumps(text)
    return [
        (one.name, one.where) for one in demanded(Answer(status, {}, content.encode()), OPERATION)
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Missing value for required parameter 'run_id'",
        {"message": 'Missing value for required parameter "run_id".'},
        "Missing query parameter: run_id",
        "Missing required argument run_id",
        "'run_id' is required",
        '{"run_id": "run_id is required"}',
        "Exactly one of run_id or name must be given",
        {"detail": ["ValueError", "Either run_id or name must be provided."]},
        {"detail": [{"type": "missing", "loc": ["query", "run_id"], "msg": "Field required"}]},
    ],
)
def test_what_an_error_misses_is_a_parameter(text):
    assert asked(text) == [("run_id", "query")]


def test_a_parameter_that_is_described_as_optional_has_its_schema():
    answer = Answer(422, {}, b"'run_id' is required")
    assert demanded(answer, OPERATION) == [OPTIONAL]


@pytest.mark.parametrize(
    "text",
    [
        "not found",
        "'key' is required",
        "This field is required",
        {"detail": [{"type": "missing", "loc": ["body", "name"], "msg": "Field required"}]},
        {
            "detail": [
                {"type": "int_parsing", "loc": ["query", "run_id"]},
                "text",
                {"type": "missing"},
            ]
        },
        "",
    ],
)
def test_other_errors_ask_for_nothing(text):
    assert asked(text) == []


def test_all_that_is_missing_is_asked_for_at_once():
    errors = [{"type": "missing", "loc": [where, "x-" + where]} for where in ("query", "header")]
    assert asked({"detail": errors}) == [("x-query", "query"), ("x-header", "header")]


def test_an_answer_that_is_no_refusal_asks_for_nothing():
    assert asked("'run_id' is required", status=404) == []
