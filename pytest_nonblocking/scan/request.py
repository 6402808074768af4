"""A request to an operation: how its values are sent, and how much of its answer is read."""

from __future__ import annotations

import html
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import quote

import anyio

from ..load.scenario import CannotMeasureError
from ..reporting import escaped
from .operation import Operation

GIVE_UP = 5.0
"""Seconds after which a request that only prepares the measurement is given up."""
_STREAM = 0.5
"""Seconds for which a response that does not end is read, to learn in how many chunks it comes."""
_CHUNKS = 100
"""How many chunks of one that does not end each copy reads at most."""
_KEPT = 10_000_000
"""How many bytes of a response are kept, to be read for values."""
_SHOWN = 100
_JSON = (bool, int, float, list, tuple, dict)
_LOOKED_AT = 20_000
_MARKUP = re.compile(
    r"<(style|script|svg)\b.*?(?:</\1>|\Z)|<!--.*?-->|<[^>]*>", re.DOTALL | re.IGNORECASE
)


@dataclass(frozen=True)
class Request:
    """One request to an operation, with all of its values.

    ``chunks`` is after how many chunks of a response that does not end the client leaves.
    """

    operation: Operation
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    """The body as keywords of the client: ``json``, ``data``, ``files`` or ``content``."""
    chunks: int | None = None

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """The keywords of the client, made once: the copies that send them are measured."""
        body = dict(self.body)
        headers = {**self.headers, **body.pop("headers", {})}
        return {"params": dict(self.query) or None, "headers": headers, **body}


