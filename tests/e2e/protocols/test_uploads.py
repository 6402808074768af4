"""Uploads: files in forms, and bodies that are streamed."""

import asyncio
import time

import pytest
from fastapi import FastAPI, Request, UploadFile
from fastapi.responses import PlainTextResponse
from judged import PASS, fail, said

pytest.importorskip("python_multipart", reason="python-multipart is not installed: no UploadFile")
pytestmark = pytest.mark.asyncio

PART = b"x" * 10_000
app = FastAPI(default_response_class=PlainTextResponse)


def save(data):
    time.sleep(0.05)  # culprit
    return str(len(data))


@app.post("/file")
async def take_file(file: UploadFile):
    await asyncio.sleep(0.02)
    return f"{file.filename} {len(await file.read())}"


@app.post("/blocking-file")
async def save_file(file: UploadFile):
    return f"{file.filename} {save(await file.read())}"


@app.post("/threaded-file")
def save_file_in_a_thread(file: UploadFile):
    return f"{file.filename} {save(file.file.read())}"


@app.post("/stream")
async def take_stream(request: Request):
    return str(sum([len(part) async for part in request.stream()]))


@app.post("/blocking-stream")
async def save_stream(request: Request):
    return str(sum([int(save(part)) async for part in request.stream() if part]))


@app.post("/refusing")
async def refuse():
    await asyncio.sleep(0.02)
    return PlainTextResponse("too large", status_code=413)


@pytest.fixture
def nonblocking_app():
    return app


@pytest.fixture
def post_file(nonblocking_client, virtual_user):
    """Return a scenario: a form with a file, whose name is the copy's own."""

    def scenario(path):
        async def body():
            name = f"{virtual_user()}.txt"
            response = await nonblocking_client.post(path, files={"file": (name, PART)})
            assert response.text == f"{name} {len(PART)}"

        return body

    return scenario


@pytest.fixture
def post_stream(nonblocking_client):
    """Return a scenario: a body that a generator makes, part for part."""

    def scenario(path, answer="20000"):
        async def parts():
            for _ in range(2):
                yield PART
                await asyncio.sleep(0.01)

        async def body():
            assert (await nonblocking_client.post(path, content=parts())).text == answer

        return body

    return scenario


async def test_a_handler_that_reads_a_file_passes(measure, post_file):
    assert said(await measure(post_file("/file"))) == PASS


async def test_a_handler_that_blocks_on_a_file_fails_with_its_line(measure, post_file):
    assert said(await measure(post_file("/blocking-file"))) == fail(__file__)


async def test_a_def_handler_that_saves_a_file_passes(measure, post_file):
    assert said(await measure(post_file("/threaded-file"))) == PASS


async def test_a_handler_that_reads_a_streamed_body_passes(measure, post_stream):
    assert said(await measure(post_stream("/stream"))) == PASS


async def test_a_handler_that_blocks_on_parts_of_a_body_fails_with_its_line(measure, post_stream):
    assert said(await measure(post_stream("/blocking-stream"))) == fail(__file__)


async def test_a_handler_that_does_not_read_its_body_passes(measure, post_stream):
    assert said(await measure(post_stream("/refusing", "too large"))) == PASS
