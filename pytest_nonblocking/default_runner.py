"""pytest-asyncio, which the plugin brings along: for the tests that need it, unseen by the rest."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from .config import ini_table, overridden

_UNSET_SCOPE = 'The configuration option "asyncio_default_fixture_loop_scope" is unset'


def hide_unset_scope(config: pytest.Config) -> None:
    """Hide pytest-asyncio's warning of an unset option in a project that sets none of its options.

    Where warnings are errors, it would end the run of a project that never asked for
    pytest-asyncio. A value in its place would change the fixtures of one that did.
    """
    set_somewhere = (*ini_table(config), *overridden(config))
    by_flag = config.getoption("asyncio_mode", None)
    if by_flag is None and not any(name.startswith("asyncio_") for name in set_somewhere):
        filters = warnings.catch_warnings()
        filters.__enter__()
        config.add_cleanup(lambda: filters.__exit__(None, None, None))
        warnings.filterwarnings("ignore", _UNSET_SCOPE, pytest.PytestDeprecationWarning)


def give_runner(collector: pytest.Collector, function: Callable[..., Any]) -> None:
    """Add the marker ``asyncio`` to a marked ``function`` that no plugin would run."""
    marks = [*getattr(function, "pytestmark", ()), *collector.iter_markers()]
    names = {mark.name for mark in marks}
    if "nonblocking" not in names or names & {"asyncio", "anyio", "trio"}:
        return
    asks = {name for mark in marks if mark.name == "usefixtures" for name in mark.args}
    asks.update(inspect.signature(function).parameters)
    loaded = collector.config.pluginmanager.has_plugin
    if not (loaded("asyncio") or loaded("pytest_asyncio.plugin")):
        return
    if "anyio_backend" not in asks and not _another_runs_all(collector.config):
        pytest.mark.asyncio(function)


def _another_runs_all(config: pytest.Config) -> bool:
    """Return whether anyio's plugin or pytest-trio runs each coroutine test."""
    by_flag = config.getoption("anyio_mode", None)
    return "auto" in (by_flag, _ini(config, "anyio_mode")) or bool(_ini(config, "trio_mode"))


def _ini(config: pytest.Config, name: str) -> Any:
    try:
        return config.getini(name)
    except (ValueError, KeyError):  # a version without it, or the plugin is disabled
        return None