@dataclass(frozen=True)
class Answer:
    """A response: its status, its content as far as it was read, and whether it ended.

    ``chunks`` is the number that came within half a second, up to 100, if it did not end.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes
    chunks: int | None = None
    error: str = ""
    """What went wrong, where the status does not say so."""
    to_login: bool = False
    """Whether it sends the client to a page to log in."""

    @property
    def answers(self) -> bool:
        """Whether the operation did what it is for."""
        return 200 <= self.status < 400 and not self.error

    @property
    def first_line(self) -> str:
        """The start of the body, for a message."""
        shown = self.error or self.content[:_LOOKED_AT].decode("utf-8", "replace")
        if not self.error and "html" in self.headers.get("content-type", ""):
            shown = html.unescape(_MARKUP.sub(" ", shown))
        text = escaped.line(" ".join(shown.split()))
        return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"

    def json(self) -> Any:
        """Return the content as JSON, None if it is none."""
        try:
            return json.loads(self.content)
        except ValueError:
            return None


def request_for(
    operation: Operation, values: Mapping[str, Any], body: Any = None, copy: int = 0
) -> Request:
    """Return the request with ``values`` by the names of the parameters, and a ``body``.

    Calls of a tool that are answered in one session differ by ``copy``.
    """
    if operation.tool:
        return Request(operation, operation.path, body={"json": _call(operation, values, copy)})
    path, query, headers, cookies = operation.path, {}, {}, []
    for one in operation.parameters:
        value = values.get(one.name)
        if one.where == "path":
            # A converter such as `{name:path}` takes slashes; quoting them changes the path.
            path = path.replace("{" + one.name + "}", quote(_text(value), safe="/~"))
        elif value is None:
            continue
        elif one.where == "query":
            query[one.name] = value if isinstance(value, (list, tuple)) else _text(value)
        elif one.where == "header":
            headers[one.name] = _text(value)
        else:
            cookies.append((one.name, _text(value)))
    declared = {one.name for one in operation.parameters}
    for name in values.keys() - declared - {"body"}:  # where the app describes no parameters
        query[name] = _text(values[name])
    return Request(operation, path, query, headers, dict(cookies), _keywords(operation, body))


def _call(operation: Operation, values: Mapping[str, Any], copy: int) -> dict[str, Any]:
    call = {"name": operation.tool, "arguments": dict(values)}
    return {"jsonrpc": "2.0", "id": copy, "method": "tools/call", "params": call}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value) if isinstance(value, _JSON) else str(value)  # a UUID, a date


def _keywords(operation: Operation, body: Any) -> dict[str, Any]:
    """Return the keywords by which a client sends ``body`` as its media type."""
    if body is None:
        return {}
    media_type = operation.body.media_type if operation.body else "application/json"
    if media_type == "application/x-www-form-urlencoded":
        return {"data": body}
    if media_type == "multipart/form-data":
        return _as_files(operation, body)
    if media_type.endswith("json"):
        return {"json": json.loads(json.dumps(body, default=str))}
    content = body if isinstance(body, (str, bytes)) else json.dumps(body, default=str)
    return {"content": content, "headers": {"content-type": media_type}}


def _as_files(operation: Operation, body: Any) -> dict[str, Any]:
    properties = (operation.body.schema if operation.body else {}).get("properties") or {}
    files, fields = {}, {}
    for name, value in body.items() if isinstance(body, Mapping) else ():
        described = properties.get(name) or {}
        if described.get("format") == "binary" or "contentMediaType" in described:
            files[name] = ("file.txt", b"content", "text/plain")
        else:
            fields[name] = value
    return {"data": fields, "files": files or {"file": ("file.txt", b"content", "text/plain")}}


def has_cookie(client: Any, name: str) -> bool:
    """Return whether the client has a cookie ``name``."""
    return any(one.name == name for one in client.cookies.jar)


def _made(client: Any, request: Request) -> Any:
    """Return the client's request, with the cookies of ``request`` beside the client's own."""
    made = client.build_request(request.operation.method, request.path, **request.arguments)
    if request.cookies:  # a header, or cookies of one request only, would replace the client's
        pairs = [one for one in made.headers.get("cookie", "").split("; ") if one]
        kept = [one for one in pairs if one.partition("=")[0] not in request.cookies]
        own = [f"{name}={value}" for name, value in request.cookies.items()]
        made.headers["cookie"] = "; ".join([*kept, *own])
    return made


@asynccontextmanager
async def _streamed(client: Any, request: Request) -> AsyncIterator[Any]:
    response = await client.send(_made(client, request), stream=True)
    try:
        yield response
    finally:
        await response.aclose()


async def first_answer(client: Any, request: Request) -> Answer | None:
    """Send ``request`` outside of the measurement; return None if no response starts in time."""
    content, chunks, ended, response = bytearray(), 0, False, None
    with anyio.move_on_after(GIVE_UP) as limit:
        async with (
            _streamed(client, request) as response,
            aclosing(response.aiter_bytes()) as parts,
        ):
            async for part in parts:
                if not chunks:
                    limit.deadline = min(limit.deadline, anyio.current_time() + _STREAM)
                content += part[: _KEPT - len(content)]
                chunks += 1
                # One that is always ready never waits, and what does not wait is not cancelled.
                if anyio.current_time() >= limit.deadline:
                    break
            else:
                ended = True
    if response is None:
        return None
    left_after = None if ended else min(chunks, _CHUNKS)
    return Answer(response.status_code, response.headers, bytes(content), left_after)


async def ask(client: Any, request: Request) -> None:
    """Send ``request`` as one copy of the measurement, and read its response.

    Raises UnexpectedAnswerError or RefusedError if the app does not answer as it did before.
    """
    text = ""
    if request.chunks is None:
        response = await client.send(_made(client, request))
        if response.status_code >= 400:
            text = Answer(0, response.headers, response.content).first_line
    else:
        async with _streamed(client, request) as response:
            left = request.chunks
            if left:
                async with aclosing(response.aiter_bytes()) as parts:
                    async for _ in parts:
                        left -= 1
                        if left <= 0:
                            break
    if response.status_code >= 500:
        raise UnexpectedAnswerError(
            f"{request.operation.name} answered {response.status_code} after it had answered "
            "without an error"
        )
    if response.status_code >= 400:
        raise RefusedError(response.status_code, text)


class UnexpectedAnswerError(Exception):
    """The app answered with a server error while it was measured."""


class RefusedError(CannotMeasureError):
    """The app answered without an error at first, and then refused a copy."""

    def __init__(self, status: int, text: str) -> None:
        limits = "it limits the rate of requests: switch that off in tests"
        changes = "requests change what later ones need: give each copy inputs of its own"
        why = limits if status == 429 else changes
        super().__init__(f"the app answered, but then {status} {text}".strip() + f": {why}")
