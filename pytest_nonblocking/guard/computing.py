"""Libraries that compute for long, and what their users do about it: fixes for CPU work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ..model import Culprit, Evidence, Stack

_RELEASES = "await anyio.to_thread.run_sync({}, …): it releases the GIL while it computes"
_COMPRESSES = "build the archive in await anyio.to_thread.run_sync(…): compression releases the GIL"
_SHARE = 0.3
"""Share of the CPU samples from which a library's advice is given."""


@dataclass(frozen=True, slots=True)
class Computing:
    """One library: its top-level package, or texts by which a line of code shows its calls."""

    instead: str
    package: str = ""
    spelled: tuple[str, ...] = ()


COMPUTING: tuple[Computing, ...] = (
    Computing(
        "select columns instead of ORM objects (load_only, or select(Model.a, Model.b)), and "
        "load fewer rows (limit, pages)",
        package="sqlalchemy",
    ),
    Computing("load fewer rows and columns (values, only, pages)", package="django"),
    Computing(
        "validate and dump fewer objects, or once (response_model=None where the data is "
        "already valid)",
        package="pydantic",
    ),
    Computing(
        "parse less, or with a faster parser (orjson, msgspec)",
        spelled=("json.loads(", "json.load(", ".json()"),
    ),
    Computing("dump less, or with a faster encoder (orjson, msgspec)", spelled=("json.dumps(",)),
    Computing("parse and dump less JSON, or with a faster library (orjson, msgspec)", "json"),
    Computing(
        "create one client (or SSL context) for the app and share it between requests: each new "
        "one loads the CA certificates",
        package="ssl",
    ),
    Computing(_RELEASES.format("bcrypt.hashpw"), "bcrypt", ("bcrypt.",)),
    Computing(_RELEASES.format("hasher.hash"), "argon2", ("argon2.",)),
    Computing(_RELEASES.format("hashlib.…"), "hashlib", ("hashlib.", "pbkdf2_hmac(", "scrypt(")),
    Computing(_RELEASES.format("zlib.…"), "zlib", ("zlib.", "gzip.compress(", "gzip.decompress(")),
    *(Computing(_COMPRESSES, package) for package in ("zipfile", "tarfile", "gzip", "bz2", "lzma")),
)


def advice_for(culprit: Culprit | None, evidence: Evidence) -> str | None:
    """Return what to do about CPU work in the line of ``culprit``, or that samples show most.

    A library that calls the culprit, as pydantic calls a validator, is not what computes.
    """
    code = "" if culprit is None else culprit.code
    for row in COMPUTING:
        if any(text in code for text in row.spelled):
            return row.instead
    weights: Counter[str] = Counter()
    whole = 0.0
    is_line = culprit is not None and not culprit.library and not culprit.is_route
    for stack, weight in _seen(evidence):
        whole += weight
        below = _below(culprit, stack) if culprit is not None and is_line else stack
        for package in {frame.module.partition(".")[0] for frame in below}:
            weights[package] += weight  # type: ignore[assignment]  # a Counter of seconds
    for row in COMPUTING:
        if row.package and whole > 0 and weights[row.package] >= _SHARE * whole:
            return row.instead
    return None


def _below(culprit: Culprit, stack: Stack) -> Stack:
    """Return the frames that the function of ``culprit`` calls, none if it is not in ``stack``."""
    place = culprit.file, culprit.function
    inside = [n for n, frame in enumerate(stack) if (frame.file, frame.function) == place]
    return stack[inside[-1] + 1 :] if inside else ()


def _seen(evidence: Evidence) -> Iterable[tuple[Stack, float]]:
    for run in evidence.runs:
        for sample in (*run.samples, *(one for step in run.steps for one in step.samples)):
            yield sample.stack, sample.weight
        yield from ((one.stack, one.cpu) for one in run.slices)
