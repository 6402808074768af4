"""Draw the README's pictures from what the plugin prints and writes: `make pictures`.

failure.svg is the terminal of the tutorial's failing test; page.png is the HTML page of the
examples, taken with Chromium.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text
from selenium import webdriver

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests" / "docs"))

import page as pages  # noqa: E402

_WIDTH = 138
_OPTIONS = "-p no:randomly -p no:cacheprovider --color=yes"


def _printed(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "COLUMNS": str(_WIDTH), "PYTEST_ADDOPTS": _OPTIONS}
    command = [sys.executable, "-m", "pytest", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 1:  # the tests of both pictures fail
        sys.exit(done.stdout + done.stderr)
    return done.stdout


def failure(folder: Path) -> None:
    """Draw the terminal of the tutorial's failing test."""
    for step in pages.steps((ROOT / "docs" / "tutorial.md").read_text("utf-8")):
        if step.kind == "text":  # what the failing run prints; the fix comes after it
            break
        if step.kind == "python":
            name = step.text.partition("\n")[0].removeprefix("# ")
            (folder / name).write_text(step.text, "utf-8")
    found = re.search(r"^.*nonblocking: GET(?:.*\n)*?.*  fix .*$", _printed(folder), re.MULTILINE)
    assert found is not None
    console = Console(record=True, width=_WIDTH, file=io.StringIO())
    console.print("$ python -m pytest", style="bold")
    # An empty line at the end, for browsers clip the last one.
    console.print(Text.from_ansi(f"{found[0]}\n "))
    svg = console.export_svg(title="pytest-nonblocking")
    # The fonts of the reader's machine: an image loads none.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    (HERE / "failure.svg").write_text(svg, encoding="utf-8")


def page(folder: Path) -> None:
    """Take a picture of the top of the page that the examples make."""
    shutil.copytree(ROOT / "examples", folder / "examples")
    _printed(folder, "examples", "--nonblocking-report=report.html")
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--hide-scrollbars"):
        options.add_argument(argument)
    browser = webdriver.Chrome(options=options)
    try:
        browser.set_window_size(1280, 1500)
        browser.get((folder / "report.html").as_uri())
        browser.save_screenshot(str(HERE / "page.png"))
    finally:
        browser.quit()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        failure(Path(name))
    with tempfile.TemporaryDirectory() as name:
        page(Path(name))
