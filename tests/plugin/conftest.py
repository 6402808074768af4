"""A small application for the plugin's tests."""

import contextlib
import functools
import importlib.metadata
import sys
import warnings

import pytest
from inner_runs import LEFT_OUT

# Loaded before the first inner run: what is first imported in one is imported anew in the next,
# and the package would still hold the old modules.
for name in (
    "pytest_nonblocking.gate.session",
    "pytest_nonblocking.measuring",
    "pytest_nonblocking.reporting.annotations",
    "pytest_nonblocking.reporting.failures_shown",
    "pytest_nonblocking.reporting.html_report",
    "pytest_nonblocking.reporting.junit",
    "pytest_nonblocking.reporting.sarif_report",
    "pytest_nonblocking.reporting.shared_culprits",
    "pytest_nonblocking.scan.collecting",
    "anyio._backends._asyncio",
    "anyio._backends._trio",
    "fastapi",
    "httpx2",
    "starlette.testclient",
    "trio",
    "uvloop",
):
    with contextlib.suppress(ImportError), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Starlette's test client warns of httpx
        importlib.import_module(name)


class ReadOnce:
    """An installed distribution, each of whose attributes is read from the disk once."""

    def __init__(self, distribution):
        self._distribution = distribution

    def __getattr__(self, name):
        value = getattr(self._distribution, name)
        setattr(self, name, value)
        return value


@pytest.fixture(autouse=True, scope="session")
def distributions_are_read_once():
    """Have inner runs in this process share what is read of the installed distributions.

    pytest asks for all files of every plugin's distribution, some thousand, each time it starts:
    a third of the CPU time of a short run.
    """
    found = importlib.metadata.distributions

    @functools.cache
    def on(path):
        return [ReadOnce(distribution) for distribution in found(path=list(path))]

    def distributions(**which):
        return found(**which) if which else iter(on(tuple(sys.path)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.metadata, "distributions", distributions)
        yield


APP = """
import asyncio
import time

import pytest


async def respond(send, status=200, body=b"ok"):
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def app(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("no lifespan here")
    if scope["path"] == "/blocking":
        time.sleep(0.05)
    elif scope["path"] == "/hang":
        await asyncio.Event().wait()
    elif scope["path"] == "/stuck":
        time.sleep(3600)
    elif scope["path"] == "/boom":
        raise ValueError("the handler is broken")
    else:
        await asyncio.sleep(0.02)
    await respond(send)
"""

CONFTEST = """
import pytest
from webapp import app


@pytest.fixture
def nonblocking_app():
    return app
"""


@pytest.fixture
def project(pytester):
    """A folder with an application and the fixture that names it."""
    pytester.makepyfile(webapp=APP)
    pytester.makeconftest(CONFTEST)
    pytester.makeini("[pytest]\npythonpath = .\n")
    return pytester


GET = """
import pytest

@pytest.mark.nonblocking{marker}
async def test_it(nonblocking_client):
    assert (await nonblocking_client.get("{path}")).status_code == 200
"""


@pytest.fixture
def run_get(project):
    """Run one marked test that gets a path, with a marker and flags."""

    def run(path, *flags, marker="", **kwargs):
        project.makepyfile(test_it=GET.format(marker=marker, path=path))
        return project.runpytest(*flags, **kwargs)

    return run


@pytest.fixture(autouse=True)
def inconclusive_counts_as_passed(monkeypatch):
    """On a busy machine any healthy test may be inconclusive, which is counted apart."""
    whole = pytest.RunResult.parseoutcomes

    def folded(self):
        outcomes = whole(self)
        if undecided := outcomes.pop("inconclusive", 0):
            outcomes["passed"] = outcomes.get("passed", 0) + undecided
        return outcomes

    monkeypatch.setattr(pytest.RunResult, "parseoutcomes", folded)


@pytest.fixture(autouse=True)
def the_same_everywhere(pytester, monkeypatch):
    """Inner runs keep their order and their wording whatever the outer run was given."""
    monkeypatch.setenv("PYTEST_ADDOPTS", LEFT_OUT)
    # With either of these pytest repeats the whole failure in its short summary.
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("BUILD_NUMBER", raising=False)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)  # which adds annotations
