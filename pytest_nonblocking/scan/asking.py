"""Asks the app for one operation, at the host that it accepts and where it has moved it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from . import links, mcp
from .operation import Operation
from .request import Answer, Request, first_answer

HOST, OTHER_HOST = "localhost", "testserver"
"""The hosts that apps accept in development and in tests."""
_MOVES = 2
"""How often a request is sent to where the app has moved it."""


class Asking:
    """Asks the app of ``client`` for one operation, and remembers where the app has moved it."""

    def __init__(self, client: Any, operation: Operation) -> None:
        self._client = client
        self._is_tool = bool(operation.tool)
        self._turns_slash = False

    async def answer(self, request: Request) -> Answer | None:
        """Return the app's answer; an exception that it raises is one with the status 500."""
        try:
            answer = await first_answer(self._client, request)
            if self._refuses_host(answer):
                self._client.base_url = f"http://{OTHER_HOST}"
                answer = await first_answer(self._client, request)
            for _ in range(_MOVES):
                moved = self._moved(answer, request)
                if moved is not None:
                    request, answer = moved, await first_answer(self._client, moved)
            if answer is not None:
                answer = links.to_login(answer, request.path)
        except Exception as error:
            return Answer(500, {}, f"{type(error).__name__}: {error}".encode())
        if answer is None:
            return None
        return mcp.judged(answer) if self._is_tool else mcp.judged_call(answer)

    def moved(self, request: Request) -> Request:
        """Return ``request`` for where the app has moved the operation."""
        return replace(request, path=_turned(request.path)) if self._turns_slash else request

    def _moved(self, answer: Answer | None, request: Request) -> Request | None:
        """Return the request for where the app has moved ``request``, None if that is elsewhere.

        The router has sent it to https or to the path with another slash at its end: what the
        operation does is yet to come.
        """
        location = answer.headers.get("location") if answer is not None else None
        if answer is None or not 300 <= answer.status < 400 or not location:
            return None
        asked = self._client.base_url.join(request.path)
        target = asked.join(location)
        if target.host != asked.host or target.path.rstrip("/") != asked.path.rstrip("/"):
            return None
        if target.scheme != asked.scheme and asked.host in (HOST, OTHER_HOST):
            self._client.base_url = f"{target.scheme}://{asked.host}"
            return request
        if target.path == asked.path:
            return None
        self._turns_slash = not self._turns_slash
        return replace(request, path=_turned(request.path))

    def _refuses_host(self, answer: Answer | None) -> bool:
        """Return whether the app accepts no requests to the host, and there is another to try."""
        refused = answer is not None and answer.status in (400, 403, 421)
        by_host = refused and answer is not None and b"host" in answer.content.lower()
        return by_host and self._client.base_url.host == HOST


def _turned(path: str) -> str:
    """Return ``path`` without the slash at its end, or with one."""
    return path.rstrip("/") or "/" if path.endswith("/") else f"{path}/"
