"""The scripts for load generators: what they send, and that their languages accept them."""

import ast
import base64
import json
import re

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reported import record, report

from pytest_nonblocking.asgi.recorder import LONGEST_BODY, Recorder
from pytest_nonblocking.model import Sent
from pytest_nonblocking.reporting import load_script
from pytest_nonblocking.reporting.json_report import _request
from pytest_nonblocking.reporting.plain import from_plain, to_plain
from pytest_nonblocking.reporting.record import Limit, Request

ODD = "quote ' \" back \\ line \n </script> 茶 😀 {braces}"
REQUESTS = (
    Request(method="GET", path="/items?q=tea&token={token}", headers={"x-trace": ODD}),
    Request(method="POST", path="/orders", headers={"authorization": None}, body=ODD),
    Request(method="PUT", path="/scan", headers={}, left_out="20000 bytes"),
    Request(method="PUT", path="/form", headers={}, body="/w0K", encoding="base64"),
)


def measured(nodeid="tests/test_shop.py::test_orders", requests=REQUESTS, concurrency=20):
    limits = {"concurrency": Limit(value=concurrency, from_="marker")}
    return record(nodeid, requests=requests, limits=limits)


def of(*records):
    return load_script.scenarios(report(*records))


def calls_in(text):
    """Return the arguments of each request in a locustfile, with names for the environment."""
    names = {
        "base64": base64,
        "os": type("os", (), {"environ": {"TOKEN": "T0K", "AUTHORIZATION": "Bearer 1"}}),
    }
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "self.client.request":
            arguments = ast.Expression(ast.Tuple([*node.args], ast.Load()))
            given = ast.fix_missing_locations(arguments)
            keywords = {
                k.arg: eval(ast.unparse(k.value), names)  # what the test itself has written
                for k in node.keywords
            }
            found.append((eval(compile(given, "x", "eval"), names), keywords))
    return found


def test_a_locustfile_sends_what_the_copy_sent_with_credentials_from_the_environment():
    text = load_script.locust(of(measured()), "pytest-nonblocking 1.0", "locustfile.py")
    assert calls_in(text) == [
        (("GET", "/items?q=tea&token=T0K"), {"headers": {"x-trace": ODD}}),
        (("POST", "/orders"), {"headers": {"authorization": "Bearer 1"}, "data": ODD.encode()}),
        (("PUT", "/scan"), {}),
        (("PUT", "/form"), {"data": b"\xff\r\n"}),
    ]
    assert "# The body is missing: 20000 bytes." in text
    assert "Set AUTHORIZATION, TOKEN in the environment." in text
    assert "class TestOrders(HttpUser):" in text
    assert "fixed_count = 20" in text


def test_a_locustfile_imports_no_more_than_it_uses():
    plain = (Request(method="GET", path="/", headers={}),)
    text = load_script.locust(of(measured(requests=plain)), "tool", "locustfile.py")
    assert "import os" not in text
    assert "import base64" not in text
    assert "environment" not in text


def test_a_locustfile_gives_commands_that_start_the_users_of_a_class_and_of_all():
    few = measured("tests/test_shop.py::test_stock", concurrency=3)
    text = load_script.locust(of(measured(), few), "tool", "load.py")
    commands = [line.strip() for line in text.splitlines() if "locust -f" in line]
    rest = "--run-time 30s --host http://127.0.0.1:8000"
    assert commands == [
        f"locust -f load.py --headless --users 20 --spawn-rate 20 {rest} TestOrders",
        f"locust -f load.py --headless --users 23 --spawn-rate 23 {rest}",
    ]


def test_a_script_for_k6_is_javascript_that_sends_the_same():
    language = pytest.importorskip(
        "tree_sitter_javascript", reason="tree-sitter-javascript is not installed"
    )
    parser = pytest.importorskip("tree_sitter", reason="tree-sitter is not installed")
    text = load_script.k6(of(measured(), measured("a.py::test_b[x-1]")), "tool", "k6.js")
    tree = parser.Parser(parser.Language(language.language())).parse(text.encode())
    assert not tree.root_node.has_error, text
    assert f"{json.dumps(ODD, ensure_ascii=False)}, {{ headers: " in text
    assert 'encoding.b64decode("/w0K")' in text
    assert 'BASE_URL + "/items?q=tea&token=" + __ENV.TOKEN' in text
    assert (
        "test_orders: { executor: 'constant-vus', exec: 'test_orders', vus: 20, "
        "duration: '30s', startTime: '0s' }" in text
    )
    assert "exec: 'test_b_x_1', vus: 20, duration: '30s', startTime: '30s'" in text


