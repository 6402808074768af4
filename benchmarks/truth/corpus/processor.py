"""Row "CPU work on the loop, in one piece or sliced"."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import json
import re
import zlib
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from pydantic import BaseModel

from .labels import Labels

labels = Labels(__name__)
ROW = "CPU on the loop"
app = FastAPI()


@labels.get(app, "/cpu-15ms", row=ROW, cause="cpu-on-loop")
async def cpu_15ms() -> int:
    total = 0
    for value in range(250_000):  # culprit: cpu-15ms
        total = (total + value * 31) % 65_521  # culprit: cpu-15ms
    return total


@labels.get(app, "/cpu-25ms", row=ROW, cause="cpu-on-loop")
async def cpu_25ms() -> int:
    total = 0
    for value in range(450_000):  # culprit: cpu-25ms
        total = (total + value * 31) % 65_521  # culprit: cpu-25ms
    return total


@labels.get(app, "/cpu-150ms", row=ROW, cause="cpu-on-loop")
async def cpu_150ms() -> int:
    total = 0
    for value in range(2_500_000):  # culprit: cpu-150ms
        total = (total + value * 31) % 65_521  # culprit: cpu-150ms
    return total


@labels.get(app, "/await-then-cpu", row=ROW, cause="cpu-on-loop")
async def await_then_cpu() -> int:
    await asyncio.sleep(0.020)
    total = 0
    for value in range(350_000):  # culprit: await-then-cpu
        total = (total + value * 31) % 65_521  # culprit: await-then-cpu
    return total


@labels.get(app, "/sliced-cpu", row=ROW, cause="cpu-on-loop")
async def sliced_cpu() -> int:
    total = 0
    for _ in range(12):
        for value in range(36_000):  # culprit: sliced-cpu
            total = (total + value * 31) % 65_521  # culprit: sliced-cpu
        await asyncio.sleep(0)  # culprit: sliced-cpu
    return total


_documents = [{"id": n, "name": f"name {n}", "tags": ["a", "b", str(n)]} for n in range(20_000)]


@labels.get(app, "/json-dumps", row=ROW, cause="cpu-on-loop")
async def json_dumps() -> int:
    return len(json.dumps(_documents))  # culprit: json-dumps


@labels.get(app, "/json-in-slices", row=ROW, cause="cpu-on-loop")
async def json_in_slices() -> int:
    size = 0
    for first in range(0, 15_000, 2_500):
        size += len(json.dumps(_documents[first : first + 2_500]))  # culprit: json-in-slices
        await asyncio.sleep(0)
    return size


@labels.get(app, "/deepcopy", row=ROW, cause="cpu-on-loop")
async def deep_copy() -> int:
    return len(copy.deepcopy(_documents[:3000]))  # culprit: deepcopy


@labels.get(app, "/regex", row=ROW, cause="cpu-on-loop")
async def regex() -> bool:
    return re.match(r"(?:a|aa|b)*c", "a" * 27) is None  # culprit: regex


_numbers = [(n * 7919) % 1_000_003 for n in range(400_000)]


@labels.get(app, "/sorted", row=ROW, cause="cpu-on-loop")
async def with_sorted() -> int:
    return sorted(_numbers)[0]  # culprit: sorted


@labels.get(app, "/password-hash", row=ROW, cause="cpu-on-loop")
async def password_hash() -> str:
    return hashlib.pbkdf2_hmac("sha256", b"secret", b"salt", 60_000).hex()  # culprit: password-hash


_bytes = json.dumps(_documents).encode()


@labels.get(app, "/compress", row=ROW, cause="cpu-on-loop")
async def compress() -> int:
    return len(zlib.compress(_bytes, 6))  # culprit: compress


def _checksum() -> int:
    total = 0
    for value in range(400_000):  # culprit: cpu-in-dependency
        total = (total + value * 31) % 65_521  # culprit: cpu-in-dependency
    return total


async def _checked() -> int:
    return _checksum()


@labels.get(app, "/cpu-in-dependency", row=ROW, cause="cpu-on-loop")
async def cpu_in_dependency(total: Annotated[int, Depends(_checked)]) -> int:
    return total


class _Row(BaseModel):
    id: int
    name: str
    tags: list[str]


# The work is FastAPI's and Pydantic's: no line of the user's.
@labels.get(app, "/large-response", row=ROW, cause="cpu-on-loop")
async def large_response() -> list[_Row]:
    return _ROWS


_ROWS = [_Row(**document) for document in _documents]  # type: ignore[arg-type]


async def _part(number: int) -> int:
    total = number
    for value in range(170_000):  # culprit: cpu-in-children
        total = (total + value * 31) % 65_521  # culprit: cpu-in-children
    return total


@labels.get(app, "/cpu-in-children", row=ROW, cause="cpu-on-loop")
async def cpu_in_children() -> Any:
    await asyncio.sleep(0.005)
    return await asyncio.gather(*(_part(number) for number in range(3)))
