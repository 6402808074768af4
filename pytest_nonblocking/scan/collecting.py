"""Collects a test for each operation of the app: ``scan::GET /users/{id}``."""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ..accepts import SAFE_METHODS
from ..asgi import apps
from ..config import Settings
from ..measuring import Nonblocking
from ..model import Limit
from ..reporting.units import plural
from . import inputs, links
from .discovery import describes_itself, discover, listed, unread
from .document import BrokenDocumentError
from .hints import hints_for
from .mcp import with_tools
from .operation import WEBSOCKET, Operation, selected
from .published import Published, published
from .setup import Scan
from .summary import Summary

NODE = "scan"
OPERATION = "nonblocking_operation"
"""The attribute of a test's function that holds what it scans."""
SETTINGS = "nonblocking_settings"
"""The attribute that holds the settings of its test."""
_FIXTURES = ("nonblocking_scan", "nonblocking_app")


class Scanned(NamedTuple):
    """What the test of an operation knows: it, all operations of the app, and ruff's hints.

    ``asked`` are the operations that may be asked for values: those that only read, and those of
    other methods that are scanned. No request is sent to those ``avoided``.
    """

    operation: Operation
    operations: Sequence[Operation]
    asked: Sequence[Operation]
    avoided: Sequence[Operation]
    hints: Sequence[str]


class ScanPlugin:
    """Adds the scan's tests to the session, and reports what it could not reach."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._operations: list[Operation] = []
        self._asked: list[Operation] = []
        self._avoided: list[Operation] = []
        self._chosen: list[Operation] = []
        self._only_scan = False
        self._summary = Summary(settings)

    # Collection

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> None:
        """Find the operations, so that a mistake is a usage error before any test runs."""
        config = session.config
        wanted = [arg for arg in config.args if arg.startswith(f"{NODE}::")]
        rest = [arg for arg in config.args if arg not in wanted]
        self._only_scan = bool(wanted) and not rest
        config.args[:] = rest or [str(config.invocation_params.dir)]
        self._operations, problems = _found(self._settings)
        chosen = _chosen(self._operations, self._settings)
        names = {one.name for one in chosen}
        excluded = selected(self._operations, self._settings.scan_exclude)
        self._avoided = [
            one for one in self._operations if one in excluded or links.is_logout(one.path)
        ]
        self._asked = [
            one
            for one in self._operations
            if (one.method in SAFE_METHODS or one.name in names) and one not in self._avoided
        ]
        self._chosen = _named(chosen, wanted)
        self._summary.found(self._operations, self._chosen, problems)

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Add the scan to what the session collects, after everything else."""
        report = yield
        if isinstance(collector, pytest.Session) and report.passed:
            hints = hints_for(self._chosen)
            tests = {one.name: self._test_of(one, hints.get(one.name, ())) for one in self._chosen}
            nodes = [] if self._only_scan else report.result
            last = _Last.from_parent(collector, name=NODE, nodeid=NODE)
            last.prepare(tests, report.result)
            report.result = [*nodes, last]
        elif isinstance(collector, pytest.Directory):
            collector.session.stash.setdefault(_SEEN, {})[collector.path] = collector
        return report

    def pytest_report_collectionfinish(self) -> list[str]:
        """Return the line that counts the operations."""
        return [self._summary.line()]

    def _test_of(self, operation: Operation, hints: Sequence[str]) -> Callable[..., Any]:
        @pytest.mark.nonblocking
        async def scan(_nonblocking_operation: inputs.Asked) -> None:
            await _nonblocking_operation.ask()

        scan.__doc__ = f"{operation.name} neither blocks the event loop nor makes requests queue."
        if operation.endpoint is not None:
            scan.place_as = operation.endpoint  # type: ignore[attr-defined]  # its location
        patterns = [one for one in self._settings.scan_limits if operation.matches(one)]
        settings = self._settings.for_operation(patterns)
        scanned = Scanned(operation, self._operations, self._asked, self._avoided, hints)
        vars(scan).update({OPERATION: scanned, SETTINGS: settings})
        return scan

    # Results

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what an operation needs, which crosses from a worker as a property."""
        self._summary.add(report)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print what was not reached, and the fixture to paste."""
        for line in self._summary.lines():
            terminalreporter.write_line(line)

    # Fixtures

    @pytest.fixture
    def nonblocking_scan(self) -> Scan:
        """The inputs of the scanned operations: override this fixture to give some."""
        return Scan()

    @pytest.fixture
    def _nonblocking_operation(
        self,
        request: pytest.FixtureRequest,
        nonblocking: Nonblocking,
        nonblocking_client: Any,
        nonblocking_scan: Scan,
        virtual_user: Callable[[], int],
    ) -> Iterator[inputs.Asked]:
        """The request to the operation of the test, found before it is measured."""
        if not isinstance(nonblocking_scan, Scan):
            raise pytest.UsageError(
                f"the fixture nonblocking_scan returns a {type(nonblocking_scan).__name__}, but "
                "must return a pytest_nonblocking.Scan"
            )
        scanned: Scanned = getattr(request.node.obj, OPERATION)
        nonblocking_scan.check(scanned.operations)
        for hint in scanned.hints:
            nonblocking.note(hint)
        asked = inputs.Asked(
            scanned.operation,
            scanned.asked,
            scanned.operations,
            scanned.avoided,
            nonblocking_client,
            nonblocking_scan,
            virtual_user,
            nonblocking.note,
        )
        nonblocking.before(asked.prepare)
        yield asked
        if asked.needs is not None:
            needs = json.dumps(asked.needs._asdict())
            request.node.user_properties.append(("nonblocking_needs", needs))


