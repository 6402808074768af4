"""Follow a page of the documentation as a reader does: write its files, run its commands.

From the top of the page to its end:

- A block of a file format whose first line is a comment with a file name, such as
  ``# test_shop.py``, is written to that file.
- Each line of a ``console`` block that begins with ``$`` is run, but not ``pip install``. It must
  end with status 0, or with the one that ``<!-- exits with 1 -->`` above the block gives.
- A ``text`` block below a ``console`` block is an excerpt of what its commands print: the lines
  must appear in this order. A number stands for any number, a line ``…`` for any lines, and what
  depends on the machine may be missing.

A reader does not see the comments: ``<!-- needs: fastapi, postgresql -->`` names modules and
servers without which the page is skipped, ``<!-- not run: reason -->`` excuses the next block, and
``<!-- file: myapp/main.py`` with lines up to ``-->`` is a file that the reader has.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

_BLOCK = re.compile(
    r"^(?P<indent> *)```(?P<language>[\w-]+)\n(?P<text>.*?)^(?P=indent)```$"
    r"|^<!-- (?P<comment>.*?) ?-->$",
    re.MULTILINE | re.DOTALL,
)
_FILE = re.compile(r"(?:#|//|--) ([\w./-]+\.\w+|Makefile)")
_WRITTEN = {"python", "toml", "ini", "yaml", "text", "json", "javascript"}
_COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)", re.MULTILINE)
_SLOWER = r"( × [\d.]+ slower machine)?"
_INSTALLS = re.compile(r"(python -m )?pip install ")


class Step(NamedTuple):
    """A block or a comment of a page, and the number of its first line."""

    kind: str
    text: str
    line: int


def steps(page: str) -> list[Step]:
    """Return the blocks and comments of a page, from the top."""
    found = []
    for match in _BLOCK.finditer(page):
        line = page.count("\n", 0, match.start()) + 1
        if (comment := match["comment"]) is not None:
            found.append(Step("comment", comment, line))
        else:
            text = re.sub(rf"^{match['indent']}", "", match["text"], flags=re.MULTILINE)
            found.append(Step(match["language"], text, line))
    return found


def follow(page: Path, folder: Path, environment: dict[str, str]) -> int:
    """Follow the page in the folder and return how many commands were run.

    Raises AssertionError with the line of the page where something else happens than it says.
    """
    status, excused, printed, ran = 0, False, "", 0
    for step in steps(page.read_text("utf-8")):
        where = f"{page.name}:{step.line}"
        if step.kind == "comment":
            key, _, rest = step.text.partition(" ")
            if step.text.startswith("exits with "):
                status = int(step.text.removeprefix("exits with "))
            elif key == "not":  # not run: reason
                excused = True
            elif key == "file:":
                name, _, text = rest.partition("\n")
                _write(folder / name, text)
        elif excused:
            excused = False
        elif step.kind == "console":
            commands = _COMMAND.findall(step.text)
            commands = [command for command in commands if not _INSTALLS.match(command)]
            printed = "".join(_run(c, folder, environment, status, where) for c in commands)
            ran += len(commands)
            said = _COMMAND.sub("", step.text)
            status = 0
            _compare(said, printed, where)
        elif (named := _FILE.fullmatch(step.text.partition("\n")[0])) and step.kind in _WRITTEN:
            _write(folder / named[1], step.text)
        elif step.kind == "text":
            _compare(step.text, printed, where)
        else:
            raise AssertionError(f"{where}: a {step.kind} block that is neither a file nor run")
    return ran


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def _run(command: str, folder: Path, environment: dict[str, str], status: int, where: str) -> str:
    scripts = str(Path(sys.executable).parent)
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={
            **os.environ,
            **environment,
            "PATH": os.pathsep.join([scripts, os.environ["PATH"]]),
            "COLUMNS": "100",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == status, (
        f"{where}: {command}: status {done.returncode} instead of {status}\n{done.stdout}"
    )
    return done.stdout


def _compare(said: str, printed: str, where: str) -> None:
    """Check that the lines of an excerpt appear in this order."""
    lines = iter(printed.splitlines())
    for line in said.splitlines():
        if line.strip() in ("", "…", "..."):
            continue
        pattern = re.compile(as_pattern(line.rstrip()))
        assert any(pattern.fullmatch(candidate.rstrip()) for candidate in lines), (
            f"{where}: this line was not printed, or not here:\n{line}\nprinted was:\n{printed}"
        )


def as_pattern(line: str) -> str:
    """Return a printed line as a pattern in which each number stands for any number."""
    if line.lstrip().startswith("machine "):
        return r" *machine +excluded: .* run-queue delay.*; CPU .*reference.*"
    pattern = re.escape(line.removesuffix("…").replace("under 0.1 ms", "0.1 ms"))
    pattern = re.sub(r"\\?\d+(\\?\.\d+)?", r"[\\d.]+", pattern)
    pattern = re.sub(r"(,\\ \[\\d\.\]\+\\ ms\\ of\\ noise)", r"(\1)?", pattern)
    pattern = re.sub(r"={3,}", "=+", pattern)
    pattern = re.sub(r"(\\ ){2,}", r"\\ +", pattern)  # the columns of a table
    pattern = pattern.replace(r"\(default\)", rf"\(default\){_SLOWER}")
    pattern = pattern.replace(r"[\d.]+\ ms", r"(under )?[\d.]+\ ms")
    return pattern + ".*" * line.endswith("…")
