"""The files in docs/snippets are what their tools accept, and do what they say."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SNIPPETS = Path(__file__).resolve().parent.parent.parent / "docs" / "snippets"


def needs(module):
    pytest.importorskip(module, reason=f"{module} is not installed")


def called(*command, cwd):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_page_links_to_every_snippet():
    pages = [path.read_text("utf-8") for path in SNIPPETS.parent.rglob("*.md")]
    names = {name for text in pages for name in re.findall(r"\]\([./]*snippets/([\w.-]+)\)", text)}
    assert names == {path.name for path in SNIPPETS.iterdir()}


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("github-actions.yml", "vendor.github-workflows"),
        ("gitlab-ci.yml", "vendor.gitlab-ci"),
    ],
)
def test_a_snippet_keeps_to_its_published_schema(name, schema, tmp_path):
    needs("check_jsonschema")
    command = (sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema)
    status, said = called(*command, str(SNIPPETS / name), cwd=tmp_path)
    assert status == 0, said


@pytest.mark.parametrize("name", sorted(path.name for path in SNIPPETS.iterdir()))
def test_a_snippet_uses_flags_that_exist(name):
    from pytest_nonblocking.options import OPTIONS

    flags = set(re.findall(r"--nonblocking-[a-z-]*[a-z]", (SNIPPETS / name).read_text("utf-8")))
    assert flags <= {option.flag for option in OPTIONS}


@pytest.fixture
def repository(project):
    """A repository with one marked test that passes and an empty package to install."""
    project.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.nonblocking(concurrency=4)
        async def test_it(nonblocking_client):
            await nonblocking_client.get("/")
        """
    )
    return project


def block(repository):
    """Have the application of ``repository`` block its loop."""
    app = repository.path / "webapp.py"
    app.write_text(app.read_text("utf-8").replace("await asyncio.sleep(0.02)", "time.sleep(0.05)"))


def test_pre_commit_refuses_a_push_that_blocks(repository, monkeypatch):
    needs("pre_commit")
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    monkeypatch.setenv("PRE_COMMIT_HOME", str(repository.path / "cache"))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    shutil.copy(SNIPPETS / "pre-commit-config.yaml", repository.path / ".pre-commit-config.yaml")
    assert called("git", "init", "-q", cwd=repository.path)[0] == 0
    assert called("git", "add", "-A", cwd=repository.path)[0] == 0
    pre_commit = (sys.executable, "-m", "pre_commit")
    assert called(*pre_commit, "validate-config", cwd=repository.path)[0] == 0
    push = (*pre_commit, "run", "--all-files", "--hook-stage", "pre-push")
    status, said = called(*push, cwd=repository.path)
    assert (status, "Passed" in said) == (0, True), said
    block(repository)
    status, said = called(*push, cwd=repository.path)
    assert (status, "blocks the event loop" in said) == (1, True), said


def test_nox_runs_the_session(repository, monkeypatch):
    needs("nox")
    # With what is installed here: nothing is fetched in a test.
    shutil.copy(SNIPPETS / "noxfile.py", repository.path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    command = (sys.executable, "-m", "nox", "--no-venv", "--no-install", "-s", "nonblocking")
    status, said = called(*command, cwd=repository.path)
    assert (status, "1 measured: 1 pass" in said) == (0, True), said
    block(repository)
    assert called(*command, cwd=repository.path)[0] == 1


def test_tox_knows_the_environment(repository):
    needs("tox")
    shutil.copy(SNIPPETS / "tox.ini", repository.path)
    command = (sys.executable, "-m", "tox", "config", "-e", "nonblocking", "-k", "commands", "deps")
    status, said = called(*command, cwd=repository.path)
    assert status == 0, said
    assert "--nonblocking-require=1" in said
    assert "pytest-nonblocking[all]" in said
