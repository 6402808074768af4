"""README and docs are followed as they stand: their files written, their commands run."""

import importlib.util
import re
import shutil
from pathlib import Path

import page as pages
import pytest
from inner_runs import LEFT_OUT

ROOT = Path(__file__).resolve().parent.parent.parent
STARTED = {"postgresql"}  # fixtures
PAGES = sorted([*ROOT.glob("README.md"), *(ROOT / "docs").rglob("*.md")])


PRESSED = 0.3
"""Share of the time in which tasks wait for a processor from which a machine is busy."""


def pressed():
    """Return the share of the last 10 seconds in which some task waited for a processor."""
    try:
        text = Path("/proc/pressure/cpu").read_text("utf-8")
    except OSError:
        return 0.0
    return float(re.search(r"avg10=([\d.]+)", text)[1]) / 100


def needed(page):
    found = re.findall(r"^<!-- needs: (.*) -->$", page.read_text("utf-8"), re.MULTILINE)
    return [name.strip() for names in found for name in names.split(",")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_reader_who_follows_the_page_sees_what_it_says(page, tmp_path, request):
    # What other plugins of this environment print is not what a reader sees either.
    environment = {"PYTEST_ADDOPTS": LEFT_OUT}
    for name in needed(page):
        if name in STARTED:
            environment |= request.getfixturevalue(name)
        elif not (importlib.util.find_spec(name) or shutil.which(name)):
            pytest.skip(f"{name} is not installed")
    try:
        pages.follow(page, tmp_path, environment)
    except AssertionError as error:
        # Beside busy neighbours a verdict may be kept back; a wrong one is never given.
        if " inconclusive" in str(error) and pressed() > PRESSED:
            pytest.skip(f"inconclusive, tasks waited for a processor {pressed():.0%} of the time")
        raise
