"""One test for each labelled handler; the laboratory reads the verdicts from the report."""

from __future__ import annotations

import os

import pytest
from corpus import Case, cases


def _sample() -> list[Case]:
    """Return every n-th case, others in each repetition."""
    every, offset = map(int, os.environ.get("TRUTH_EVERY", "1 0").split())
    return cases()[offset % every :: every]


def _param(case: Case):
    settings = {} if case.concurrency is None else {"concurrency": case.concurrency}
    return pytest.param(case, id=case.name, marks=pytest.mark.nonblocking(**settings))


@pytest.fixture
def nonblocking_app(case):
    return case.app


@pytest.mark.asyncio
@pytest.mark.parametrize("case", [_param(case) for case in _sample()])
async def test_case(nonblocking_client, case):
    if case.upload is None:
        answer = await nonblocking_client.get(case.path)
    else:
        answer = await nonblocking_client.post(case.path, content=case.upload)
    assert answer.status_code == 200
