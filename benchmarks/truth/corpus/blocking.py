"""Rows "blocking I/O inside async def, however deep" and "hidden in a library"."""

from __future__ import annotations

import asyncio
import concurrent.futures
import http.client
import os
import queue
import select
import socket
import sqlite3
import subprocess
import threading
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import requests
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, field_validator
from sqlalchemy import create_engine, event, text
from sqlalchemy.orm import Session
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from .labels import Labels
from .services import host, port, url

labels = Labels(__name__)
ROW = "blocking inside async def"
HIDDEN = "hidden in a library"


def _slow() -> int:
    time.sleep(0.025)  # culprit: sqlite3-function, sqlalchemy-session
    return 1


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    engine = create_engine("sqlite://", connect_args={"check_same_thread": False})
    event.listen(engine, "connect", lambda db, _: db.create_function("slow", 0, _slow))
    pool = concurrent.futures.ThreadPoolExecutor(4)
    yield {"engine": engine, "pool": pool}
    pool.shutdown()
    engine.dispose()


app = FastAPI(lifespan=_lifespan)


@labels.get(app, "/sleep-5ms", row=ROW, cause="blocking-call")
async def sleep_5ms() -> None:
    time.sleep(0.006)  # culprit: sleep-5ms


@labels.get(app, "/sleep-20ms", row=ROW, cause="blocking-call")
async def sleep_20ms() -> None:
    time.sleep(0.020)  # culprit: sleep-20ms


@labels.get(app, "/sleep-200ms", row=ROW, cause="blocking-call")
async def sleep_200ms() -> None:
    time.sleep(0.200)  # culprit: sleep-200ms


@labels.get(app, "/await-then-block-8ms", row=ROW, cause="blocking-call")
async def await_then_block() -> None:
    await asyncio.sleep(0.020)
    time.sleep(0.008)  # culprit: await-then-block-8ms


@labels.get(app, "/long-await-then-block-25ms", row=ROW, cause="blocking-call")
async def long_await_then_block() -> None:
    await asyncio.sleep(0.060)
    time.sleep(0.025)  # culprit: long-await-then-block-25ms
    await asyncio.sleep(0.020)


@labels.get(app, "/requests", row=HIDDEN, cause="blocking-call", calls="network")
async def with_requests() -> str:
    return requests.get(url(30), timeout=30).text  # culprit: requests


@labels.get(app, "/urllib", row=HIDDEN, cause="blocking-call", calls="network")
async def with_urllib() -> int:
    with urllib.request.urlopen(url(20)) as answer:  # culprit: urllib
        return len(answer.read())


@labels.get(app, "/http-client", row=HIDDEN, cause="blocking-call", calls="network")
async def with_http_client() -> int:
    connection = http.client.HTTPConnection(host(), port())
    connection.request("GET", "/15")
    answer = connection.getresponse()  # culprit: http-client
    size = len(answer.read())
    connection.close()
    return size


@labels.get(app, "/socket", row=ROW, cause="blocking-call", calls="network")
async def with_socket() -> int:
    with socket.create_connection((host(), port())) as connection:
        connection.sendall(b"GET /12 HTTP/1.1\r\n\r\n")
        return len(connection.recv(1000))  # culprit: socket


@labels.get(app, "/sqlite3-function", row=HIDDEN, cause="blocking-call")
async def with_sqlite3() -> int:
    connection = sqlite3.connect(":memory:")
    connection.create_function("slow", 0, _slow)
    rows = connection.execute("SELECT slow()").fetchall()
    connection.close()
    return len(rows)


@labels.get(app, "/sqlalchemy-session", row=HIDDEN, cause="blocking-call")
async def with_session(request: Request) -> int:
    with Session(request.scope["state"]["engine"]) as session:
        return len(session.execute(text("SELECT slow()")).all())


@labels.get(app, "/subprocess-run", row=HIDDEN, cause="blocking-call", calls="process")
async def with_subprocess() -> int:
    done = subprocess.run(["sleep", "0.03"], check=False)  # culprit: subprocess-run
    return done.returncode


@labels.get(app, "/future-result", row=ROW, cause="blocking-call", calls="lock")
async def future_result(request: Request) -> None:
    work = request.scope["state"]["pool"].submit(time.sleep, 0.020)
    work.result()  # culprit: future-result


@labels.get(app, "/thread-join", row=ROW, cause="blocking-call", calls="lock")
async def thread_join() -> None:
    thread = threading.Thread(target=time.sleep, args=(0.015,))
    thread.start()
    thread.join()  # culprit: thread-join


@labels.get(app, "/queue-get", row=ROW, cause="blocking-call", calls="lock")
async def queue_get() -> None:
    waiting: queue.Queue[None] = queue.Queue()
    try:
        waiting.get(timeout=0.025)  # culprit: queue-get
    except queue.Empty:
        return


@labels.get(app, "/select", row=ROW, cause="blocking-call", calls="network")
async def with_select() -> None:
    select.select([], [], [], 0.010)  # culprit: select


