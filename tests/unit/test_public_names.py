"""What the package exports: all of it on use, and typed."""

import ast
import json
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import pytest_nonblocking

# What a user's strictly checked tests and scripts do with all public names.
TYPED = """
import warnings
from typing import Any

import pytest
from typing_extensions import assert_type

from pytest_nonblocking import (
    InconclusiveWarning,
    LoopSentinel,
    Nonblocking,
    NotMeasuredWarning,
    PytestNonblockingWarning,
    Scan,
    VirtualUser,
    __version__,
    app_client,
    measure,
    virtual_user,
)


@pytest.fixture
def items(nonblocking: Nonblocking) -> list[int]:
    found: list[int] = []

    @nonblocking.before
    async def fill() -> None:
        found.extend(range(100))

    @nonblocking.before
    def fill_for_plain_test() -> int:
        return len(found)

    assert_type(fill_for_plain_test(), int)
    nonblocking.before(fill)
    return found


async def login(client: Any) -> None:
    await client.post("/login", json={"name": "test"})


@pytest.fixture
def nonblocking_scan() -> Scan:
    scan = Scan(before=login, headers={"x": "1"}, inputs={"GET /users/{id}": {"id": 1}})
    assert_type(scan.headers, dict[str, str])
    return scan


@pytest.mark.nonblocking(concurrency=20, max_lag="10ms")
async def test_it(
    nonblocking: Nonblocking, loop_sentinel: LoopSentinel, virtual_user: VirtualUser
) -> None:
    async with nonblocking.setup():
        assert_type(virtual_user(), int)
    with loop_sentinel as same:
        assert_type(same, LoopSentinel)
    loop_sentinel.start()
    loop_sentinel.stop()
    assert_type(loop_sentinel.running, bool)
    assert_type(loop_sentinel.budget.idle, float)
    assert_type(loop_sentinel.max_lag + loop_sentinel.max_blocked, float)
    assert_type([step.wall for step in loop_sentinel.steps], list[float])
    assert_type(__version__, str)

    async def scenario() -> int:
        return 1

    result = await nonblocking.measure(scenario, concurrency=8, max_lag="10ms", app="main:app")
    await nonblocking.measure(scenario, max_lag=None)  # type: ignore[arg-type]
    nonblocking.check(result)
    nonblocking.note("seen")
    judgement, culprit = result.judgement, result.culprit
    assert judgement.verdict == "fail" and judgement.cause == "blocking-call"
    assert_type([share for _, share in judgement.causes], list[float])
    assert_type(judgement.serial, float | None)
    assert_type(judgement.max_lag, float)
    if judgement.judged is not None:
        assert_type(judgement.judged.limit, float)
    if culprit is not None:
        assert_type((culprit.file, culprit.line, culprit.library), tuple[str, int, bool])
        assert_type(culprit.calls, tuple[str, ...])
    assert_type(result.notes, tuple[str, ...])


def test_warnings() -> None:
    for category in (InconclusiveWarning, NotMeasuredWarning, PytestNonblockingWarning):
        warnings.filterwarnings("ignore", category=category)


async def a_script(app: object) -> None:
    async with app_client(app) as client:
        outcome = await measure(lambda: client.get("/"), concurrency=8)
        await measure(lambda: client.get("/"), concurency=8)  # type: ignore[call-arg]
    assert_type(outcome.message, str | None)
    assert_type(virtual_user(), int)
    with LoopSentinel(max_lag=0.01) as sentinel:
        pass
    assert_type(sentinel.max_blocked, float)
"""


@pytest.mark.parametrize("name", pytest_nonblocking.__all__)
def test_every_name_can_be_imported(name):
    assert getattr(pytest_nonblocking, name) is not None
    assert name in dir(pytest_nonblocking)


def test_the_version_is_that_of_the_distribution():
    assert pytest_nonblocking.__version__ == metadata.version("pytest-nonblocking")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        pytest_nonblocking.nothing  # noqa: B018


def test_the_package_alone_loads_no_measurement():
    code = "import sys, pytest_nonblocking; sys.exit('pytest_nonblocking.sentinel' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def project(tmp_path):
    """A folder with a test file that uses all public names."""
    (tmp_path / "test_typed.py").write_text(TYPED, "utf-8")
    return tmp_path


def checked(project, *command):
    """Return what a type checker says of the project, empty if it finds nothing."""
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_the_checked_file_uses_every_public_name():
    used = {one.id for one in ast.walk(ast.parse(TYPED)) if isinstance(one, ast.Name)}
    assert set(pytest_nonblocking.__all__) <= used


def test_mypy_knows_the_public_names(project):
    pytest.importorskip("mypy", reason="mypy is not installed")
    command = (sys.executable, "-m", "mypy", "--strict", "--no-incremental", "test_typed.py")
    assert checked(project, *command) == ""


def test_pyright_knows_the_public_names(project):
    pyright = shutil.which("pyright", path=str(Path(sys.executable).parent))
    pyright = pyright or shutil.which("pyright")
    if pyright is None or shutil.which("node") is None:
        pytest.skip("pyright or node is not installed")
    settings = {"include": ["test_typed.py"], "typeCheckingMode": "strict"}
    (project / "pyrightconfig.json").write_text(json.dumps(settings), "utf-8")
    assert checked(project, pyright, "--pythonpath", sys.executable) == ""
