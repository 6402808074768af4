"""README and docs are followed as they stand: their files written, their commands run."""

import importlib.util
import re
import shlex
import shutil
from importlib import metadata
from pathlib import Path

import page as pages
import pytest
from inner_runs import LEFT_OUT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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
        # Beside busy processes a verdict may be kept back; a wrong one is never given.
        if " inconclusive" in str(error) and pressed() > PRESSED:
            pytest.skip(f"inconclusive, tasks waited for a processor {pressed():.0%} of the time")
        raise


def installed_by(page):
    """Return the distributions that the page's pip lines name, and what the plugin needs itself."""
    commands = re.findall(r"^\$ (?:python -m )?pip install (.*)", page.read_text("utf-8"), re.M)
    words = [word for command in commands for word in shlex.split(command)]
    installed = set()
    for named in [Requirement(word) for word in words if not word.startswith(("-", "."))]:
        installed.add(canonicalize_name(named.name))
        if named.name == "pytest-nonblocking":
            extras = [{"extra": extra} for extra in ("", *named.extras)]
            for part in map(Requirement, metadata.requires(named.name)):
                if not part.marker or any(map(part.marker.evaluate, extras)):
                    installed.add(canonicalize_name(part.name))
    return installed


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.parent.name in ("how-to", "causes") or page.stem == "tutorial"],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_the_pip_lines_of_a_page_install_what_it_needs(page):
    if not re.search(r"^\$ ", page.read_text("utf-8"), re.M):
        pytest.skip("the page runs nothing")
    installed = installed_by(page)
    assert "pytest-nonblocking" in installed
    for module in set(needed(page)) - STARTED:
        if not (sources := metadata.packages_distributions().get(module)):
            pytest.skip(f"{module} is not installed")
        assert installed & set(map(canonicalize_name, sources)), f"no pip line installs {module}"


def test_the_page_on_ci_lists_the_inputs_of_the_action():
    action = (ROOT / "action.yml").read_text("utf-8").partition("\nruns:")[0]
    page = (ROOT / "docs/how-to/ci.md").read_text("utf-8").partition("| input | default |")[2]
    defaults = re.findall(r'^  ([\w-]+):\n(?:    .*\n)*?    default: "?(.*?)"?$', action, re.M)
    listed = re.findall(r"^\| `([\w-]+)` \| `?(.*?)`? ?\|", page.partition("\n\n")[0], re.M)
    assert listed == defaults
