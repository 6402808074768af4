"""Writes what became of each test to the file named in PEERS_RESULTS, one JSON line each."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "truth"))
collect_ignore = [] if "PEERS_RESULTS" in os.environ else ["test_peers.py", "test_calls.py"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call" and "PEERS_RESULTS" in os.environ:
        properties = dict(item.user_properties)
        line = {
            "case": item.callspec.id,
            "failed": report.failed,
            "text": report.longreprtext,
            "seconds": properties.get("seconds"),
            "found": properties.get("found"),
            "duration": report.duration,
        }
        with Path(os.environ["PEERS_RESULTS"]).open("a") as file:
            file.write(json.dumps(line) + "\n")
    return report
