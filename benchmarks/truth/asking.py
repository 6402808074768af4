"""How a labelled handler becomes a parameter of a test, and how it is asked."""

from __future__ import annotations

from typing import Any

import anyio
import httpx
import pytest
from corpus import Case


def marked(case: Case) -> Any:
    """Return the parameter of a test that judges ``case``."""
    settings = {} if case.concurrency is None else {"concurrency": case.concurrency}
    return pytest.param(case, id=case.name, marks=pytest.mark.nonblocking(**settings))


async def ask(client: Any, case: Case) -> None:
    """Send the request of ``case``."""
    if case.upload is None:
        answer = await client.get(case.path)
    else:
        answer = await client.post(case.path, content=case.upload)
    assert answer.status_code == 200


def ask_at_once(client: Any, case: Case) -> None:
    """Do the same with a client that is not asynchronous."""
    if case.upload is None:
        answer = client.get(case.path)
    else:
        answer = client.post(case.path, content=case.upload)
    assert answer.status_code == 200


def answers_on_trio(case: Case) -> bool:
    """Return whether the handler needs nothing of asyncio's own."""

    async def tried() -> None:
        transport = httpx.ASGITransport(case.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            with anyio.fail_after(5):
                await ask(client, case)

    try:
        anyio.run(tried, backend="trio")
    except Exception:  # whatever an application raises where it finds no asyncio loop
        return False
    return True
