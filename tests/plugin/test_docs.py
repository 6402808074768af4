"""The examples in README and docs run as they stand."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def blocks(name):
    return re.findall(r"```python\n(.*?)```", (ROOT / name).read_text("utf-8"), re.DOTALL)


def test_the_first_test_of_the_readme(pytester):
    (block,) = blocks("README.md")
    conftest, test = block.split("# test_profile.py\n")
    pytester.mkpydir("myapp")
    (pytester.path / "myapp" / "main.py").write_text(
        "from fastapi import FastAPI\napp = FastAPI()\n@app.get('/profile')\n"
        "async def profile(): return 1\n"
    )
    pytester.makeconftest(conftest)
    pytester.makepyfile(test_profile=test)
    pytester.runpytest("-o", "pythonpath=.").assert_outcomes(passed=1)


@pytest.mark.parametrize("number", [0, 1])
def test_the_examples_of_the_reference(pytester, number):
    pytester.makepyfile(blocks("docs/reference.md")[number])
    pytester.runpytest("--asyncio-mode=auto").assert_outcomes(passed=1)


def test_the_readme_lists_every_setting():
    from pytest_nonblocking.settings import OPTIONS

    rows = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE))
    assert {option.name for option in OPTIONS} == rows
