"""What the tool that PEERS_NAME names reports of each handler, written and generated."""

from __future__ import annotations

import json
import os

import pytest
from asking import ask
from corpus import Case, cases
from generated import apps, compose, render
from reporters import REPORTERS

from pytest_nonblocking.asgi.client import make_client

REPORTER = next(one for one in REPORTERS if one.name == os.environ["PEERS_NAME"])
REPORTER.start()
WRITTEN = {case.name: case for case in cases()}
COMPOSED = {
    case.name: case
    for case in map(compose.with_calls, map(compose.case, json.loads(os.environ["TRUTH_SEEDS"])))
}


def _asked(name: str) -> Case:
    if name in WRITTEN:
        return WRITTEN[name]
    composed = COMPOSED[name]
    app, path = apps.load(composed), render.path(composed)
    return next(iter(WRITTEN.values()))._replace(app=app, path=path, upload=None)


@pytest.mark.asyncio
@pytest.mark.parametrize("name", [*WRITTEN, *COMPOSED])
async def test_calls(name, record_property):
    case = _asked(name)
    client, transport = make_client(case.app)

    async def request() -> None:
        try:
            await ask(client, case)
        finally:
            await transport.settle()  # raises what the app raised after it had answered 500

    try:
        # Start-up and what only the first request does are not what is to be found.
        await transport.startup()
        await request()
        record_property("found", await REPORTER.calls(request))
    finally:
        await client.aclose()
        await transport.shutdown()
