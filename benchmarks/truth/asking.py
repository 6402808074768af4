"""How a labelled handler becomes a parameter of a test, and how it is asked."""

from __future__ import annotations

from typing import Any

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
