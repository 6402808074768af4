"""What a report says of the run that made it."""

import subprocess
from pathlib import Path

import pytest

from pytest_nonblocking.reporting.sessions import repository as top_of
from pytest_nonblocking.reporting.sessions import session_of

RUN = {"started": "2026-01-31T09:05:00+01:00", "duration": 65.204, "command": "pytest", "app": None}
GITHUB = {
    "CI": "true",
    "GITHUB_ACTIONS": "true",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "me/shop",
    "GITHUB_RUN_ID": "7",
    "GITHUB_SHA": "0123abc",
}


@pytest.fixture
def repository(tmp_path):
    """A repository with one commit; its tests lie in the folder ``api``."""

    def git(*arguments):
        me = ["-c", "user.name=me", "-c", "user.email=me@example.org", "-c", "commit.gpgsign=false"]
        command = ["git", *me, *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        git("init", "-q")
    except FileNotFoundError:
        pytest.skip("git is not installed")
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "shop.py").write_text("x = 1\n", encoding="utf-8")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    git("tag", "-a", "v1", "-m", "v1")  # a tag has no say in how the commit is named
    return tmp_path, git("rev-parse", "HEAD")


def test_a_run_on_a_desk_names_its_commit_and_its_folder(repository):
    folder, commit = repository
    session = session_of({}, folder / "api", **RUN)
    assert (session.commit, session.ci, session.ci_url) == (commit, None, None)
    assert (session.rootdir, session.source_url) == ((folder / "api").as_posix(), None)
    assert session.duration_s == 65.2


def test_changed_files_are_named_beside_the_commit(repository):
    folder, commit = repository
    (folder / "api" / "shop.py").write_text("x = 2\n", encoding="utf-8")
    assert session_of({}, folder, **RUN).commit == f"{commit}-dirty"


def test_a_ci_run_links_to_its_page_and_to_the_files_at_the_commit(repository):
    folder, commit = repository
    session = session_of(GITHUB, folder / "api", **RUN)
    assert (session.commit, session.ci) == (commit, "GitHub Actions")
    assert session.ci_url == "https://github.com/me/shop/actions/runs/7"
    assert session.source_url == "https://github.com/me/shop/blob/0123abc/api/"
    assert session.rootdir is None


@pytest.mark.parametrize(
    ("environ", "name", "url", "commit"),
    [
        (GITHUB, "GitHub Actions", "https://github.com/me/shop/actions/runs/7", "0123abc"),
        (
            {"GITLAB_CI": "true", "CI_JOB_URL": "https://gitlab.com/j/1", "CI_COMMIT_SHA": "ab"},
            "GitLab CI",
            "https://gitlab.com/j/1",
            "ab",
        ),
        (
            {
                "TF_BUILD": "True",
                "SYSTEM_COLLECTIONURI": "https://dev.azure.com/me/",
                "SYSTEM_TEAMPROJECT": "shop",
                "BUILD_BUILDID": "5",
                "BUILD_SOURCEVERSION": "ab",
            },
            "Azure Pipelines",
            "https://dev.azure.com/me/shop/_build/results?buildId=5",
            "ab",
        ),
        ({"JENKINS_URL": "x", "BUILD_URL": "https://j/1"}, "Jenkins", "https://j/1", None),
        ({"CIRCLECI": "true"}, "CircleCI", None, None),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_a_ci_service_is_known_by_its_variables(tmp_path, environ, name, url, commit):
    session = session_of(environ, tmp_path, **RUN)
    assert (session.ci, session.ci_url, session.commit) == (name, url, commit)


def test_an_address_that_is_not_of_the_web_is_left_out(tmp_path):
    environ = {"JENKINS_URL": "x", "BUILD_URL": "javascript:alert(1)"}
    assert session_of(environ, tmp_path, **RUN).ci_url is None


def test_a_password_in_an_address_of_the_command_is_left_out(tmp_path):
    command = "pytest --dsn=postgres://me:secret@host/shop"
    session = session_of({}, tmp_path, **(RUN | {"command": command}))
    assert session.command == "pytest --dsn=postgres://…@host/shop"


def test_the_top_of_the_repository_is_the_one_above_the_rootdir(repository):
    folder, _ = repository
    assert top_of(folder / "api", {"GITHUB_WORKSPACE": str(folder.parent)}) == folder


def test_the_top_of_the_repository_goes_by_the_name_that_it_has_in_the_rootdir(repository):
    folder, _ = repository
    link = folder / "link"
    link.symlink_to(folder, target_is_directory=True)
    assert top_of(link / "api", {}) == link


@pytest.mark.parametrize("environ", [{}, {"GITHUB_WORKSPACE": "/work"}])
def test_without_git_the_top_of_the_repository_is_the_workspace(tmp_path, environ):
    workspace = environ.get("GITHUB_WORKSPACE")
    assert top_of(tmp_path, environ) == (workspace and Path(workspace))


def test_without_git_the_commit_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert session_of({}, tmp_path, **RUN).commit is None
