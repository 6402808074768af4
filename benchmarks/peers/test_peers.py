"""One request to each labelled handler under the detector that PEERS_NAME names."""

from __future__ import annotations

import os
import time

import pytest
from asking import ask, marked
from corpus import cases
from detectors import PEERS

from pytest_nonblocking.asgi.client import make_client

PEER = next(peer for peer in PEERS if peer.name == os.environ["PEERS_NAME"])
PEER.start()


@pytest.mark.asyncio
@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
async def test_request(case, record_property):
    client, transport = make_client(case.app)
    try:
        # Start-up and what only the first request does are not what is to be found.
        await transport.startup()
        await ask(client, case)
        began = time.perf_counter()
        try:
            async with PEER.detector():
                await ask(client, case)
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
@pytest.mark.parametrize("case", [marked(case) for case in cases()])
async def test_marked(nonblocking_client, case):
    await ask(nonblocking_client, case)
