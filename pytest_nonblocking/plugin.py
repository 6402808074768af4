"""pytest hooks and fixtures. Every pytest run loads this module; the rest is imported on use."""

from __future__ import annotations

import inspect
import os
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from . import clocks as clocks  # bind the clocks before a test can freeze them
from . import config as _settings
from . import options as _options

if TYPE_CHECKING:
    from .gate.session import Ending
    from .load.burst import VirtualUser
    from .measuring import Nonblocking
    from .reporting.record import Measurement, Record
    from .runner import TestRun
    from .sentinel import Sentinel

SETTINGS: pytest.StashKey[_settings.Settings] = pytest.StashKey()
MARKED: pytest.StashKey[_settings.Settings] = pytest.StashKey()
RUN: pytest.StashKey[TestRun] = pytest.StashKey()
TEXTS: pytest.StashKey[dict[str, str]] = pytest.StashKey()

_MARKER = (
    "nonblocking({}): run the test alone and as concurrent copies; fail it if it blocks the event "
    "loop or makes requests queue"
)


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Register flags and ini options, and what must be configured before other plugins."""
    _options.add_options(parser)
    pluginmanager.register(_First(), "nonblocking-first")


def pytest_configure(config: pytest.Config) -> None:
    """Read and validate the settings, so that a bad one is a usage error before any test runs."""
    keywords = ", ".join(f"{name}=…" for name in _options.MARKER_KEYWORDS)
    config.addinivalue_line("markers", _MARKER.format(keywords))
    settings = config.stash[SETTINGS] = _settings.from_config(config)
    config.stash[TEXTS] = {}
    if (settings.report or settings.history) and not hasattr(config, "workerinput"):
        from .reporting.files import check_paths
        from .reporting.sessions import begin

        check_paths(settings, config)
        begin(config)
    if settings.baseline is not None or settings.update_baseline:
        from .gate import baseline

        if (known := baseline.from_settings(settings, config)) is not None:
            config.stash[baseline.BASELINE] = known
    config.pluginmanager.register(_Collector(config), "nonblocking-collector")
    if settings.scan:
        from .scan.collecting import ScanPlugin

        config.pluginmanager.register(ScanPlugin(settings), "nonblocking-scan")


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Collector, name: str, obj: object) -> None:
    """Add pytest-asyncio's marker to a marked coroutine test that no plugin would run."""
    function = obj.__func__ if isinstance(obj, (staticmethod, classmethod)) else obj
    if inspect.iscoroutinefunction(function):
        from .default_runner import give_runner

        give_runner(collector, function)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Resolve all markers, so that a bad one is a usage error before any test runs."""
    for item in items:
        base = getattr(getattr(item, "obj", None), "nonblocking_settings", config.stash[SETTINGS])
        marked = _settings.from_markers(base, item)
        if marked is not None:
            if hasattr(getattr(item, "obj", None), "hypothesis"):
                raise pytest.UsageError(
                    f"{item.nodeid}: @pytest.mark.nonblocking and Hypothesis' @given both control "
                    "how often the test runs; measure a single example instead"
                )
            # Before a fixture patches what it imports, or the import itself.
            from .runner import prepare

            prepare(item)
            item.stash[MARKED] = marked


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Discard the figures of an earlier run of the same item, which rerun plugins run again."""
    item.user_properties[:] = [
        (name, value) for name, value in item.user_properties if not name.startswith("nonblocking_")
    ]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Replace the test's function by one that measures it, for the duration of the call."""
    __tracebackhide__ = True
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
        # unittest.TestCase calls a coroutine method by its name and ignores item.obj.
        if is_coroutine and getattr(item, "nofuncargs", False):
            setattr(item.instance, item.name, item.obj)
        return (yield)
    except BaseException as error:
        if run.tells_all(error):
            raise error.with_traceback(None) from error.__cause__
        raise
    finally:
        try:
            run.abandon()
        finally:
            if getattr(item, "nofuncargs", False):
                vars(item.instance).pop(item.name, None)
            item.obj = original
        if run.outcomes:
            from .reporting.junit import properties

            run.forget_outcomes()
            item.user_properties += properties(run.outcomes.measurements[-1].record)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Interrupt the teardown of a test client whose loop nothing can end."""
    if RUN not in item.stash:
        return (yield)
    with item.stash[RUN].teardown_limit():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach the records as text, which xdist sends to the controller.

    Text stays until the session ends and is smaller than objects. The setup report carries the
    record that holds if no call report follows.
    """
    report = yield
    measurements: list[Measurement] = []
    if call.when == "call" and RUN in item.stash:
        measurements = item.stash[RUN].outcomes.measurements
    elif call.when == "setup" and report.passed and MARKED in item.stash:
        measurements = _run_of(item).unfinished() if isinstance(item, pytest.Function) else []
    if measurements or (MARKED in item.stash and call.when != "teardown"):
        from .reporting.plain import compact_text

        report.nonblocking = compact_text(measurements)  # type: ignore[attr-defined]  # reports carry extras
    if call.when == "teardown" and RUN in item.stash:
        item.stash[RUN].forget()
        del item.stash[RUN]
    return report


