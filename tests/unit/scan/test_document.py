"""What an OpenAPI document says that a request needs."""

import pytest

from pytest_nonblocking.scan.document import BrokenDocumentError, operations_in
from pytest_nonblocking.scan.operation import Body, Link, Parameter


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
    found = only(described(operation, security=[{"token": []}])).security
    assert tuple(one.name for one in found) == schemes


@pytest.mark.parametrize(
    ("scheme", "credentials"),
    [
        ({"type": "http", "scheme": "basic"}, ("header", "Authorization", "Basic ...")),
        ({"type": "basic"}, ("header", "Authorization", "Basic ...")),
        ({"type": "http", "scheme": "bearer"}, ("header", "Authorization", "Bearer ...")),
        ({"type": "oauth2"}, ("header", "Authorization", "Bearer ...")),
        ({"type": "apiKey", "in": "header", "name": "X-Key"}, ("header", "X-Key", "...")),
        ({"type": "apiKey", "in": "cookie", "name": "sid"}, ("cookie", "sid", "...")),
        ({"type": "apiKey", "in": "query", "name": "key"}, ("query", "key", "...")),
    ],
)
@pytest.mark.parametrize("version", [2, 3])
def test_a_security_scheme_says_where_its_credentials_are(scheme, credentials, version):
    schemes = {"one": scheme}
    where = {"securityDefinitions": schemes}
    rest = where if version == 2 else {"components": {"securitySchemes": schemes}}
    (found,) = only(described({"security": [{"one": []}]}, **rest)).security
    assert (found.where, found.key, found.text) == credentials


def linked(link, status="201", **rest):
    create = {"operationId": "create", "responses": {status: {"links": {"one": link}}}}
    read = {"operationId": "read"}
    paths = {"/users": {"post": create}, "/users/{id}": {"get": read}}
    return {post.name: post for post in operations_in({"paths": paths, **rest})}


@pytest.mark.parametrize(
    "target",
    [
        {"operationId": "read"},
        {"operationRef": "#/paths/~1users~1{id}/get"},
        {"operationRef": "#/paths/~1users~1%7Bid%7D/get"},
    ],
)
@pytest.mark.parametrize("status", ["201", "2XX", "default"])
def test_links_are_kept_with_the_operation_to_which_they_lead(target, status):
    found = linked(target | {"parameters": {"id": "$response.body#/id"}}, status)
    (link,) = found["GET /users/{id}"].links
    assert link == Link("POST /users", "id", "", "$response.body#/id")
    assert found["POST /users"].links == ()
    (below,) = found["GET /users/{id}"].below("/api").links
    assert below.source == "POST /api/users"


def test_the_parameter_of_a_link_may_say_where_it_is():
    found = linked({"operationId": "read", "parameters": {"path.id": 1, "a.b": 2}})
    one, two = found["GET /users/{id}"].links
    assert (one.parameter, one.where) == ("id", "path")
    assert (two.parameter, two.where) == ("a.b", "")
    assert one.gives(Parameter("id", "path"))
    assert not one.gives(Parameter("id", "query"))
    assert not one.gives(Parameter("other", "path"))


def test_links_may_be_components():
    link = {"operationId": "read", "parameters": {"id": 1}}
    found = linked({"$ref": "#/components/links/x"}, components={"links": {"x": link}})
    assert len(found["GET /users/{id}"].links) == 1


@pytest.mark.parametrize(
    ("link", "status"),
    [
        ({"operationId": "unknown", "parameters": {"id": 1}}, "201"),
        ({"operationRef": "other.json#/paths/~1users~1{id}/get", "parameters": {"id": 1}}, "201"),
        ({"operationId": "read", "parameters": {"id": 1}}, "404"),
        ({"operationId": "read", "parameters": "id"}, "201"),
        ({"$ref": "#/components/links/missing"}, "201"),
        ("text", "201"),
    ],
)
def test_links_that_lead_nowhere_are_left_out(link, status):
    assert linked(link, status)["GET /users/{id}"].links == ()


def test_an_extension_beside_the_paths_is_none():
    found = operations_in({"paths": {"x-internal": "yes", "/x": {"get": {}}}})
    assert [one.name for one in found] == ["GET /x"]


@pytest.mark.parametrize(
    "reference",
    ["#/components/parameters/Page%5Bint%5D", "#/paths/~1b/get/parameters/0"],
    ids=["percent-encoded", "through a list"],
)
def test_a_reference_is_followed_however_it_is_written(reference):
    page = {"name": "page", "in": "query", "schema": {"type": "integer"}}
    paths = {"/a": {"get": {"parameters": [{"$ref": reference}]}}, "/b": {"get": {}}}
    paths["/b"]["get"]["parameters"] = [page]
    document = {"paths": paths, "components": {"parameters": {"Page[int]": page}}}
    assert [one.name for one in operations_in(document)[0].parameters] == ["page"]


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ([], "it is a list, not an object"),
        ({"openapi": "3.1.0"}, "it has no object `paths`"),
        ({"paths": {"/x": []}}, "`paths` has no object for /x"),
        ({"paths": {"/x": {"$ref": "#/paths/y"}}}, "which it does not contain"),
        ({"paths": {"/x": {"$ref": "other.json"}}}, "which is not part of it"),
        ({"paths": {"/x": {"$ref": "#/paths/~1x"}}}, "#/paths/~1x leads back to itself"),
        ({"paths": {"/x": {"get": {"security": 5}}}}, "GET /x is described wrongly: 'int'"),
    ],
)
def test_a_broken_document_is_refused_with_what_is_wrong(document, why):
    with pytest.raises(BrokenDocumentError, match=why):
        operations_in(document)


def schema_of(schemas):
    parameter = {"name": "q", "in": "query", "schema": {"$ref": "#/components/schemas/S0"}}
    paths = {f"/{n}": {"get": {"parameters": [parameter]}} for n in range(500)}
    document = {"paths": paths, "components": {"schemas": schemas}}
    return operations_in(document)[0].parameters[0].schema


@pytest.mark.parametrize("count", [1, 60])
def test_a_schema_that_grows_without_bounds_is_read_as_deep_as_it_stays_small(count):
    def branches(number):
        names = {f"p{n}": f"#/components/schemas/S{(4 * number + n) % count}" for n in range(4)}
        properties = {name: {"$ref": reference} for name, reference in names.items()}
        return {"type": "object", "required": list(names), "properties": properties}

    schema = schema_of({f"S{number}": branches(number) for number in range(count)})
    assert 20 < str(schema).count("'type'") <= 1000
