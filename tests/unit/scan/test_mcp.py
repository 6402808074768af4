"""The tools of an MCP server, and what its answers say although their status is 200."""

import contextlib
import json

import anyio
import pytest

from pytest_nonblocking.asgi.client import make_client
from pytest_nonblocking.scan import mcp as module
from pytest_nonblocking.scan.mcp import judged, open_session, with_tools
from pytest_nonblocking.scan.operation import ARGUMENT, Operation, Parameter
from pytest_nonblocking.scan.request import Answer, request_for

ITEM = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
TOOLS = [
    {
        "name": "add",
        "inputSchema": {
            "type": "object",
            "required": ["item"],
            "properties": {"item": {"$ref": "#/$defs/Item"}, "times": {"type": "integer"}},
            "$defs": {"Item": ITEM},
        },
    },
    {"name": "list", "inputSchema": {"type": "object"}},
]


class Manager:
    """Stands for the session manager of the package: one start, and JSON-RPC by POST."""

    def __init__(self, app, stateless=False, json_response=False):
        self.app = app
        self.stateless = stateless
        self.started = False

    @contextlib.asynccontextmanager
    async def run(self):
        assert not self.started, "run() can only be called once per instance"
        self.started = True
        yield

    async def handle_request(self, scope, receive, send):
        assert self.started
        call = json.loads((await receive())["body"])
        self.app.calls.append((call["method"], dict(scope["headers"])))
        status, headers, answer = self.app.answer(call)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


class Server:
    """Lists one tool in each page, and opens a session."""

    def __init__(self, tools=TOOLS):
        self.tools = tools
        self.calls = []

    def answer(self, call):
        if call["method"] == "tools/list":
            page = int(call["params"].get("cursor", 0))
            result = {"tools": self.tools[page : page + 1]}
            if page + 1 < len(self.tools):
                result["nextCursor"] = str(page + 1)
            return 200, [], {"jsonrpc": "2.0", "id": call["id"], "result": result}
        if call["method"] == "initialize":
            result = {"protocolVersion": "2024-11-05"}
            return 200, [(b"mcp-session-id", b"s1")], {"id": call["id"], "result": result}
        return 202, [], None


class Endpoint:
    def __init__(self, manager):
        self.session_manager = manager

    async def __call__(self, scope, receive, send):
        await self.session_manager.handle_request(scope, receive, send)


def served(server):
    return Operation("POST", "/mcp", endpoint=Endpoint(Manager(server)))


def test_each_tool_is_an_operation_and_the_server_can_still_start():
    server = served(Server())
    other = Operation("GET", "/health")
    found, problems = with_tools([other, server])
    assert problems == []
    assert found == [
        other,
        Operation(
            "POST",
            "/mcp#add",
            (
                Parameter("item", ARGUMENT, ITEM),
                Parameter("times", ARGUMENT, {"type": "integer"}, required=False),
            ),
            tool="add",
        ),
        Operation("POST", "/mcp#list", tool="list"),
    ]
    assert not server.endpoint.session_manager.started


@pytest.mark.parametrize(
    ("tools", "why"),
    [
        (None, "TypeError"),
        ([{"name": "x", "inputSchema": {"properties": {"a": {"$ref": "other.json"}}}}], "refers"),
    ],
)
def test_a_server_whose_tools_cannot_be_listed_stays_with_the_reason(tools, why):
    found, (problem,) = with_tools([served(Server(tools))])
    assert found == [Operation("POST", "/mcp")]
    assert problem.startswith("the tools of the MCP server at /mcp cannot be listed: ")
    assert why in problem


def test_a_server_that_does_not_answer_is_left(monkeypatch):
    class Silent(Manager):
        async def handle_request(self, scope, receive, send):
            await anyio.sleep_forever()

    monkeypatch.setattr(module, "_SECONDS", 0.02)
    operation = Operation("POST", "/mcp", endpoint=Endpoint(Silent(Server())))
    assert "TimeoutError" in with_tools([operation])[1][0]


def test_a_call_has_its_arguments_and_the_number_of_its_copy():
    add = Operation("POST", "/mcp#add", tool="add")
    (one, two) = (request_for(add, {"a": 1, "b": [2]}, copy=copy) for copy in (0, 1))
    call = one.arguments["json"]
    assert (call["method"], call["params"]) == (
        "tools/call",
        {"name": "add", "arguments": {"a": 1, "b": [2]}},
    )
    assert call["id"] != two.arguments["json"]["id"]


def opened(manager):
    tool = Operation("POST", "/mcp#add", tool="add")

    async def use():
        client, transport = make_client(manager.handle_request, base_url="http://localhost")
        async with manager.run():
            refused = await open_session(client, tool)
            await transport.aclose()
        return client, refused

    return anyio.run(use)


def test_a_session_is_opened_for_all_copies():
    server = Server()
    client, refused = opened(Manager(server))
    assert refused is None
    assert [method for method, _ in server.calls] == ["initialize", "notifications/initialized"]
    assert server.calls[0][1][b"host"] == b"localhost:8000"
    assert server.calls[1][1][b"mcp-session-id"] == b"s1"
    assert client.headers["mcp-session-id"] == "s1"
    assert client.headers["mcp-protocol-version"] == "2024-11-05"
    assert "text/event-stream" in client.headers["accept"]


def test_a_session_that_is_refused_says_why():
    class Closed(Server):
        def answer(self, call):
            return 401, [], {"error": {"message": "who are you?"}}

    _, refused = opened(Manager(Closed()))
    assert (refused.status, refused.first_line) == (401, "who are you?")


def message(**content):
    return json.dumps({"jsonrpc": "2.0", "id": 1, **content})


FAILED = {"isError": True, "content": [{"type": "text", "text": "no such code"}]}


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (message(result={"content": []}), ""),
        (f"event: message\ndata: {message(result={'content': []})}\n\n", ""),
        (f"data: {message(method='notifications/progress')}\n\ndata: {message(result={})}\n", ""),
        (message(error={"code": -32602, "message": "Unknown tool"}), "Unknown tool"),
        (f"data: {message(result=FAILED)}\n\n", "no such code"),
        (message(result={"isError": True}), "isError"),
        ("data: {broken", "no result"),
        ("", "no result"),
    ],
)
def test_an_error_in_an_answer_counts_as_one(content, error):
    answer = judged(Answer(200, {}, content.encode()))
    assert answer.error == error
    assert answer.answers is (not error)
