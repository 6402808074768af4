"""The tools of an MCP server, each of which is an operation of its own: ``POST /mcp#tool``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import anyio

from .aside import NoAnswerError, aside
from .document import BrokenDocumentError, schema_in
from .operation import ARGUMENT, Operation, Parameter
from .request import Answer
from .routes import manager_of

HOST = "localhost:8000"
"""The server accepts this host with a port only."""
_VERSION = "2025-06-18"
_ACCEPT = "application/json, text/event-stream"
_SECONDS = 5.0
_PAGES = 20


def with_tools(operations: list[Operation]) -> tuple[list[Operation], list[str]]:
    """Return the operations with the tools in place of their MCP servers, and what went wrong."""
    found: list[Operation] = []
    problems = []
    for one in operations:
        manager = manager_of(one.endpoint)
        if manager is None:
            found.append(one)
            continue
        try:
            tools = aside(2 * _SECONDS, _tools, manager)
            found += [_operation(one, tool) for tool in tools]
        except (NoAnswerError, BrokenDocumentError) as error:
            found.append(replace(one, endpoint=None))
            problems.append(f"the tools of the MCP server at {one.path} cannot be listed: {error}")
    return found, problems


async def _tools(manager: Any) -> list[Mapping[str, Any]]:
    """Return the tools of a server, asked by way of a manager of its own: one starts only once."""
    from ..asgi.client import make_client

    fresh = type(manager)(app=manager.app, stateless=True, json_response=True)
    found: list[Mapping[str, Any]] = []
    with anyio.fail_after(_SECONDS):
        async with fresh.run():
            client, transport = make_client(fresh.handle_request, base_url=f"http://{HOST}")
            cursor: str | None = None
            for _ in range(_PAGES):
                parameters = {"cursor": cursor} if cursor else {}
                response = await _call(client, "/", "tools/list", parameters, {"id": 1})
                result = _message(response.content).get("result") or {}
                found += result.get("tools") or []
                cursor = result.get("nextCursor")
                if not cursor:
                    break
            await transport.aclose()
    return found


def _operation(server: Operation, tool: Mapping[str, Any]) -> Operation:
    schema = schema_in(tool.get("inputSchema") or {})
    required = schema.get("required") or ()
    properties = schema.get("properties") or {}
    parameters = tuple(
        Parameter(name, ARGUMENT, described, required=name in required)
        for name, described in properties.items()
    )
    name = str(tool["name"])
    return Operation("POST", f"{server.path}#{name}", parameters, tool=name)


async def open_session(client: Any, operation: Operation) -> Answer | None:
    """Open the session that all copies share; return the answer if it refuses."""
    if client.base_url.port is None:
        client.base_url = f"http://{HOST}"
    about = {"name": "pytest-nonblocking", "version": "0"}
    wanted = {"protocolVersion": _VERSION, "capabilities": {}, "clientInfo": about}
    response = await _call(client, operation.path, "initialize", wanted, {"id": "initialize"})
    answer = judged(Answer(response.status_code, response.headers, response.content))
    if not answer.answers:
        return answer
    agreed = _message(response.content)["result"].get("protocolVersion", _VERSION)
    client.headers.update({"accept": _ACCEPT, "mcp-protocol-version": str(agreed)})
    if session := response.headers.get("mcp-session-id"):
        client.headers["mcp-session-id"] = session
    await _call(client, operation.path, "notifications/initialized", {}, {})
    return None


async def _call(
    client: Any, path: str, method: str, parameters: Mapping[str, Any], rest: Mapping[str, Any]
) -> Any:
    call = {"jsonrpc": "2.0", "method": method, "params": parameters, **rest}
    return await client.post(path, json=call, headers={"accept": _ACCEPT})


def judged(answer: Answer) -> Answer:
    """Return ``answer`` with the error that it contains, although its status is 200."""
    message = _message(answer.content)
    error, result = message.get("error"), message.get("result")
    if isinstance(error, Mapping):
        return _with_error(answer, error)
    if isinstance(result, Mapping) and result.get("isError"):
        return replace(answer, error=" ".join(_texts(result.get("content"))) or "isError")
    if answer.status == 200 and not isinstance(result, Mapping):
        return replace(answer, error="no result")
    return answer


def judged_call(answer: Answer) -> Answer:
    """Return ``answer`` with its error if it is the one of a call of JSON-RPC that failed."""
    content = answer.json() if b'"jsonrpc"' in answer.content else None
    if not isinstance(content, Mapping) or content.get("result") is not None:
        return answer
    error = content.get("error")
    return _with_error(answer, error) if isinstance(error, Mapping) else answer


def _with_error(answer: Answer, error: Mapping[str, Any]) -> Answer:
    return replace(answer, error=str(error.get("message")))


def _texts(content: Any) -> Iterator[str]:
    for one in content if isinstance(content, list) else ():
        if isinstance(one, Mapping) and "text" in one:
            yield str(one["text"])


def _message(content: bytes) -> Mapping[str, Any]:
    """Return the last message of an answer, which is JSON or a stream of events; {} if none is."""
    lines = content.decode("utf-8", "replace").splitlines()
    events = [line.removeprefix("data:") for line in lines if line.startswith("data:")]
    for text in (*reversed(events), "\n".join(lines)):
        try:
            found = json.loads(text)
        except ValueError:
            continue
        if isinstance(found, Mapping) and found.keys() & {"result", "error"}:
            return found
    return {}
