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
    pages.follow(page, tmp_path, environment)
