"""What the user's set-up of a scan got from the app: the ids of what it has created."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from . import links
from .operation import Operation
from .prepared import Prepared
from .request import Answer, Request


@contextmanager
def received(client: Any) -> Iterator[list[Any]]:
    """Yield a list of the responses that ``client`` gets in the block."""
    responses: list[Any] = []
    hooks = client.event_hooks

    async def keep(response: Any) -> None:
        responses.append(response)

    client.event_hooks = {**hooks, "response": [*hooks.get("response", ()), keep]}
    try:
        yield responses
    finally:
        client.event_hooks = hooks


def seeds_in(responses: Iterable[Any], known: Sequence[Operation]) -> Iterator[Prepared]:
    """Yield the answers among ``responses``, each with its operation of those ``known``."""
    for response in responses:
        asked = response.request
        alike = [one for one in known if one.method == asked.method and not one.tool]
        found = links.matching(asked.url.path, alike)
        answer = Answer(response.status_code, response.headers, _content(response))
        if found is not None and answer.answers:
            operation, values = found
            request = Request(operation, asked.url.path)
            yield Prepared((request,), (), answer, values)


def refused_login(responses: Iterable[Any]) -> str:
    """Return what the first login that was refused got, "" if none was.

    What creates data may be refused for other reasons: it exists already.
    """
    for response in responses:
        asked, status = response.request, response.status_code
        if status in (401, 403, 429) or (status >= 400 and links.is_login(asked.url.path)):
            return f"{asked.method} {asked.url.path} in `before` was answered with {status}"
    return ""


def _content(response: Any) -> bytes:
    """Return what was read of a response, nothing of one that was left unread."""
    try:
        return bytes(response.content)
    except Exception:  # each client has its own
        return b""