def pytest_report_teststatus(report: pytest.TestReport) -> Any:
    """Give an inconclusive test a letter and a count of its own; its outcome stays "passed"."""
    if report.when != "call" or not report.passed or hasattr(report, "wasxfail"):
        return None
    if ("nonblocking_verdict", "inconclusive") not in map(tuple, report.user_properties):
        return None
    return "inconclusive", "i", ("INCONCLUSIVE", {"yellow": True})


class _First:
    """Is configured before pytest-asyncio, and only it: settings may come from conftest files."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        if config.pluginmanager.has_plugin("asyncio"):
            from .default_runner import hide_unset_scope

            hide_unset_scope(config)


class _Collector:
    """Collects the records of all workers and reports them at the end of the session."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._ending: Ending | None = None
        self._records: list[Record] = []
        self._process = os.getpid()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        known = self._config.stash[TEXTS]
        if report.when in ("setup", "call"):
            known.pop(report.nodeid, None)  # from an earlier report of the same test
        if hasattr(report, "nonblocking"):
            known[report.nodeid] = report.nonblocking

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        config, known = self._config, self._config.stash[TEXTS]
        settings = config.stash[SETTINGS]
        option = config.option
        if hasattr(config, "workerinput") or option.collectonly or getattr(option, "setuponly", 0):
            return
        if os.getpid() != self._process:
            return  # a child that a test has forked and let run on
        if exitstatus == pytest.ExitCode.USAGE_ERROR:
            return  # no test ran: keep the files of an earlier run
        if known or settings.report or settings.baseline or settings.require:
            from .gate.session import conclude
            from .reporting.failures_shown import Failures
            from .reporting.plain import from_text
            from .reporting.record import Measurement

            shown = [one for text in known.values() for one in from_text(Measurement, text)]
            self._records = [one.record for one in shown]
            self._ending = conclude(settings, config, shown, len(known))
            config.pluginmanager.register(Failures(self._records, config.rootpath))
            if self._ending.failed and exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._ending is not None:
            from .reporting.terminal import summarise

            writer = self._config.get_terminal_writer()
            summarise(
                terminalreporter,
                self._records,
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
    """The ASGI application under test: override this fixture, or set ``nonblocking_app``."""
    from .asgi import apps

    settings = request.node.stash.get(MARKED, request.config.stash[SETTINGS])
    if settings.app is None:
        pytest.fail(apps.MISSING, pytrace=False)
    try:
        return apps.load(settings.app, settings.origins["app"])
    except apps.AppNotFoundError as error:
        text = str(error)
    # Outside of `except`, as pytest would also print the errors that led to this one.
    pytest.fail(text, pytrace=False)


@pytest.fixture
def nonblocking_client(request: pytest.FixtureRequest, nonblocking_app: Any) -> Iterator[Any]:
    """An ``httpx.AsyncClient`` for the application, whose lifespan runs on the test's loop."""
    run = _run_of(request.node)
    yield run.client_for(nonblocking_app)
    run.release()


@pytest.fixture
def loop_sentinel(request: pytest.FixtureRequest) -> Sentinel:
    """The sentinel that measures the loop; also a context manager around any code."""
    return _run_of(request.node).sentinel


@pytest.fixture
def nonblocking(request: pytest.FixtureRequest) -> Nonblocking:
    """Measures scenarios: ``result = await nonblocking.measure(scenario, concurrency=50)``."""
    from .measuring import Nonblocking

    return Nonblocking(_run_of(request.node))


@pytest.fixture
def virtual_user() -> VirtualUser:
    """A callable that returns the index of the running copy: 0, 1, …; 0 in a single run."""
    from .load.burst import current_copy

    return current_copy
