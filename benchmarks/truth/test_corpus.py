"""One test for each labelled handler; the laboratory reads the verdicts from the report."""

from __future__ import annotations

import os

import pytest
from asking import answers_on_trio, ask, ask_at_once, marked
from corpus import Case, cases
from starlette.testclient import TestClient

_LOOP = os.environ.get("TRUTH_LOOP", "asyncio")
_IS_PLAIN = os.environ.get("TRUTH_CLIENT") == "testclient"


def _sample() -> list[Case]:
    """Return every n-th case, others in each repetition, and on trio those that run there."""
    every, offset = map(int, os.environ.get("TRUTH_EVERY", "1 0").split())
    sample = cases()[offset % every :: every]
    return [case for case in sample if answers_on_trio(case)] if _LOOP == "trio" else sample


@pytest.fixture
def nonblocking_app(case):
    return case.app


@pytest.fixture
def anyio_backend():
    return "trio"


@pytest.fixture
def client(case):
    with TestClient(case.app) as client:
        yield client


parameters = pytest.mark.parametrize("case", [marked(case) for case in _sample()])

if _IS_PLAIN:

    @parameters
    def test_case(client, case):
        ask_at_once(client, case)

else:

    @(pytest.mark.anyio if _LOOP == "trio" else pytest.mark.asyncio)
    @parameters
    async def test_case(nonblocking_client, case):
        await ask(nonblocking_client, case)
