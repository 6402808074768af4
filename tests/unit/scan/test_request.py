"""How values become a request."""

import datetime
import time
import uuid

import anyio
import pytest

from pytest_nonblocking.scan.operation import Body, Operation, Parameter
from pytest_nonblocking.scan.request import Answer, Request, first_answer, request_for
from pytest_nonblocking.scan.setup import Scan

LIST = Operation("GET", "/items", (Parameter("page", "query", required=False),))
ONE = Operation("GET", "/items/{id}", (Parameter("id", "path"),))


def test_values_go_where_their_parameters_are():
    names = {"id": "path", "q": "query", "x-trace": "header", "session": "cookie"}
    operation = Operation(
        "GET", "/items/{id}", tuple(Parameter(name, where) for name, where in names.items())
    )
    request = request_for(operation, {"id": "a b/c", "q": True, "x-trace": 5, "session": "s"})
    assert request.path == "/items/a%20b/c"
    assert request.query == {"q": "true"}
    assert request.headers == {"x-trace": "5"}
    assert request.cookies == {"session": "s"}


@pytest.mark.parametrize(
    ("media_type", "keywords"),
    [
        ("application/json", {"json": {"a": 1}}),
        ("application/problem+json", {"json": {"a": 1}}),
        ("application/x-www-form-urlencoded", {"data": {"a": 1}}),
        ("text/plain", {"content": '{"a": 1}', "headers": {"content-type": "text/plain"}}),
    ],
)
def test_a_body_is_sent_as_its_media_type(media_type, keywords):
    operation = Operation("POST", "/items", body=Body(media_type))
    assert request_for(operation, {}, {"a": 1}).body == keywords


def test_a_file_is_uploaded_and_a_field_is_sent():
    schema = {"properties": {"file": {"type": "string", "format": "binary"}, "name": {}}}
    operation = Operation("POST", "/items", body=Body("multipart/form-data", schema))
    body = request_for(operation, {}, {"file": "x", "name": "n"}).body
    assert body["data"] == {"name": "n"}
    assert list(body["files"]) == ["file"]


@pytest.mark.parametrize(
    ("inputs", "operation", "given"),
    [
        ({"GET /items": {"page": 2}}, LIST, {"page": 2}),
        ({"GET /items": {"unknown": 2}}, LIST, {"unknown": 2}),
        ({"*": {"page": 2, "id": 3, "unknown": 4}}, LIST, {"page": 2}),
        ({"*": {"id": 3}, "/items/{id}": {"id": 5}}, ONE, {"id": 5}),
        ({"/items/*": {"id": 3}}, LIST, {}),
    ],
)
def test_what_the_user_gives_for_an_operation(inputs, operation, given):
    assert Scan(inputs=inputs).values_for(operation) == given


def test_a_value_without_a_parameter_is_a_query():
    assert request_for(LIST, {"unknown": 2}).query == {"unknown": "2"}


def test_a_pattern_that_selects_nothing_is_named():
    Scan(inputs={"/items/*": {}, "*": {}}).check([LIST, ONE])
    with pytest.raises(pytest.UsageError, match="'/parts' of inputs matches none of the 2"):
        Scan(inputs={"/parts": {"id": 1}}).check([LIST, ONE])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"headers": {"x": 1}}, "headers is {'x': 1}, but must be a mapping of names to text"),
        ({"cookies": "x"}, "cookies is 'x', but must be"),
        ({"inputs": ["x"]}, "inputs is ['x'], but must map patterns"),
        ({"inputs": {"/x": 1}}, "inputs for '/x' are 1, but must be a mapping"),
        ({"inputs": {"/x": {"id": ...}}}, "'id' of '/x' is still `...`: give it a value"),
        ({"before": 5}, "before is 5, but must be a coroutine function"),
    ],
)
def test_inputs_of_another_type_are_named(arguments, text):
    with pytest.raises(pytest.UsageError) as raised:
        Scan(**arguments)
    assert text in str(raised.value)


def test_values_that_are_no_json_are_sent_as_their_text():
    key, day = uuid.UUID(int=1), datetime.date(2024, 1, 1)
    operation = Operation(
        "POST", "/users/{key}", (Parameter("key", "path"),), Body("application/json")
    )
    request = request_for(operation, {"key": key, "day": day}, {"day": day})
    assert request.path == "/users/00000000-0000-0000-0000-000000000001"
    assert request.query == {"day": "2024-01-01"}
    assert request.arguments["json"] == {"day": "2024-01-01"}


def test_the_first_line_of_a_page_is_its_text():
    page = b"<html><head><style>p {}</style><title>Not &amp; found</title></head><p>No item</p>"
    answer = Answer(404, {"content-type": "text/html"}, page)
    assert answer.first_line == "Not & found No item"


class AlwaysReady:
    """A client and its response, whose chunks never let it wait."""

    status_code, headers = 200, {}

    def build_request(self, *arguments, **keywords): ...

    async def send(self, request, stream):
        return self

    async def aiter_bytes(self):
        end = time.monotonic() + 3.0
        while time.monotonic() < end:
            yield b"x"
        raise AssertionError("it is read after half a second, too")

    async def aclose(self): ...


def test_an_endless_response_that_is_always_ready_is_left_after_half_a_second():
    answer = anyio.run(first_answer, AlwaysReady(), Request(LIST, "/items"))
    assert answer.chunks == 100
