"""The requests of one run of a test, for a load generator to send again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from ..model import Sent
from .servers import MARK

LONGEST_BODY = 16384
"""Bytes of a request's body that are kept at most: a report is no place for uploads."""
_BY_CLIENT = frozenset(
    (
        *("accept-encoding", "connection", "content-length", "host", "transfer-encoding"),
        *("user-agent", MARK.lower()),
    )
)
"""Headers that each client sets by itself."""
_CREDENTIAL = re.compile(
    r"(?<![a-z])o?auth(?![a-z])|authori[sz]ation|cookie|credential|[cx]srf|(api|access)[-_]?key"
    r"|passw|secret|session|signature|token",
    re.IGNORECASE,
)
"""Names of headers, parameters and fields whose values are credentials."""
_FIELD = re.compile(r'"([^"]{1,64})"\s*:|(?:^|&)([^=&]{1,64})=|\bname="([^"]{1,64})"')
"""Names of fields in JSON, in a form and in a multipart form."""


class Recorder:
    """Keeps the requests that the clients of a test send while it records."""

    def __init__(self) -> None:
        self.is_on = False
        self._requests: list[Any] = []

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record inside of the block, from its last ``restart`` on."""
        self._requests.clear()
        self.is_on = True
        try:
            yield
        finally:
            self.is_on = False

    def restart(self) -> None:
        """Forget what this recording holds so far."""
        if self.is_on:
            self._requests.clear()

    def add(self, request: Any) -> None:
        """Keep ``request``."""
        self._requests.append(request)

    def take(self) -> tuple[Sent, ...]:
        """Return what was recorded, without credentials and websockets, and forget it."""
        requests, self._requests = self._requests, []
        return tuple(_sent(one) for one in requests if "upgrade" not in one.headers)


def _sent(request: Any) -> Sent:
    headers = tuple(
        (name, None if _CREDENTIAL.search(name) else value)
        for name, value in request.headers.items()
        if name not in _BY_CLIENT
    )
    body, left_out = b"", None
    try:
        body = request.content
    except Exception:  # RequestNotRead, of httpx or its successor
        left_out = "a stream"
    if len(body) > LONGEST_BODY:
        body, left_out = b"", f"{len(body)} bytes"
    elif name := _credential_in(body):
        body, left_out = b"", f"it holds a credential, {name}"
    return Sent(request.method, _path(request.url), headers, body, left_out)


def _credential_in(body: bytes) -> str | None:
    fields = _FIELD.findall(body.decode("utf-8", "replace"))
    names = (name for field in fields for name in field if name)
    return next(filter(_CREDENTIAL.search, names), None)


def _path(url: Any) -> str:
    """Return path and query, with a credential's value replaced by its name in braces."""
    path = url.raw_path.partition(b"?")[0].decode("ascii")
    parameters = [
        f"{quote(name)}={'{' + quote(name) + '}' if _CREDENTIAL.search(name) else quote(value)}"
        for name, value in url.params.multi_items()
    ]
    return f"{path}?{'&'.join(parameters)}" if parameters else path
