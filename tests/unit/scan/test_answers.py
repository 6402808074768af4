"""Which operations and which keys of their answers feed a parameter."""

import pytest

from pytest_nonblocking.scan.answers import named_in, sources, values_in
from pytest_nonblocking.scan.operation import Operation, path_parameters


def operation(name):
    method, path = name.split()
    return Operation(method, path, path_parameters(path))


def fed_by(wanted, *others, parameter=None):
    one = operation(wanted)
    name = parameter or one.parameters[-1].name
    return [source.name for source in sources(one, name, [one, *map(operation, others)])]


@pytest.mark.parametrize(
    ("wanted", "source"),
    [
        ("GET /users/{id}", "GET /users"),
        ("GET /users/{id}", "GET /users/"),
        ("GET /user/{user_id}", "GET /users"),
        ("GET /v1/categories/{id}/items", "GET /v1/categories"),
        ("GET /category/{slug}", "GET /categories/all"),
        ("GET /api/runs/{run_id}", "GET /runs/search"),
        ("GET /x/{project_id}", "GET /projects"),
        ("DELETE /users/{id}", "GET /users"),
    ],
)
def test_the_list_of_a_resource_feeds_its_operations(wanted, source):
    assert fed_by(wanted, "GET /health", "POST /users", source)[0] == source


def test_the_collection_of_a_nested_resource_is_asked_with_the_outer_parameter():
    found = fed_by(
        "GET /users/{user_id}/posts/{post_id}", "GET /users", "GET /users/{user_id}/posts"
    )
    assert found == ["GET /users/{user_id}/posts"]


def test_an_operation_that_needs_other_parameters_feeds_none():
    assert fed_by("GET /posts/{id}", "GET /users/{user_id}/posts") == []


def test_the_operation_that_creates_one_is_asked_last():
    found = fed_by("GET /users/{id}", "POST /users", "GET /all/users", "POST /users/search")
    assert found == ["POST /users/search", "GET /all/users", "POST /users"]


@pytest.mark.parametrize(
    ("wanted", "parameter", "source"),
    [
        ("GET /flows/name/{name}", "name", "POST /flows/filter"),
        ("GET /flows/by-name/{name}", "name", "GET /flows"),
        ("GET /types/slug/{slug}/documents", "slug", "GET /types"),
        ("GET /deployments/name/{flow_name}/{deployment_name}", "flow_name", "GET /flows"),
        ("GET /runs/name/{flow_name}/{run_name}", "run_name", "GET /runs"),
        ("GET /ui/runs/{id}", "id", "POST /runs"),
        ("GET /deployments/name/{flow_name}/{deployment_name}", "flow_name", "POST /flows/"),
    ],
)
def test_a_key_in_the_path_is_that_of_the_collection_before_it(wanted, parameter, source):
    others = ["POST /deployments/", "GET /deployments", "GET /health"]
    assert fed_by(wanted, *others, source, parameter=parameter)[0] == source


def test_what_is_created_gives_no_other_parameters_than_those_of_paths():
    assert fed_by("GET /users", "POST /users", parameter="colour") == []


@pytest.mark.parametrize("source", ["GET /flows/list", "POST /flows/search", "POST /flows/create"])
def test_an_operation_that_is_named_by_a_verb_belongs_to_what_is_before_it(source):
    others = ["POST /flows/delete", "POST /runs/create", "GET /runs"]
    assert fed_by("GET /flows/get", *others, source, parameter="name") == [source]


def test_no_list_no_values():
    assert fed_by("GET /secrets/{code}", "GET /users", "GET /health") == []


@pytest.mark.parametrize(
    ("answer", "name", "values"),
    [
        ([{"id": 7}, {"id": 9}, {"id": 7}], "user_id", [7, 9]),
        ({"items": [{"id": "a"}], "total": 1}, "id", ["a"]),
        ({"total": 1, "users": [{"id": "a"}], "links": [1]}, "id", ["a"]),
        ({"data": {"users": [{"uuid": "u"}]}}, "user_id", ["u"]),
        ({"users": {"x": {"age": 1}, "y": {"age": 2}}}, "id", ["x", "y"]),
        ([{"name": "a", "user_name": "b"}], "user_name", ["b"]),
        ([{"name": "a"}], "userName", ["a"]),
        ([{"userId": 3, "id": 4}], "user_id", [3]),
        (["a", "b"], "user", ["a", "b"]),
        ({"id": 5, "name": "me"}, "user_id", [5]),
        ({"id": 5, "tags": ["a", "b"]}, "user_id", [5]),
        ({"user_id": 5, "tags": ["a", "b"]}, "user_id", [5]),
        ([{"id": None}, {"id": True}, {"id": ""}, {"id": {"x": 1}}], "id", []),
        ([], "id", []),
        ("text", "id", []),
        (None, "id", []),
    ],
)
def test_values_are_read_from_the_shapes_that_lists_have(answer, name, values):
    assert values_in(answer, name, "users") == values


def test_five_values_are_enough():
    assert len(values_in([{"id": n} for n in range(40)], "id", "users")) == 5


@pytest.mark.parametrize(
    ("answer", "name", "values"),
    [
        ({"run": {"info": {"run_id": "r1"}}}, "run_id", ["r1"]),
        ({"data": [{"runId": "r1"}, {"runId": "r2"}]}, "run_id", ["r1", "r2"]),
        ({"page": {"runs": [{"id": "r1"}]}}, "run_id", ["r1"]),
        ({"page": {"users": [{"id": "u1"}]}, "id": "no user"}, "id", ["u1"]),
        ({"name": "no run"}, "name", []),
        ([], "run_id", []),
        (None, "run_id", []),
    ],
)
def test_values_that_an_answer_names_like_a_parameter_are_found_however_deep(answer, name, values):
    assert named_in(answer, name, "users") == values
