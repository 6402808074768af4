"""Runtime expressions of links, and addresses in answers."""

import json
from dataclasses import replace

import pytest

from pytest_nonblocking.scan.links import (
    addressed,
    leading,
    linked_values,
    matching,
    parameter_in,
    sharing,
    to_login,
)
from pytest_nonblocking.scan.operation import (
    Operation,
    Parameter,
    path_parameters,
    plain_path,
)
from pytest_nonblocking.scan.request import Answer

ASKED = "http://localhost/users/"


def answer(content, **headers):
    return Answer(201, headers, json.dumps(content).encode())


def operation(path, method="GET"):
    return Operation(method, path, path_parameters(path))


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("$response.body#/id", [7]),
        ("$response.body#/owner/name", ["ann"]),
        ("$response.body#/a~1b", ["slash"]),
        ("$response.body#/items/0/id", [1, 2, 3]),
        ("$response.body#/items/1/id", [2, 3, 1]),
        ("$response.body#/items/9/id", [1, 2, 3]),
        ("$response.header.Location", ["/users/7"]),
        ("$request.path.id", [5]),
        ("$request.query.q", ["x"]),
        ("$request.body#/name", ["bob"]),
        ("$statusCode", [201]),
        ("user-{$response.body#/id}-{$request.path.id}", ["user-7-5"]),
        ("user-{$response.body#/missing}", []),
        ("constant", ["constant"]),
        (12, [12]),
        ("$response.body#/missing", []),
        ("$response.body#/owner", []),
        ("$response.body#/id/0", []),
        ("$request.path.missing", []),
        ("$nonsense", []),
    ],
)
def test_expressions_are_read_from_the_request_and_its_answer(expression, values):
    content = {
        "id": 7,
        "owner": {"name": "ann"},
        "a/b": "slash",
        "items": [{"id": 1}, {"id": 2}, {"id": 3}],
    }
    sent = {"id": 5, "q": "x", "body": {"name": "bob"}}
    assert linked_values(expression, sent, answer(content, location="/users/7")) == values


@pytest.mark.parametrize(
    ("address", "path", "value"),
    [
        ("/users/7", "/users/{id}", "7"),
        ("/users/7/", "/users/{id}", "7"),
        ("http://localhost/users/7?x=1#y", "/users/{id}", "7"),
        ("http://localhost:8000/users/7", "/users/{id}", "7"),
        ("/users/a%20b", "/users/{id}", "a b"),
        ("/users/7/posts", "/users/{id}", "7"),
        ("/users/7", "/users/{id}/posts", "7"),
        ("/users/7.json", "/users/{id}.json", "7"),
        ("/v1/users/3/posts/9", "/v1/users/{user}/posts/{id}", "9"),
        ("7", "/users/{id}", "7"),
        ("http://elsewhere.example/users/7", "/users/{id}", None),
        ("/users", "/users/{id}", None),
        ("/users/me", "/users/{id}", None),
        ("/users/me/photo", "/users/{id}", None),
        ("/anything", "/{id}", None),
        ("/a/b", "/{org}/{id}", None),
        ("http://[broken", "/users/{id}", None),
    ],
)
def test_an_address_that_leads_to_a_path_has_its_parameter(address, path, value):
    known = [operation("/users/me"), operation("/users"), operation(path)]
    name = path_parameters(path)[-1].name
    assert parameter_in(address, ASKED, operation(path), name, known) == value


@pytest.mark.parametrize(
    "content",
    [
        [{"url": "http://localhost/users/7"}, {"url": "http://localhost/users/9"}],
        {"_links": {"self": {"href": "/users/"}}, "items": ["/users/7", "/users/9"]},
        {"data": [{"links": {"self": f"/users/{n}"}} for n in (7, 7, 9)], "next": "/users/?p=2"},
    ],
)
def test_addresses_are_found_wherever_an_answer_has_them(content):
    found = addressed(answer(content), ASKED, operation("/users/{id}"), "id", [])
    assert found == ["7", "9"]


@pytest.mark.parametrize("location", ["7", "/users/7", "http://localhost/users/7"])
def test_the_location_of_what_was_created_comes_first(location):
    created = answer({"self": "/users/9"}, location=location)
    assert addressed(created, ASKED, operation("/users/{id}"), "id", []) == ["7", "9"]


PAGE = """
<html><link href="/static/site.css"><a href='/users/7?tab=a&amp;page=2'>seven</a>
<a href="9">nine</a>
<a href="https://elsewhere.example/users/8"><form action="/users/me"><a href="#top"></html>
"""


