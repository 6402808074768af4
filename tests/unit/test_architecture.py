"""Imports go one way, and a run that does not use the plugin hardly pays for it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import pytest_nonblocking

PACKAGE = Path(pytest_nonblocking.__file__).parent
# Lower layers first; a module imports from lower layers and from its own folder only.
LAYERS = [
    {"categories", "clocks", "giving_up", "model", "originals"},
    {"threads"},
    {"sigurg", "tasks"},
    {"accepts", "causes", "ctrl_c", "sentinel"},
    {"options"},
    {"config"},
    {"guard"},
    {"analysis"},
    {"asgi"},
    {"load", "reporting"},
    {"gate", "outcomes"},
    {"enforcement"},
    {"runner", "script"},
    {"measuring", "default_runner"},
    {"scan"},
    {"plugin", "__main__"},
]
# Within the analysis: a module imports from those before it only.
ANALYSIS = [
    "tolerances",
    "growth",
    "intervals",
    "idle_time",
    "noise",
    "single_runs",
    "queues",
    "queued",
    "compared",
    "waits",
    "bounds",
    "stalls",
    "levels",
    "stopping",
    "verdict",
    "user_code",
    "places",
    "votes",
    "culprits",
    "waiting_lines",
    "attribution",
    "findings",
]


def imports(path):
    """Yield the modules of the package that a file imports, by their first name."""
    parts = path.relative_to(PACKAGE).parts
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        above = len(parts) - node.level
        if above < 0:
            raise AssertionError(f"{path} imports from outside of the package")
        if above == 0:
            names = [node.module] if node.module else [alias.name for alias in node.names]
            yield from (name.partition(".")[0] for name in names)


def layer_of(name):
    return next(number for number, layer in enumerate(LAYERS) if name in layer)


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_imports_go_to_lower_layers_only(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own == "__init__":
        return
    for imported in imports(path):
        assert layer_of(imported) < layer_of(own), f"{own} imports {imported}"


def test_the_model_imports_nothing_of_ours():
    assert list(imports(PACKAGE / "model.py")) == []


def siblings(path):
    """Yield the modules of its own folder that a file imports."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            yield from [node.module] if node.module else [alias.name for alias in node.names]


def from_outside(path):
    """Yield what a file imports that is not of the package, by its first name."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.partition(".")[0]


def test_the_analysis_has_no_other_modules():
    names = {path.stem for path in (PACKAGE / "analysis").glob("*.py")}
    assert set(ANALYSIS) == names - {"__init__"}


@pytest.mark.parametrize("name", ANALYSIS)
def test_the_analysis_knows_the_model_only(name):
    path = PACKAGE / "analysis" / f"{name}.py"
    assert set(imports(path)) <= {"model"}
    assert set(siblings(path)) <= set(ANALYSIS[: ANALYSIS.index(name)])


@pytest.mark.parametrize("name", ANALYSIS[: ANALYSIS.index("user_code")])
def test_the_verdict_knows_neither_clocks_nor_loops_nor_files(name):
    pure = {"__future__", "collections", "dataclasses", "itertools", "math", "statistics", "typing"}
    assert set(from_outside(PACKAGE / "analysis" / f"{name}.py")) <= pure


def test_readings_become_parts_without_a_clock():
    path = PACKAGE / "sentinel" / "accounting.py"
    assert set(imports(path)) <= {"model"}
    assert set(siblings(path)) == set()
    assert set(from_outside(path)) <= {"__future__", "collections", "dataclasses", "typing"}


@pytest.mark.parametrize(
    "folder", sorted(p for p in PACKAGE.rglob("*") if (p / "__init__.py").exists())
)
def test_a_folder_says_what_may_live_there(folder):
    assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8")))


def test_only_the_client_imports_an_http_client():
    importers = {
        path.name
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Import) and any(a.name.startswith("httpx") for a in node.names)
    }
    assert importers == {"client.py"}


PATCHED = """
_thread asyncio gc json linecache selectors signal socket statistics subprocess threading time
"""
"""Modules of which a test may replace functions."""
LOOK_UP = """
anyio.CancelScope anyio.Event anyio.lowlevel.checkpoint
threading.Condition threading.Event threading.Thread threading.Timer
"""
"""What looks names of these modules up itself when it is called."""
ELSEWHERE = {"clocks", "gate", "originals", "reporting", "scan"}
"""What runs before the tests or after them, or puts its words together."""


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_what_runs_within_a_test_looks_nothing_up_that_the_test_may_have_replaced(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own in ELSEWHERE:
        return
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = {alias.name for alias in node.names}
            assert not names & {*PATCHED.split()}, "import it from originals"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert ast.unparse(node.func) not in LOOK_UP.split(), "use made()"


MODULES = "import sys\n\ndef test_it(): print('LOADED', *sys.modules)\n"


def loaded(pytester, *flags):
    """Return the modules that are loaded in a run of one plain test."""
    command = [sys.executable, "-m", "pytest", "-p", "no:asyncio", "-p", "no:anyio", "-sq", *flags]
    done = subprocess.run(command, cwd=pytester.path, capture_output=True, text=True, check=True)
    return set(done.stdout.partition("LOADED ")[2].splitlines()[0].split())


def test_a_run_that_does_not_use_the_plugin_loads_seven_small_modules(pytester):
    pytester.makepyfile(MODULES)
    added = loaded(pytester) - loaded(pytester, "-p", "no:nonblocking")
    assert {name for name in added if name.startswith("pytest_nonblocking")} == {
        "pytest_nonblocking",
        "pytest_nonblocking.accepts",
        "pytest_nonblocking.categories",
        "pytest_nonblocking.clocks",
        "pytest_nonblocking.config",
        "pytest_nonblocking.options",
        "pytest_nonblocking.plugin",
    }
    assert not {"httpx", "httpx2", "anyio", "asyncio"} & {name.partition(".")[0] for name in added}
