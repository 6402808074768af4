"""A scan of an application in the manner of FastAPI's tutorial."""

from pathlib import Path

import pytest

APP = Path(__file__).with_name("tutorial_app.py")
LOGIN = """
import pytest
from pytest_nonblocking import Scan

async def login(client):
    answer = await client.post("/token", data={"username": "ann", "password": "x"})
    client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

@pytest.fixture
def nonblocking_scan():
    return Scan(before=login)
"""


@pytest.fixture
def suite(pytester):
    pytest.importorskip("fastapi", reason="fastapi is not installed")
    pytest.importorskip("python_multipart", reason="python-multipart is not installed")
    pytester.makepyfile(tutorial_app=APP.read_text("utf-8"))
    pytester.makeini(
        """
        [pytest]
        pythonpath = .
        nonblocking_app = tutorial_app:app
        nonblocking_scan_methods = GET, POST
        nonblocking_concurrency = 16
        """
    )
    return pytester


def test_all_operations_but_the_one_with_a_login_are_measured_without_a_line(suite):
    result = suite.runpytest("--nonblocking-scan")
    result.assert_outcomes(passed=18, skipped=1)
    result.stdout.fnmatch_lines(
        [
            "nonblocking scan: 19 operations: 18 measured, 1 need input:",
            "  GET /me: *: give credentials for OAuth2PasswordBearer as headers or cookies",
        ]
    )


def test_a_login_of_two_lines_reaches_the_rest(suite):
    suite.makeconftest(LOGIN)
    result = suite.runpytest("--nonblocking-scan")
    result.assert_outcomes(passed=19)
    assert "need input" not in result.stdout.str()
