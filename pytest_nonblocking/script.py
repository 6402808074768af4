"""Measuring without a pytest session: in a script, a notebook, or under another test runner."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.lowlevel import RunVar

from .analysis.places import Place
from .analysis.user_code import FRAMEWORKS
from .asgi import apps
from .asgi.lifecycle import Clients
from .config import Settings, defaults
from .guard import rules_of
from .load.burst import Body, BodyFailedError
from .load.gathering import gather, only_in_a_burst
from .load.guarded import guard_of
from .model import Outcome
from .options import ScenarioKeywords
from .originals import made
from .outcomes import Subject, limits_of, place_of
from .reporting.places import relative
from .sentinel import Sentinel

if sys.version_info >= (3, 11):
    from typing import Unpack
else:
    from typing_extensions import Unpack

SETTINGS_OF_TESTS = ("mode", "transport", "app", "inconclusive")
"""Settings of tests, which have no effect here."""
_MEASURES: RunVar[bool] = RunVar("nonblocking_measures")  # one of each event loop
_CLIENTS: ContextVar[Clients | None] = ContextVar("nonblocking_clients", default=None)


async def measure(scenario: Body, **settings: Unpack[ScenarioKeywords]) -> Outcome:
    """Run ``scenario`` alone and in bursts on the running loop, and return the outcome.

    It needs no pytest session, and reads no ini file. ``scenario`` is a callable without arguments
    that returns an awaitable; ``settings`` are the marker's keywords, with its units, ranges and
    defaults, except ``mode``, ``transport``, ``app`` and ``inconclusive``. A fail is not raised:
    its text is ``outcome.message``. A scenario that cannot be measured has the verdict
    ``"not-measured"``, and ``outcome.notes`` say why. Raises whatever the scenario raises,
    pytest.UsageError for an unknown or invalid setting, and RuntimeError while another measurement
    runs on the loop.
    """
    held = _held(settings)
    if _MEASURES.get(False):  # each would measure the other
        raise RuntimeError(
            "measure(): another measurement runs on this event loop; await it before the next"
        )
    _MEASURES.set(True)
    try:
        return await _measure(scenario, held)
    finally:
        _MEASURES.set(False)


async def _measure(scenario: Body, held: Settings) -> Outcome:
    place = place_of(scenario)
    clients = _CLIENTS.get() or Clients("asgi")
    sentinel = Sentinel(held.max_lag, held.max_blocked)
    rules = rules_of(held.guard_calls)
    guard = guard_of(held.guard, rules)
    try:
        evidence, wall = await gather(
            scenario, limits_of(held), sentinel, clients, nullcontext(), guard=guard
        )
    except BodyFailedError as failure:
        failed = failure.with_traceback(None)  # whose frames hold the evidence
    else:
        file, name = _named(scenario, place)
        subject = Subject(
            nodeid=f"{file}::{name}",
            name=name,
            rootdir=Path.cwd(),
            rules=rules,
            packages=lambda: apps.packages_of(clients.apps, FRAMEWORKS),
        )
        return subject.conclude(evidence, held, place, wall)[0]
    if failed.concurrency > 1 and hasattr(failed.error, "add_note"):  # new in Python 3.11
        failed.error.add_note(only_in_a_burst(failed, "The scenario"))
    raise failed.error


@asynccontextmanager
async def app_client(app: Any) -> AsyncIterator[Any]:
    """Return a context manager for an ``httpx.AsyncClient`` of an ASGI application.

    The app's lifespan spans the block, and the client is what the fixture ``nonblocking_client``
    is: outcomes of measurements in the block are named after its requests. Of nested blocks, the
    innermost counts. Raises TypeError for what is no application, and RuntimeError if the app's
    start-up or shutdown fails.
    """
    clients = Clients("asgi")
    client = clients.client_for(app)
    token = _CLIENTS.set(clients)
    try:
        await clients.startup()
        yield client
    finally:
        _CLIENTS.reset(token)
        with made(anyio.CancelScope, shield=True):  # a start-up deserves its shutdown
            await clients.shutdown()
    clients.raise_failure()


def _held(settings: ScenarioKeywords) -> Settings:
    held = defaults().overlay(settings, "measure()")
    if unused := sorted(set(settings) & set(SETTINGS_OF_TESTS)):
        raise pytest.UsageError(
            f"measure(): {', '.join(unused)} has no effect outside of a pytest run; leave it out"
        )
    return held


def _named(scenario: Body, place: Place | None) -> tuple[str, str]:
    """Return the file and the name of a scenario."""
    if place is None:
        return type(scenario).__module__, type(scenario).__qualname__
    file, name = place
    return relative(file, Path.cwd()), name.rpartition("<locals>.")[2]
