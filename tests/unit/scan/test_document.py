"""What an OpenAPI document says that a request needs."""

import pytest

from pytest_nonblocking.scan.document import BrokenDocumentError, operations_in
from pytest_nonblocking.scan.operation import Body, Parameter


def only(document):
    (operation,) = operations_in(document)
    return operation


def described(operation, path="/items/{id}", **rest):
    return {"openapi": "3.1.0", "paths": {path: {"get": operation}}, **rest}


def test_parameters_are_read_with_what_a_request_must_have():
    operation = only(
        described(
            {
                "parameters": [
                    {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}},
                    {"name": "q", "in": "query", "required": True, "example": "blue"},
                    {"name": "page", "in": "query", "schema": {"type": "integer"}},
                ]
            }
        )
    )
    assert operation.name == "GET /items/{id}"
    assert operation.parameters == (
        Parameter("id", "path", {"type": "integer"}),
        Parameter("q", "query", {}, ("blue",)),
        Parameter("page", "query", {"type": "integer"}, required=False),
    )


def test_a_parameter_that_only_the_path_names_is_needed_too():
    assert only(described({})).parameters == (Parameter("id", "path"),)


def test_parameters_of_the_path_hold_for_each_of_its_operations():
    shared = [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]
    own = [{"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}]
    document = {
        "paths": {"/x/{id}": {"parameters": shared, "get": {}, "post": {"parameters": own}}}
    }
    get, post = operations_in(document)
    assert get.parameters == (Parameter("id", "path", {"type": "string"}),)
    assert post.parameters == (Parameter("id", "path", {"type": "integer"}),)


def test_references_are_followed_also_where_a_schema_contains_itself():
    node = {"type": "object", "properties": {"next": {"$ref": "#/components/schemas/Node"}}}
    document = described(
        {
            "requestBody": {"$ref": "#/components/requestBodies/Node"},
        },
        path="/nodes",
        components={
            "requestBodies": {
                "Node": {
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/Node"}}
                    }
                }
            },
            "schemas": {"Node": node},
        },
    )
    body = only(document).body
    assert body.media_type == "application/json"
    assert body.schema["properties"]["next"]["type"] == "object"


def test_a_json_body_is_preferred_to_other_media_types():
    content = {"application/xml": {}, "application/json": {"example": {"name": "a"}}}
    operation = only(described({"requestBody": {"content": content}}, path="/items"))
    assert operation.body == Body("application/json", {}, ({"name": "a"},))


def test_the_body_of_version_2_is_a_parameter():
    parameters = [{"name": "item", "in": "body", "schema": {"type": "object"}}]
    operation = only({"swagger": "2.0", "paths": {"/items": {"post": {"parameters": parameters}}}})
    assert operation.body == Body("application/json", {"type": "object"})
    assert operation.parameters == ()


@pytest.mark.parametrize(
    ("required", "schemes"),
    [
        (None, ("token",)),
        ([], ()),
        ([{"basic": []}, {"token": []}], ("basic", "token")),
        ([{"basic": []}, {}], ()),
    ],
    ids=["of the document", "none", "one of two", "optional"],
)
def test_security_schemes_that_an_operation_requires(required, schemes):
    operation = {} if required is None else {"security": required}
    assert only(described(operation, security=[{"token": []}])).security == schemes


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ([], "it is a list, not an object"),
        ({"openapi": "3.1.0"}, "it has no object `paths`"),
        ({"paths": {"/x": []}}, "`paths` has no object for /x"),
        ({"paths": {"/x": {"$ref": "#/paths/y"}}}, "which it does not contain"),
        ({"paths": {"/x": {"$ref": "other.json"}}}, "which is not part of it"),
    ],
)
def test_a_broken_document_is_refused_with_what_is_wrong(document, why):
    with pytest.raises(BrokenDocumentError, match=why):
        operations_in(document)
