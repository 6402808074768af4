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
    pytester.runpytest().assert_outcomes(passed=1)


def texts(name):
    """Return the outputs in a page as patterns in which each number stands for any."""
    found = re.findall(r"```text\n(.*?)```", (ROOT / name).read_text("utf-8"), re.DOTALL)
    return [[_any_numbers(line) for line in text.splitlines()] for text in found]


def _any_numbers(line):
    """Return a line of an output as a pattern, in which what depends on the machine is optional."""
    if line.startswith("  machine"):
        return "  machine  excluded: .* run-queue delay.*; CPU .*reference.*"
    line, noise, rest = line.partition(", 1.5 ms of noise")
    numbers = re.sub(r"\\?\d+(\\?\.\d+)?", r"[\\d.]+", re.escape(line))
    return f"{numbers}(, [\\d.]+ ms of noise)?{re.escape(rest)}" if noise else numbers


def write(pytester, block):
    """Write a block into the file that its first line names."""
    first = block.partition("\n")[0]
    (pytester.path / first.removeprefix("# ")).write_text(block, "utf-8")


def test_the_tutorial(pytester):
    pytest.importorskip("fastapi", reason="fastapi is not installed")
    app, ordinary, conftest, marked, mended = blocks("docs/tutorial.md")
    failure, summary = texts("docs/tutorial.md")
    pytester.makeini("[pytest]\npythonpath = .\n")
    write(pytester, app)
    write(pytester, ordinary)
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
    write(pytester, conftest)
    write(pytester, marked)
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.re_match_lines(failure)
    write(pytester, mended)
    result = pytester.runpytest_subprocess("-v")
    result.assert_outcomes(passed=2)
    result.stdout.re_match_lines(["pass *test_nonblocking.*", *summary])


SHOP = """
import asyncio

from fastapi import FastAPI, HTTPException, Request

app = FastAPI()
customers = set()


@app.get("/fast")
async def fast():
    await asyncio.sleep(0.01)


@app.get("/slow/{item}")
async def with_a_parameter(item: str, request: Request):
    if item != "book" or "authorization" not in request.headers:
        raise HTTPException(404)
    await asyncio.sleep(0.01)


@app.post("/login")
async def login(user: dict[str, str]):
    return {"token": user["name"]}


@app.post("/orders", status_code=201)
async def order(order: dict[str, str]):
    customers.add(order["customer"])
    await asyncio.sleep(0.01)
"""


def test_the_examples_of_the_how_to(pytester):
    pytest.importorskip("fastapi", reason="fastapi is not installed")
    pytester.mkpydir("myapp")
    (pytester.path / "myapp" / "main.py").write_text(SHOP, "utf-8")
    for block in blocks("docs/how-to.md"):
        write(pytester, block)
    result = pytester.runpytest_subprocess(
        *("-v", "-o", "pythonpath=.", "--nonblocking-app=myapp.main:app", "--nonblocking-scan")
    )
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(
        [
            "*scan::GET /slow/{item}*",
            "*note: serialised-wait found and accepted by allow (from marker)*",
            "nonblocking: 5 measured: 5 pass",
        ]
    )


PAGES = [
    *(path.name for path in ROOT.glob("*.md")),
    *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
]


@pytest.mark.parametrize("page", PAGES)
def test_links_to_files_and_headings_of_ours_lead_somewhere(page):
    path = ROOT / page
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8")):
        if "://" in link:
            continue
        name, _, heading = link.partition("#")
        target = path.parent / name if name else path
        assert target.is_file(), link
        if heading:
            titles = re.findall(r"^#+ (.*)", target.read_text("utf-8"), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", t).lower().replace(" ", "-") for t in titles}


@pytest.mark.parametrize("page", PAGES)
def test_flags_in_the_docs_exist(page):
    from pytest_nonblocking.config import OPTIONS

    text = (ROOT / page).read_text("utf-8")
    flags = set(re.findall(r"--nonblocking-[a-z-]*[a-z]", text))
    assert flags <= {option.flag for option in OPTIONS}


def row_of(option):
    """Return a setting's row in the README."""
    default = option.default
    if option.switch or (not default and default != 0):
        default = "off" if option.switch else "none"
    meaning = option.help
    if option.repeated:
        meaning += "; may be repeated"
    if not option.marker:
        meaning += "; not a marker keyword"
    return f"| `{option.name}` | {default} | {meaning} |"


def test_the_readme_lists_every_setting_with_its_default_and_its_meaning():
    from pytest_nonblocking.config import OPTIONS

    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    assert [line for line in lines if line.startswith("| `")] == [*map(row_of, OPTIONS)]
