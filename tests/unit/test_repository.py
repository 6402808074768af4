"""The files beside the package agree with one another."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
FORMS = ROOT / ".github" / "ISSUE_TEMPLATE"


def text(name):
    return (ROOT / name).read_text("utf-8")


def array(name):
    """Return the strings of an array in pyproject.toml (tomllib is new in 3.11)."""
    found = re.search(rf"^{name} = \[\n(.*?)^\]", text("pyproject.toml"), re.MULTILINE | re.DOTALL)
    return re.findall(r'^    "(.+?)",$', found[1], re.MULTILINE)


def run(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def packed(name):
    return any((ROOT / name).match(pattern.lstrip("/")) for pattern in array("include"))


def test_the_sdist_holds_what_its_makefile_runs():
    folders = re.findall(r"(?:^|\s)([\w.]+)/[\w./-]+\.py", text("Makefile"))
    assert {".ci", "benchmarks", "examples"} <= set(folders)
    assert all(packed(folder) for folder in folders)
    assert packed("Makefile")


def test_the_sdist_holds_every_page():
    assert all(packed(path.name) for path in ROOT.glob("*.md"))


def test_classifiers_name_only_versions_that_decide_whether_a_change_lands():
    named = {c.rpartition(" ")[2] for c in array("classifiers") if " :: 3." in c}
    workflow = text(".github/workflows/ci.yml")
    (row,) = re.findall(r"^ +python: \[(.*)\]", workflow, re.MULTILINE)
    (undecided,) = re.findall(r"continue-on-error: .*'(.*)'", workflow)
    assert named == set(re.findall(r'"(.*?)"', row)) - set(re.findall(r'"(.*?)"', undecided))


def test_the_workflow_runs_what_ci_runs():
    decides = set(re.findall(r"^make (\w+)", text(".ci/run"), re.MULTILINE))
    assert decides == set(re.findall(r"run: make (\w+)", text(".github/workflows/ci.yml")))


def test_what_make_test_leaves_out_is_run_on_a_schedule():
    workflow = text(".github/workflows/faults.yml")
    assert "\n  schedule:\n" in workflow
    assert re.findall(r"run: make (.*)", workflow) == ["faults"]


def test_pre_commit_runs_the_linters_of_the_makefile():
    pytest.importorskip("pre_commit", reason="pre-commit is not installed")
    run("pre_commit", "validate-config", ".pre-commit-config.yaml")
    assert re.findall(r"entry: (.*)", text(".pre-commit-config.yaml")) == ["make lint"]


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ("vendor.github-workflows", ".github/workflows/ci.yml"),
        ("vendor.github-workflows", ".github/workflows/faults.yml"),
        ("vendor.github-workflows", ".github/workflows/release.yml"),
        ("vendor.github-actions", "action.yml"),
        ("vendor.citation-file-format", "CITATION.cff"),
        ("vendor.github-issue-config", ".github/ISSUE_TEMPLATE/config.yml"),
        *(
            ("vendor.github-issue-forms", f".github/ISSUE_TEMPLATE/{form.name}")
            for form in sorted(FORMS.glob("*.yml"))
            if form.name != "config.yml"
        ),
    ],
)
def test_what_the_hosting_platform_reads_keeps_to_its_published_schema(schema, path):
    pytest.importorskip("check_jsonschema", reason="check-jsonschema is not installed")
    run("check_jsonschema", "--builtin-schema", schema, path)


def test_the_citation_and_the_changelog_are_of_this_version():
    version = re.search(r'^version = "(.*)"$', text("pyproject.toml"), re.MULTILINE)[1]
    cited = re.search(r"^version: (.*)$", text("CITATION.cff"), re.MULTILINE)[1]
    released = re.search(r'^date-released: "(.*)"$', text("CITATION.cff"), re.MULTILINE)[1]
    assert cited == version
    assert f"\n## {version} - {released}\n" in text("CHANGELOG.md")


def test_the_action_asks_for_reports_and_flags_that_exist():
    from pytest_nonblocking.options import OPTIONS
    from pytest_nonblocking.reporting.files import WRITERS

    action = text("action.yml")
    flags = set(re.findall(r"--nonblocking-[a-z-]*[a-z]", action))
    assert flags <= {option.flag for option in OPTIONS}
    reports = re.findall(r"--nonblocking-report=nonblocking(\.\w+)", action)
    assert sorted(reports) == sorted(WRITERS)


def test_the_architecture_names_every_module_and_folder():
    page = text("ARCHITECTURE.md")
    for path in (ROOT / "pytest_nonblocking").iterdir():
        if (path / "__init__.py").exists():
            assert f"| `{path.name}/` |" in page
        elif path.suffix == ".py" and path.name != "__init__.py":
            assert f"| `{path.name}` |" in page
