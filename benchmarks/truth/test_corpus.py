"""One test for each labelled handler; the laboratory reads the verdicts from the report."""

from __future__ import annotations

import os

import pytest
from asking import ask, marked
from corpus import Case, cases


def _sample() -> list[Case]:
    """Return every n-th case, others in each repetition."""
    every, offset = map(int, os.environ.get("TRUTH_EVERY", "1 0").split())
    return cases()[offset % every :: every]


@pytest.fixture
def nonblocking_app(case):
    return case.app


@pytest.mark.asyncio
@pytest.mark.parametrize("case", [marked(case) for case in _sample()])
async def test_case(nonblocking_client, case):
    await ask(nonblocking_client, case)
