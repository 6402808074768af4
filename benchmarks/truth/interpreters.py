"""An environment with the plugin for each CPython that is found."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14", "3.15")
_ROOT = Path(__file__).resolve().parents[2]


class Interpreter(NamedTuple):
    """A CPython version and the command of its environment."""

    version: str
    command: str

    @property
    def number(self) -> tuple[int, ...]:
        """The version as numbers."""
        return tuple(int(part) for part in self.version.split("."))


def find(version: str) -> str | None:
    """Return the command of a CPython ``version`` that really starts, if there is one."""
    found = [shutil.which(f"python{version}")]
    found += [str(path) for path in Path.home().glob(f".pyenv/versions/{version}.*/bin/python")]
    for command in filter(None, found):
        check = [command, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        done = subprocess.run(check, capture_output=True, text=True, check=False)
        if done.stdout.strip() == version:
            return command
    return None


def environment(version: str, folder: Path) -> Interpreter | None:
    """Return the environment for ``version`` below ``folder``, made where it is missing."""
    home = folder / version
    command = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not (home / "complete").exists():
        python = find(version)
        if python is None:
            return None
        subprocess.run([python, "-m", "venv", str(home)], check=True)
        pip = [str(command), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "--upgrade", "pip>=25.1"], check=True)  # which knows groups
        groups = ["--group", "test", "--group", "bench"]
        subprocess.run([*pip, *groups, "--editable", ".[all]"], cwd=_ROOT, check=True)
        (home / "complete").touch()
    return Interpreter(version, str(command))
