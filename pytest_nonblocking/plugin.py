"""pytest's hooks and fixtures. Every pytest run loads this file: it imports the rest when used."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from . import clocks as clocks  # bound before a test can freeze them
from . import config as _settings

if TYPE_CHECKING:
    from .gate.session import Ending
    from .measuring import Nonblocking
    from .runner import TestRun
    from .sentinel import Sentinel

SETTINGS: pytest.StashKey[_settings.Settings] = pytest.StashKey()
MARKED: pytest.StashKey[_settings.Settings] = pytest.StashKey()
RUN: pytest.StashKey[TestRun] = pytest.StashKey()
RECORDS: pytest.StashKey[dict[str, list[dict[str, Any]]]] = pytest.StashKey()

_MARKER = (
    "nonblocking({}): run the body as concurrent copies and fail it where it blocks the event "
    "loop or makes its copies wait for one another"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the settings."""
    _settings.add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Check the settings before any work is done."""
    keywords = ", ".join(f"{name}=…" for name in _settings.MARKER_KEYWORDS)
    config.addinivalue_line("markers", _MARKER.format(keywords))
    settings = config.stash[SETTINGS] = _settings.from_config(config)
    config.stash[RECORDS] = {}
    if settings.report and not hasattr(config, "workerinput"):
        from .reporting.files import check_paths

        check_paths(settings, config)
    if settings.baseline is not None or settings.update_baseline:
        from .gate import baseline

        if (known := baseline.from_settings(settings, config)) is not None:
            config.stash[baseline.BASELINE] = known
    config.pluginmanager.register(_Collector(config), "nonblocking-collector")


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Collector, name: str, obj: object) -> None:
    """Give a marked coroutine test without a runner marker pytest-asyncio's."""
    function = obj.__func__ if isinstance(obj, (staticmethod, classmethod)) else obj
    if inspect.iscoroutinefunction(function):
        from .default_runner import give_runner

        give_runner(collector, function)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Resolve every marker before the first test runs, so that a bad one is a usage error."""
    for item in items:
        marked = _settings.from_markers(config.stash[SETTINGS], item)
        if marked is not None:
            if hasattr(getattr(item, "obj", None), "hypothesis"):
                raise pytest.UsageError(
                    f"{item.nodeid}: @pytest.mark.nonblocking and Hypothesis' @given both decide "
                    "how often the body runs; measure one example instead"
                )
            item.stash[MARKED] = marked


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin anew: a plugin that reruns tests runs the same item again."""
    if RUN in item.stash:
        del item.stash[RUN]
        item.user_properties[:] = [
            (name, value)
            for name, value in item.user_properties
            if not name.startswith("nonblocking_")
        ]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Give the test's runner our coroutine function in place of the test's own."""
    marked = item.stash.get(MARKED, None)
    if not isinstance(item, pytest.Function):
        return (yield)
    original = item.obj
    is_coroutine = inspect.iscoroutinefunction(original)
    watched = item.config.stash[SETTINGS].watches and is_coroutine
    if marked is None and RUN not in item.stash and not watched:
        return (yield)
    run = _run_of(item)
    try:
        if is_coroutine:
            item.obj = run.wrap(original)
        elif marked is not None and marked.mode != "off":
            item.obj = run.wrap_function(original)
        # A coroutine method of a unittest.TestCase is called by its name and not as item.obj.
        if is_coroutine and getattr(item, "nofuncargs", False):
            setattr(item.instance, item.name, item.obj)
        return (yield)
    finally:
        run.abandon()
        if getattr(item, "nofuncargs", False):
            vars(item.instance).pop(item.name, None)
        item.obj = original
        if run.outcomes:
            from .reporting.junit import properties

            item.user_properties += properties(run.records[-1])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach the outcomes as plain data, which xdist carries to the controller by itself.

    The report of the set-up tells what holds should there never be one of the call.
    """
    report = yield
    records: list[dict[str, Any]] = []
    if call.when == "call" and RUN in item.stash:
        records = item.stash[RUN].records
    elif call.when == "setup" and report.passed and MARKED in item.stash:
        records = _run_of(item).unfinished() if isinstance(item, pytest.Function) else []
    if records or (MARKED in item.stash and call.when != "teardown"):
        report.nonblocking = records  # type: ignore[attr-defined]  # reports carry extras
    return report


class _Collector:
    """Gathers the records of all workers and tells them at the end."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._ending: Ending | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        known = self._config.stash[RECORDS]
        if report.when in ("setup", "call"):
            known.pop(report.nodeid, None)  # what an earlier report of the same test told
        if hasattr(report, "nonblocking"):
            known[report.nodeid] = report.nonblocking

    def _records(self) -> list[dict[str, Any]]:
        return [record for records in self._config.stash[RECORDS].values() for record in records]

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        config, known = self._config, self._config.stash[RECORDS]
        settings = config.stash[SETTINGS]
        if hasattr(config, "workerinput") or config.option.collectonly:
            return
        if exitstatus == pytest.ExitCode.USAGE_ERROR:
            return  # no test ran: what an earlier run wrote is worth more
        if known or settings.report or settings.baseline or settings.require:
            from .gate.session import conclude

            self._ending = conclude(settings, config, self._records(), len(known))
            if self._ending.failed and exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._ending is not None:
            from .reporting.terminal import summarise

            writer = self._config.get_terminal_writer()
            summarise(
                terminalreporter,
                self._records(),
                self._ending.lines,
                verbosity=terminalreporter.verbosity,
                fullwidth=writer.fullwidth if terminalreporter.isatty else None,
            )


def _run_of(item: pytest.Function) -> TestRun:
    if RUN not in item.stash:
        from .runner import TestRun

        settings = item.stash.get(MARKED, item.config.stash[SETTINGS])
        item.stash[RUN] = TestRun(item, settings, marked=MARKED in item.stash)
    return item.stash[RUN]


@pytest.fixture
def nonblocking_app(request: pytest.FixtureRequest) -> Any:
    """The ASGI application under test: override it, or set ``nonblocking_app``."""
    from .asgi import apps

    settings = request.node.stash.get(MARKED, request.config.stash[SETTINGS])
    if settings.app is None:
        pytest.fail(apps.MISSING, pytrace=False)
    try:
        return apps.load(settings.app, settings.origins["app"])
    except apps.AppNotFoundError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def nonblocking_client(request: pytest.FixtureRequest, nonblocking_app: Any) -> Iterator[Any]:
    """An ``httpx.AsyncClient`` on the application, with its lifespan on the test's loop."""
    run = _run_of(request.node)
    yield run.client_for(nonblocking_app)
    run.release()


@pytest.fixture
def loop_sentinel(request: pytest.FixtureRequest) -> Sentinel:
    """The sentinel that measures the loop: read it, or use it as a context manager."""
    return _run_of(request.node).sentinel


@pytest.fixture
def nonblocking(request: pytest.FixtureRequest) -> Nonblocking:
    """Measures any scenario: ``result = await nonblocking.measure(scenario, concurrency=50)``."""
    from .measuring import Nonblocking

    return Nonblocking(_run_of(request.node))


@pytest.fixture
def virtual_user() -> Callable[[], int]:
    """A callable: the index of the running copy, from 0; 0 where the body runs alone."""
    from .load.burst import current_copy

    return current_copy
