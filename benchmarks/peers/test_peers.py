"""One request to each labelled handler under the detector that PEERS_NAME names."""

from __future__ import annotations

import os
import time

import pytest
from corpus import Case, cases
from detectors import PEERS

from pytest_nonblocking.client import make_client

PEER = next(peer for peer in PEERS if peer.name == os.environ["PEERS_NAME"])
PEER.start()


def _param(case: Case, *, marked: bool):
    settings = {} if case.concurrency is None else {"concurrency": case.concurrency}
    marks = [pytest.mark.nonblocking(**settings)] if marked else []
    return pytest.param(case, id=case.name, marks=marks)


async def _ask(client, case):
    if case.upload is None:
        answer = await client.get(case.path)
    else:
        answer = await client.post(case.path, content=case.upload)
    assert answer.status_code == 200


@pytest.mark.asyncio
@pytest.mark.parametrize("case", [_param(case, marked=False) for case in cases()])
async def test_request(case, record_property):
    client, transport = make_client(case.app)
    try:
        # Start-up and what only the first request does are not what is to be found.
        await transport.startup()
        await _ask(client, case)
        began = time.perf_counter()
        try:
            async with PEER.detector():
                await _ask(client, case)
                await transport.settle()
        finally:
            record_property("seconds", time.perf_counter() - began)
    finally:
        await client.aclose()
        await transport.shutdown()


@pytest.fixture
def nonblocking_app(case):
    return case.app


@pytest.mark.asyncio
@pytest.mark.parametrize("case", [_param(case, marked=True) for case in cases()])
async def test_marked(nonblocking_client, case):
    await _ask(nonblocking_client, case)
