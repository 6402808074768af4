"""Keeps the laboratory's test out of any run that is not the laboratory's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import pytest

collect_ignore = [] if "TRUTH_PORT" in os.environ else ["test_corpus.py"]


if os.environ.get("TRUTH_LOOP") == "uvloop":

    @pytest.hookimpl(optionalhook=True)
    def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
        import uvloop

        return {"uvloop": uvloop.new_event_loop}