def page(content=PAGE, kind="text/html; charset=utf-8"):
    return Answer(200, {"content-type": kind}, content.encode())


def test_the_addresses_of_a_page_are_those_of_its_links_and_forms():
    known = [operation("/users/me"), operation("/users/{id}")]
    assert addressed(page(), ASKED, operation("/users/{id}"), "id", known) == ["7", "9"]
    assert addressed(page(kind="text/plain"), ASKED, operation("/users/{id}"), "id", known) == []


@pytest.mark.parametrize(
    "content",
    [
        """<script type="importmap">{"imports": {"vue": "/users/7/vue.js"}}</script>""",
        """<div data-page="{&quot;user&quot;: &quot;/users/7/vue.js&quot;}">""",
        """<script>load('/users/7/vue.js')</script>""",
    ],
)
def test_the_addresses_of_a_page_are_those_of_its_scripts_as_well(content):
    one = operation("/users/{id}/{file}")
    assert leading(page(content), ASKED, one, []) == [{"id": "7", "file": "vue.js"}]


def test_an_address_gives_all_parameters_of_a_path_and_of_its_query():
    one = operation("/{kind}/{id}")
    query = Parameter("page", "query")
    one = replace(one, parameters=(*one.parameters, query))
    known = [operation("/users/me"), operation("/users/"), one]
    found = leading(page(), ASKED, one, known)
    assert found == [{"kind": "users", "id": "7", "page": "2"}, {"kind": "users", "id": "9"}]


def test_an_address_to_fill_in_gives_no_values():
    templated = answer({"next": "/users/{id}", "self": "/users/7"})
    assert leading(templated, ASKED, operation("/users/{id}"), []) == [{"id": "7"}]


def test_a_query_to_fill_in_is_left_out_of_its_address():
    one = operation("/users/{id}")
    queries = (Parameter("page", "query"), Parameter("tab", "query"))
    one = replace(one, parameters=(*one.parameters, *queries))
    templated = answer({"page": "/users/7?page={0},{1}&tab=a"})
    assert leading(templated, ASKED, one, []) == [{"id": "7", "tab": "a"}]


def test_addresses_of_other_operations_have_a_parameter_of_the_same_name():
    full = Operation("GET", "/files/full/{path}", path_parameters("/files/full/{path:path}"))
    known = [full, operation("/files/{path}"), operation("/pages/{path}")]
    listed = answer([f"/files/full/{path}" for path in ("a/b", "{path}")] + ["/pages/p", "/other"])
    block = operation("/files/block/{path}")
    assert sharing(listed, ASKED, block, "path", known) == ["a/b"]
    assert sharing(listed, ASKED, operation("/pages/{path}/size"), "path", known) == ["p"]
    assert sharing(listed, ASKED, block, "other", known) == []


@pytest.mark.parametrize(
    ("template", "address", "value"),
    [
        ("/files/{path:path}", "/files/a/b.txt", "a/b.txt"),
        ("/files/{path:path}/meta", "/files/a/b/meta", "a/b"),
        ("/files/{path:path}/meta", "/files/a/b", None),
    ],
)
def test_a_parameter_that_takes_slashes_has_the_rest_of_an_address(template, address, value):
    one = operation(plain_path(template))
    one = replace(one, parameters=path_parameters(template))
    assert parameter_in(address, ASKED, one, "path", []) == value


def test_the_operation_of_an_address_is_the_one_with_the_fewest_parameters():
    known = [operation("/users/{id}"), operation("/users/me"), operation("/users")]
    found = [matching(path, known) for path in ("/users/me", "/users/7/", "/users", "/other")]
    assert [one and (one[0].path, one[1]) for one in found] == [
        ("/users/me", {}),
        ("/users/{id}", {"id": "7"}),
        ("/users", {}),
        None,
    ]


@pytest.mark.parametrize(
    ("path", "location", "leads"),
    [
        ("/orders", "/login", True),
        ("/orders", "/login?next=/orders", True),
        ("/orders", "https://accounts.example/oauth2/authorize?client=1", True),
        ("/orders", "/accounts/sign-in/", True),
        ("/orders", "/orders/7", False),
        ("/orders", "/orders/?next=/login", False),
        ("/orders", "http://[broken", False),
        ("/login", "/oauth/authorize", False),
        ("/author", "/authors", False),
        ("/accounts/logout", "/accounts/login", False),
        ("/sign-out", "/sign-in", False),
    ],
)
def test_a_redirect_to_a_login_is_no_answer(path, location, leads):
    asked = to_login(Answer(302, {"location": location}, b""), path)
    assert (asked.to_login, asked.answers) == (leads, not leads)
