"""Values that a description allows."""

import jsonschema
import pytest

from pytest_nonblocking.scan.values import declared, simplest


def test_examples_come_before_the_default_and_enumerated_values():
    schema = {"example": 3, "default": 4, "enum": [5, 6]}
    found = [(one.value, one.source) for one in declared(schema, (1, 2))]
    assert [value for value, _ in found] == [1, 2, 3, 4, 5, 6]
    assert [source for _, source in found[3:5]] == ["the default", "an enumerated value"]


def test_alternatives_declare_values_too():
    found = [one.value for one in declared({"anyOf": [{"type": "null"}, {"enum": ["a"]}]}, ())]
    assert found == ["a"]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer"},
        {"type": "integer", "minimum": 10, "multipleOf": 7},
        {"type": "integer", "exclusiveMinimum": 4},
        {"type": "integer", "maximum": -3},
        {"type": "number", "maximum": 0.5},
        {"type": "boolean"},
        {"type": ["null", "string"]},
        {"type": "string", "minLength": 20},
        {"type": "string", "maxLength": 2},
        {"type": "string", "format": "uuid"},
        {"type": "array", "items": {"type": "integer"}, "minItems": 3},
        {"type": "array"},
        {"anyOf": [{"type": "null"}, {"type": "integer"}]},
        {
            "type": "object",
            "required": ["name", "tags", "size"],
            "properties": {
                "name": {"type": "string"},
                "tags": {"type": "array", "items": {"type": "string"}},
                "size": {"enum": ["s", "m"]},
                "note": {"type": "string", "pattern": "^x$"},
            },
        },
        {
            "allOf": [
                {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}},
                {"required": ["b"], "properties": {"b": {"type": "boolean"}}},
            ]
        },
    ],
    ids=str,
)
def test_the_simplest_value_fits_its_schema(schema):
    jsonschema.validate(simplest(schema), schema, format_checker=jsonschema.FormatChecker())


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        (r"^[0-9]*(,[0-9]+)*$", "0"),
        (r"^[0-9]+,[0-9]+$", "0,0"),
        (r"^\w+$", "string"),
        (r"^[a-f0-9-]{36}$", "00000000-0000-4000-8000-000000000000"),
    ],
)
def test_a_common_text_that_fits_a_pattern_is_taken(pattern, value):
    assert simplest({"type": "string", "pattern": pattern}) == value


@pytest.mark.parametrize(
    "schema",
    [
        {"pattern": "^[a-z]{3}$"},
        {"pattern": "("},
        {"pattern": "^[[b]$"},
        {"pattern": r"^\w+$", "minLength": 200},
    ],
    ids=str,
)
def test_a_pattern_that_no_common_text_fits_is_left_to_a_library(schema):
    assert simplest({"type": "string", **schema}) is None


def test_a_schema_that_contains_itself_ends():
    node = {"type": "object", "required": ["next"], "properties": {}}
    node["properties"]["next"] = node
    assert simplest(node) is not None


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "minimum": "three"},
        {"type": "string", "maxLength": "x"},
        {"type": "array", "minItems": "x"},
        {"anyOf": 7},
        {"allOf": [3]},
        {"type": "object", "required": 5},
        True,
    ],
)
def test_a_keyword_of_another_type_than_it_must_have_gives_no_value_and_raises_nothing(schema):
    assert simplest(schema) is None or schema == {"allOf": [3]}
    assert [one.value for one in declared(schema, ("example",))] == ["example"]
