"""What the package exports: all of it on use, and typed."""

import subprocess
import sys
from importlib import metadata

import pytest

import pytest_nonblocking

TYPED = """
from typing_extensions import assert_type

from pytest_nonblocking import (
    LoopSentinel, Nonblocking, PytestNonblockingWarning, VirtualUser, __version__, app_client,
    measure, virtual_user
)


async def test_it(
    nonblocking: Nonblocking, loop_sentinel: LoopSentinel, virtual_user: VirtualUser
) -> None:
    with loop_sentinel:
        assert_type(virtual_user(), int)
    assert_type(loop_sentinel.max_blocked, float)
    assert_type(__version__, str)

    async def scenario() -> None:
        pass

    result = await nonblocking.measure(scenario, concurrency=8)
    assert_type(result.judgement.max_lag, float)
    assert issubclass(PytestNonblockingWarning, Warning)


async def a_script(app: object) -> None:
    async with app_client(app) as client:
        outcome = await measure(lambda: client.get("/"), concurrency=8)
    assert_type(outcome.message, str | None)
    assert_type(virtual_user(), int)
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


def test_a_type_checker_knows_the_fixtures(tmp_path):
    pytest.importorskip("mypy", reason="mypy is not installed")
    (tmp_path / "test_typed.py").write_text(TYPED, "utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "test_typed.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