def _found(settings: Settings) -> tuple[list[Operation], list[str]]:
    """Return the operations of the app, and what went wrong when it was asked for them."""
    if settings.app is None:
        raise pytest.UsageError(
            "--nonblocking-scan needs the application: set nonblocking_app = module:attribute in "
            "the ini file, or give --nonblocking-app"
        )
    served = Published()
    try:
        app = apps.load(settings.app, settings.origins["app"])
        found = discover(app)
        if not describes_itself(app) and not (settings.scan_paths and not found):
            served = published(app, found, Limit(settings.timeout, settings.origins["timeout"]))
            found = discover(app, served) if served.operations else found
    except apps.AppNotFoundError as error:
        raise pytest.UsageError(str(error)) from None
    except BrokenDocumentError as error:
        raise pytest.UsageError(
            f"--nonblocking-scan: the OpenAPI description of {settings.app} cannot be read: {error}"
        ) from None
    found, problems = with_tools(found)
    if served.problem:
        problems.append(f"the app was asked for its description, but {served.problem}")
    if served.by_links and found:
        problems.append(
            "the app shows no description and no router: these are the pages to which its links "
            "lead from /, list others in nonblocking_scan_paths"
        )
    known = {one.name for one in found}
    found += [one for one in listed(settings.scan_paths) if one.name not in known]
    if mounts := unread(app, found):
        problems.append(
            f"not measured: {plural(len(mounts), 'mount')} of an app whose router cannot be read "
            f"({', '.join(mounts)}), list its paths in nonblocking_scan_paths"
        )
    if not found:
        why = f", and cannot be asked for one: {served.problem}" if served.problem else ""
        raise pytest.UsageError(
            f"--nonblocking-scan: no operation found in {settings.app}: it has no OpenAPI "
            f"description{why} and no router that can be read; list its paths in "
            "nonblocking_scan_paths"
        )
    return found, problems


def _chosen(operations: Sequence[Operation], settings: Settings) -> list[Operation]:
    """Return the operations that the settings include, by method and by pattern."""
    for name in ("scan_include", "scan_exclude", "scan_limits"):
        for pattern in getattr(settings, name):
            if not selected(operations, [pattern]):
                raise pytest.UsageError(
                    f"{settings.origins[name]}: the pattern {pattern!r} of {name} matches none of "
                    f"the {len(operations)} operations of {settings.app}"
                )
    asked_for = {one.name for one in listed(settings.scan_paths)}
    chosen = [
        one for one in operations if one.method in settings.scan_methods or one.name in asked_for
    ]
    if settings.scan_include:
        chosen = selected(chosen, settings.scan_include)
    excluded = selected(chosen, settings.scan_exclude)
    return [one for one in chosen if one not in excluded and one.method != WEBSOCKET]


def _named(chosen: Sequence[Operation], wanted: Sequence[str]) -> list[Operation]:
    """Return the operations with the node ids ``wanted``, all if there are none."""
    if not wanted:
        return list(chosen)
    named = []
    for nodeid in wanted:
        name = nodeid.partition("::")[2]
        found = [one for one in chosen if name == one.name or name.startswith(f"{one.name}[")]
        if not found:
            raise pytest.UsageError(f"not found: {nodeid} (--collect-only lists the operations)")
        named += found
    return named


# Nodes


class _ScanModule(pytest.Module):
    """A module whose functions are the operations' tests; it has no file."""

    tests: dict[str, Callable[..., Any]]

    def _getobj(self) -> types.ModuleType:
        module = types.ModuleType(NODE, "A test of each operation of the app.")
        vars(module).update(self.tests)
        return module

    def istestfunction(self, obj: object, name: str) -> bool:
        """Return whether ``obj`` is one of the tests."""
        return self.tests.get(name) is obj

    def istestclass(self, obj: object, name: str) -> bool:
        """Return False: there are no classes."""
        return False


_SEEN: pytest.StashKey[dict[Path, pytest.Directory]] = pytest.StashKey()
"""The folders that were collected, whose conftest fixtures pytest has read by then."""


class _Last(pytest.Collector):
    """Collects the scan, once the folder is collected whose conftest has the app's fixtures."""

    _tests: dict[str, Callable[..., Any]]
    _top: list[pytest.Directory]

    def prepare(
        self,
        tests: dict[str, Callable[..., Any]],
        collected: Iterable[pytest.Item | pytest.Collector],
    ) -> None:
        """Keep the ``tests`` to collect, and the folders among what the session has collected."""
        self._tests = tests
        self._top = [one for one in collected if isinstance(one, pytest.Directory)]

    def collect(self) -> list[pytest.Collector]:
        """Return the module of the scan."""
        root = self.config.rootpath
        node: _ScanModule = _ScanModule.from_parent(self._parent(), path=root / NODE, nodeid=NODE)
        node.tests = self._tests
        return [node]

    def _parent(self) -> pytest.Collector:
        folder = _folder_of_fixtures(self.config)
        if folder is None:
            return self.session
        seen = self.session.stash.setdefault(_SEEN, {})
        left = list(self._top)
        while folder not in seen and left:
            node = left.pop()
            if node.path == folder or node.path in folder.parents:
                report = self.ihook.pytest_make_collect_report(collector=node)
                left += [one for one in report.result or () if isinstance(one, pytest.Directory)]
        return seen.get(folder, self.session)


def _folder_of_fixtures(config: pytest.Config) -> Path | None:
    """Return the folder below the root whose conftest defines our fixtures, None if none does."""
    for name in _FIXTURES:
        for plugin in config.pluginmanager.get_plugins():
            file = getattr(plugin, "__file__", None)
            if file is None or Path(file).name != "conftest.py" or not hasattr(plugin, name):
                continue
            folder = Path(file).parent
            if config.rootpath in folder.parents:
                return folder
    return None
