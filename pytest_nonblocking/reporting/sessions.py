"""The pytest run that a report is of: when, by which command, of which commit, in which CI run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from ..clocks import CLOCKS
from ..config import Settings
from . import escaped
from .record import Session

_BEGUN: pytest.StashKey[tuple[datetime, int]] = pytest.StashKey()
_GIT_SECONDS = 3.0
_GIT = ("git", "--no-optional-locks", "-c", "core.fsmonitor=false")
"""Leaves the index as it is and starts no daemon."""
_PASSWORD = re.compile(r"//[^/@\s]+@")  # user:password@ of an address


class _Ci(NamedTuple):
    """A CI service, by the variables that it sets; the patterns are filled from them."""

    name: str
    known_by: str
    run: str
    commit: str
    source: str | None = None
    """The address of a file at the commit, up to its path."""


_SERVICES = (
    _Ci(
        "GitHub Actions",
        "GITHUB_ACTIONS",
        "{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}/actions/runs/{GITHUB_RUN_ID}",
        "{GITHUB_SHA}",
        "{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}/blob/{GITHUB_SHA}/",
    ),
    _Ci(
        "GitLab CI",
        "GITLAB_CI",
        "{CI_JOB_URL}",
        "{CI_COMMIT_SHA}",
        "{CI_PROJECT_URL}/-/blob/{CI_COMMIT_SHA}/",
    ),
    _Ci(
        "Azure Pipelines",
        "TF_BUILD",
        "{SYSTEM_COLLECTIONURI}{SYSTEM_TEAMPROJECT}/_build/results?buildId={BUILD_BUILDID}",
        "{BUILD_SOURCEVERSION}",
    ),
    _Ci("CircleCI", "CIRCLECI", "{CIRCLE_BUILD_URL}", "{CIRCLE_SHA1}"),
    _Ci("Jenkins", "JENKINS_URL", "{BUILD_URL}", "{GIT_COMMIT}"),
    _Ci("Buildkite", "BUILDKITE", "{BUILDKITE_BUILD_URL}", "{BUILDKITE_COMMIT}"),
    _Ci("Travis CI", "TRAVIS", "{TRAVIS_BUILD_WEB_URL}", "{TRAVIS_COMMIT}"),
    _Ci(
        "Bitbucket Pipelines",
        "BITBUCKET_BUILD_NUMBER",
        "{BITBUCKET_GIT_HTTP_ORIGIN}/pipelines/results/{BITBUCKET_BUILD_NUMBER}",
        "{BITBUCKET_COMMIT}",
        "{BITBUCKET_GIT_HTTP_ORIGIN}/src/{BITBUCKET_COMMIT}/",
    ),
)


def begin(config: pytest.Config) -> None:
    """Note when the run began."""
    config.stash[_BEGUN] = datetime.now().astimezone(), CLOCKS.wall_ns()


def ended(settings: Settings, config: pytest.Config) -> Session | None:
    """Return the facts of the run, None if its begin was not noted."""
    if (begun := config.stash.get(_BEGUN, None)) is None:
        return None
    date, began_ns = begun
    arguments = map(str, config.invocation_params.args)
    return session_of(
        os.environ,
        config.rootpath,
        started=date.isoformat(timespec="seconds"),
        duration=(CLOCKS.wall_ns() - began_ns) / 1e9,
        command=f"pytest {shlex.join(arguments)}".rstrip(),
        app=settings.app,
    )


def session_of(
    environ: Mapping[str, str],
    rootdir: Path,
    *,
    started: str,
    duration: float,
    command: str,
    app: str | None,
) -> Session:
    """Return the facts of a run that took ``duration`` seconds."""
    ci = next((one for one in _SERVICES if environ.get(one.known_by)), None)
    in_ci = ci is not None or bool(environ.get("CI"))
    commit, folder = _git(rootdir)
    source = None if ci is None or ci.source is None else _filled(ci.source, environ)
    return Session(
        started=started,
        duration_s=round(duration, 2),
        command=escaped.line(_PASSWORD.sub("//…@", command)),
        app=None if app is None else escaped.line(app),
        commit=commit or (ci and _filled(ci.commit, environ)),
        ci=ci and ci.name,
        ci_url=_web(ci and _filled(ci.run, environ)),
        source_url=_web(source and folder is not None and source + folder),
        rootdir=None if in_ci else escaped.line(rootdir.as_posix()),
    )


def repository(rootdir: Path, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the top folder of the repository that ``rootdir`` is in, None where unknown."""
    top = _output(rootdir, "rev-parse", "--show-toplevel")
    if not top or not Path(top).exists():  # its name may be escaped
        workspace = environ.get("GITHUB_WORKSPACE")
        return Path(workspace) if workspace else None
    # Git follows links: of the names of the folder, only the one in rootdir fits a report's paths.
    return next((one for one in (rootdir, *rootdir.parents) if one.samefile(top)), None)


def _filled(pattern: str, environ: Mapping[str, str]) -> str | None:
    """Return the pattern with the values of its variables, None if one is not set."""
    names = re.findall(r"{(\w+)}", pattern)
    if not all(environ.get(name) for name in names):
        return None
    return escaped.line(pattern.format_map(environ))


def _web(address: str | bool | None) -> str | None:
    """Return an address that a browser opens over the web, None for any other."""
    return address if isinstance(address, str) and re.match("https?://", address) else None


def _git(rootdir: Path) -> tuple[str | None, str | None]:
    """Return the commit and the path of ``rootdir`` in its repository, None where unknown."""
    commit = _output(rootdir, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    return commit or None, _output(rootdir, "rev-parse", "--show-prefix") if commit else None


def _output(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            [*_GIT, *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_GIT_SECONDS,
            check=True,
        )
        return escaped.line(done.stdout.decode().strip())
    except Exception:  # no git, no repository, too slow, or a test that still patches subprocess
        return None
