"""Applications that are mounted on others, and applications behind a prefix."""

import asyncio
import time

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse
from judged import PASS, fail, said
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

pytestmark = pytest.mark.asyncio

inner = FastAPI(default_response_class=PlainTextResponse)


@inner.get("/healthy")
async def healthy(request: Request):
    await asyncio.sleep(0.02)
    return f"{request.scope['root_path']} {request.url_for('healthy').path}"


@inner.get("/blocking")
async def blocking():
    time.sleep(0.05)  # culprit
    return "ok"


@pytest.fixture
def nonblocking_app(tmp_path):
    (tmp_path / "page.txt").write_text("ok")
    routes = [
        Mount("/api", inner),
        Mount("/static", StaticFiles(directory=tmp_path)),
    ]
    return Starlette(routes=routes)


async def test_a_mounted_app_sees_its_root_path_and_passes(measure, nonblocking_client):
    async def body():
        assert (await nonblocking_client.get("/api/healthy")).text == "/api /api/healthy"

    assert said(await measure(body)) == PASS


async def test_a_mounted_app_that_blocks_is_told_with_its_path_and_line(measure, get):
    outcome = await measure(get("/api/blocking"))
    assert said(outcome) == fail(__file__)
    assert outcome.target == "GET /api/blocking"


async def test_static_files_pass(measure, get):
    assert said(await measure(get("/static/page.txt"))) == PASS


class TestWithARootPath:
    """An app of which the server says that it lives below a prefix (uvicorn --root-path)."""

    @pytest.fixture
    def nonblocking_app(self):
        async def with_root_path(scope, receive, send):
            await inner({**scope, "root_path": "/prefix"}, receive, send)

        return with_root_path

    async def test_an_app_with_a_root_path_passes(self, measure, nonblocking_client):
        async def body():
            assert (
                await nonblocking_client.get("/prefix/healthy")
            ).text == "/prefix /prefix/healthy"

        assert said(await measure(body)) == PASS
