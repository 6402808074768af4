"""Names, patterns and the paths of the frameworks."""

import pytest

from pytest_nonblocking.scan.discovery import listed
from pytest_nonblocking.scan.operation import Operation, path_parameters, plain_path


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("GET /users/{id}", True),
        ("/users/{id}", True),
        ("GET /users/*", True),
        ("* /users/*", True),
        ("*", True),
        ("/users/*", True),
        ("POST /users/{id}", False),
        ("/users", False),
        ("GET /users/[a-z]*", False),
    ],
)
def test_patterns_select_by_path_or_by_method_and_path(pattern, matches):
    assert Operation("GET", "/users/{id}").matches(pattern) is matches


@pytest.mark.parametrize(
    ("path", "plain", "schema"),
    [
        ("/users/{id}", "/users/{id}", {"type": "string"}),
        ("/users/{id:int}", "/users/{id}", {"type": "integer"}),
        ("/users/<int:id>", "/users/{id}", {"type": "integer"}),
        ("users/<id>/", "/users/{id}/", {"type": "string"}),
        ("/users/:id", "/users/{id}", {"type": "string"}),
        ("/files/{id:path}", "/files/{id}", {"type": "string", "format": "path"}),
        ("/users/{id:uuid}", "/users/{id}", {"type": "string", "format": "uuid"}),
    ],
)
def test_paths_of_all_frameworks_become_alike(path, plain, schema):
    assert plain_path(path) == plain
    (parameter,) = path_parameters(path)
    assert (parameter.name, parameter.where, parameter.schema) == ("id", "path", schema)


def test_operations_that_the_user_lists():
    found = listed(["GET /health", " post /jobs/{id} ", "/plain"])
    assert [one.name for one in found] == ["GET /health", "POST /jobs/{id}", "GET /plain"]


@pytest.mark.parametrize("line", ["health", "FETCH /x", "GET x"])
def test_a_line_that_lists_no_operation_is_named(line):
    with pytest.raises(ValueError, match=line):
        listed([line])