@labels.get(app, "/pipe-read", row=ROW, cause="blocking-call", calls="process")
async def pipe_read() -> None:
    reader, writer = os.pipe()
    timer = threading.Timer(0.030, os.write, (writer, b"x"))
    timer.start()
    os.read(reader, 1)  # culprit: pipe-read
    timer.join()
    os.close(reader)
    os.close(writer)


async def _look_up() -> str:
    time.sleep(0.018)  # culprit: dependency
    return "user"


async def _look_up_deeper(user: Annotated[str, Depends(_look_up)]) -> str:
    await asyncio.sleep(0.002)
    return user


@labels.get(app, "/dependency", row=HIDDEN, cause="blocking-call")
async def with_dependency(user: Annotated[str, Depends(_look_up_deeper)]) -> str:
    return user


async def _unit_of_work() -> AsyncIterator[None]:
    yield
    time.sleep(0.022)  # culprit: dependency-teardown


@labels.get(app, "/dependency-teardown", row=HIDDEN, cause="blocking-call")
async def with_teardown(work: Annotated[None, Depends(_unit_of_work)]) -> None:
    await asyncio.sleep(0.005)


class _Item(BaseModel):
    name: str

    @field_validator("name")
    @classmethod
    def _known(cls, value: str) -> str:
        time.sleep(0.030)  # culprit: validator
        return value


@labels.get(app, "/validator", row=HIDDEN, cause="blocking-call")
async def with_validator() -> str:
    return _Item.model_validate({"name": "tea"}).name


class _Repository:
    """Many frames between the handler and the call that blocks."""

    def find(self, number: int) -> int:
        return self._first(number) if number > 0 else self._query()

    def _first(self, number: int) -> int:
        return self.find(number - 1)

    def _query(self) -> int:
        time.sleep(0.016)  # culprit: deep-stack
        return 1


@labels.get(app, "/deep-stack", row=HIDDEN, cause="blocking-call")
async def deep_stack() -> int:
    return _Repository().find(12)


_cache: dict[str, int] = {}


@labels.get(app, "/every-fourth-request", row=ROW, cause="blocking-call")
async def every_fourth_request() -> None:
    _cache["asked"] = number = _cache.get("asked", 0) + 1
    await asyncio.sleep(0.004)
    if number % 4 == 0:
        time.sleep(0.040)  # culprit: every-fourth-request


@labels.get(app, "/many-small-blocks", row=ROW, cause="blocking-call")
async def many_small_blocks() -> None:
    for _ in range(8):
        time.sleep(0.003)  # culprit: many-small-blocks
        await asyncio.sleep(0.001)  # culprit: many-small-blocks


async def _chunks() -> AsyncIterator[bytes]:
    for _ in range(3):
        await asyncio.sleep(0.003)
        time.sleep(0.010)  # culprit: streaming-blocks
        yield b"x" * 100


@labels.get(app, "/streaming-blocks", row=HIDDEN, cause="blocking-call")
async def streaming_blocks() -> StreamingResponse:
    return StreamingResponse(_chunks())


async def _send_mail() -> None:
    time.sleep(0.030)  # culprit: background-blocks


@labels.get(app, "/background-blocks", row=HIDDEN, cause="blocking-call")
async def background_blocks(tasks: BackgroundTasks) -> None:
    await asyncio.sleep(0.010)
    tasks.add_task(_send_mail)


@app.exception_handler(KeyError)
async def _on_key_error(request: Request, error: Exception) -> PlainTextResponse:
    time.sleep(0.020)  # culprit: exception-handler
    return PlainTextResponse("no such key")


@labels.get(app, "/exception-handler", row=HIDDEN, cause="blocking-call")
async def exception_handler() -> None:
    raise KeyError("x")


async def _gathered() -> None:
    await asyncio.sleep(0.010)
    time.sleep(0.006)  # culprit: gathered-children


@labels.get(app, "/gathered-children", row=ROW, cause="blocking-call")
async def gathered_children() -> None:
    await asyncio.gather(*(_gathered() for _ in range(3)))


class _BlockingMiddleware(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: Any) -> Any:
        time.sleep(0.012)  # culprit: base-http-middleware
        return await call_next(request)


async def _ok(request: Request) -> PlainTextResponse:
    await asyncio.sleep(0.005)
    return PlainTextResponse("ok")


class _Endpoint(HTTPEndpoint):
    async def get(self, request: Request) -> PlainTextResponse:
        time.sleep(0.045)  # culprit: mounted-endpoint
        return PlainTextResponse("ok")


starlette = Starlette(
    routes=[Mount("/mounted", routes=[Route("/x", _ok)]), Route("/mounted-endpoint", _Endpoint)]
)
labels.add(starlette, "/mounted-endpoint", row=ROW, cause="blocking-call")

with_middleware = Starlette(routes=[Route("/base-http-middleware", _ok)])
with_middleware.add_middleware(_BlockingMiddleware)
labels.add(with_middleware, "/base-http-middleware", row=HIDDEN, cause="blocking-call")


@labels.get(app, "/retry-loop", row=ROW, cause="blocking-call")
async def retry_loop() -> None:
    for attempt in range(3):
        try:
            if attempt < 2:
                raise HTTPException(503)
        except HTTPException:
            time.sleep(0.012 * (attempt + 1))  # culprit: retry-loop
