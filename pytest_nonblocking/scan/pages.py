"""The pages of an app that shows neither a description nor a router, found by their links."""

from __future__ import annotations

import re
from collections import deque
from typing import Any

import anyio

from . import links
from .operation import Operation
from .request import Request, first_answer

_MOST, _ASKED = 30, 100
"""How many pages are enough, and how many addresses are asked for them."""
_NUMBER = re.compile(r"(?<=/)\d+(?=/|$)")


async def linked_pages(client: Any, seconds: float) -> tuple[Operation, ...]:
    """Return the pages to which links lead from ``/``, those found within ``seconds``.

    Of paths that differ by a number, such as ``/items/1`` and ``/items/2``, it is the first.
    """
    found: list[Operation] = []
    left, shapes = deque(["/"]), {"/"}
    with anyio.move_on_after(seconds):
        for _ in range(_ASKED):
            if not left or len(found) == _MOST:
                break
            page = Operation("GET", left.popleft())
            try:
                answer = await first_answer(client, Request(page, page.path))
            except Exception:  # whatever the app raises
                continue
            if answer is None or not answer.answers:
                continue
            kind = answer.headers.get("content-type", "")
            if answer.status < 300 and ("html" in kind or "json" in kind):
                found.append(page)
            for path in links.paths_in(answer, str(client.base_url.join(page.path))):
                shape = _NUMBER.sub("1", path)
                if shape not in shapes:
                    shapes.add(shape)
                    left.append(path)
    return tuple(found)
