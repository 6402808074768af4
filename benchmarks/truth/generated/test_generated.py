"""One test for each seed of a chunk; the laboratory reads the verdicts from the report."""

from __future__ import annotations

import json
import os

import pytest

from generated import apps, compose, render


@pytest.fixture
def case(seed):
    case = compose.case(seed)
    return compose.with_calls(case) if "TRUTH_CALLS" in os.environ else case


@pytest.fixture
def nonblocking_app(case):
    return apps.load(case)


@pytest.mark.asyncio
@pytest.mark.nonblocking
@pytest.mark.parametrize("seed", json.loads(os.environ["TRUTH_SEEDS"]), ids="seed-{}".format)
async def test_seed(nonblocking_client, case):
    answer = await nonblocking_client.get(render.path(case))
    assert answer.status_code == 200