def test_tests_without_requests_are_left_out():
    assert [one.name for one in of(measured(), record())] == ["test_orders"]


@pytest.mark.parametrize(
    ("tests", "classes", "functions"),
    [
        (
            ["a.py::test_x", "b.py::test_x", "c.py::test_x_2"],
            ["TestX", "TestX2", "TestX22"],
            ["test_x", "test_x_2", "test_x_2_2"],
        ),
        (["a.py::test_x", "a.py::test_X"], ["TestX", "TestX2"], ["test_x", "test_X"]),
        (["a.py::test_x_y", "a.py::test_xY"], ["TestXY", "TestXY2"], ["test_x_y", "test_xY"]),
        (
            ["a.py::none", "a.py::http_user", "a.py::delete", "a.py::setup", "a.py::http"],
            ["None2", "HttpUser2", "Delete", "Setup", "Http"],
            ["none", "http_user", "delete_2", "setup_2", "http_2"],
        ),
    ],
    ids=["numbered", "upper case", "camel case", "taken"],
)
def test_each_scenario_has_a_name_of_its_own_in_either_language(tests, classes, functions):
    given = of(*map(measured, tests))
    python = ast.parse(load_script.locust(given, "tool", "locustfile.py"))
    assert [node.name for node in python.body if isinstance(node, ast.ClassDef)] == classes
    script = load_script.k6(given, "tool", "k6.js")
    assert re.findall(r"^export function (\w+)\(", script, re.MULTILINE) == functions
    assert re.findall(r"exec: '(\w+)'", script) == functions
    assert re.findall(r"^    (\w+): {", script, re.MULTILINE) == functions


def test_a_scanned_operation_is_a_valid_name():
    (one,) = of(measured("scan::GET /users/{id}"))
    assert one.name == "GET_users_id"
    (two,) = of(measured("scan::茶"))
    assert two.name.isidentifier()
    assert two.name.isascii()


def recorded(*requests):
    recorder = Recorder()
    with recorder.recording():
        for request in requests:
            recorder.add(request)
    return recorder.take()


URL = "http://testserver"


def test_credentials_are_not_recorded():
    (one,) = recorded(
        httpx.Request(
            "GET",
            f"{URL}/a%20b?api_key=SECRET&q=x%26y",
            headers={"Authorization": "Bearer SECRET", "Cookie": "SECRET", "X-Trace": "7"},
        )
    )
    assert "SECRET" not in repr(one)
    assert one.path == "/a%20b?api_key={api_key}&q=x%26y"
    assert dict(one.headers) == {"authorization": None, "cookie": None, "x-trace": "7"}


async def _stream():
    yield b"a"


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        ({}, (b"", None)),
        ({"content": '{"a": 1}'}, (b'{"a": 1}', None)),
        ({"content": b"\xff\xfe"}, (b"\xff\xfe", None)),
        ({"content": "a" * (LONGEST_BODY + 1)}, (b"", f"{LONGEST_BODY + 1} bytes")),
        ({"content": _stream()}, (b"", "a stream")),
        ({"json": {"user": {"Password": "x"}}}, (b"", "it holds a credential, Password")),
        ({"data": {"a": "1", "access_token": "x"}}, (b"", "it holds a credential, access_token")),
        ({"content": '{"author": "token"}'}, (b'{"author": "token"}', None)),
    ],
)
def test_a_body_is_kept_where_it_is_short(content, kept):
    (one,) = recorded(httpx.Request("POST", URL, **content))
    assert (one.body, one.left_out) == kept


@settings(deadline=None)
@given(st.binary() | st.text().map(str.encode))
def test_a_body_in_a_report_is_what_was_sent(body):
    request = from_plain(Request, to_plain(_request(Sent("POST", "/", (), body))))
    assert request.content == body


def test_websockets_are_not_recorded():
    assert recorded(httpx.Request("GET", URL, headers={"upgrade": "websocket"})) == ()


def test_nothing_is_recorded_after_the_block():
    recorder = Recorder()
    with recorder.recording():
        assert recorder.is_on
    assert not recorder.is_on
