"""pytest-asyncio's marker for marked coroutine tests that no other plugin would run."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest


def give_runner(collector: pytest.Collector, function: Callable[..., Any]) -> None:
    """Add the marker ``asyncio`` to a marked ``function`` that no plugin would run."""
    marks = [*getattr(function, "pytestmark", ()), *collector.iter_markers()]
    names = {mark.name for mark in marks}
    if "nonblocking" not in names or names & {"asyncio", "anyio"}:
        return
    asks = {name for mark in marks if mark.name == "usefixtures" for name in mark.args}
    asks.update(inspect.signature(function).parameters)
    loaded = collector.config.pluginmanager.has_plugin
    if not (loaded("asyncio") or loaded("pytest_asyncio.plugin")):
        return
    if "anyio_backend" not in asks and not _anyio_runs_all(collector.config):
        pytest.mark.asyncio(function)


def _anyio_runs_all(config: pytest.Config) -> bool:
    try:
        return "auto" in (config.getoption("anyio_mode"), config.getini("anyio_mode"))
    except (ValueError, KeyError):  # anyio before 4.12, or its plugin is disabled
        return False
