"""The command ``pytest-nonblocking``: what earlier runs reported."""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from ..reporting import escaped, files, load_script, loading, speedscope, terminal
from ..reporting.atomic import write_text
from ..reporting.failures_shown import lines_of
from ..reporting.json_report import schema
from ..reporting.plain import text_of
from ..reporting.record import SCHEMA_VERSION, Report
from ..reporting.shared_culprits import Failure, texts
from ..reporting.units import plural
from . import comparison

_EXIT = """\
exit status: 0 if nothing is wrong, 1 if something got worse or nothing was compared (compare) or
failed (show), 2 for a file that cannot be read or written, or bad usage
"""


class _Export(NamedTuple):
    """What a report is exported to: the default output, and what makes it of which facts."""

    output: str
    found_in: Callable[[Report], Sequence[Any]]
    write: Callable[[Sequence[Any], str, str], str]
    facts: str
    which: str


_OF_REQUESTS = (
    "requests",
    "only those that a measured test sends through the fixture nonblocking_client are recorded",
)
_OF_STACKS = ("stacks", "no test held the event loop or waited for long")
_EXPORTS = {
    "k6": _Export("k6.js", load_script.scenarios, load_script.k6, *_OF_REQUESTS),
    "locust": _Export("locustfile.py", load_script.scenarios, load_script.locust, *_OF_REQUESTS),
    "speedscope": _Export(
        "stacks.speedscope.json", speedscope.profiled, speedscope.render, *_OF_STACKS
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what a terminal's encoding lacks
    given = _parser().parse_args(arguments)
    try:
        if given.command == "compare":
            return _compare(_report(given.a), _report(given.b), given.output, given.force)
        if given.command == "schema":
            print(text_of(schema()), end="")
            return 0
        if given.command == "show":
            return _show(_report(given.file))
        if given.command == "export":
            return _export(_report(given.file), _EXPORTS[given.to], given.output, given.force)
        return _html(
            _report(given.file), given.output or given.file.with_suffix(".html"), given.force
        )
    except (loading.BadFileError, files.CannotWriteError) as error:
        print(f"pytest-nonblocking: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read it has seen enough; the interpreter would complain when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pytest-nonblocking",
        description="Shows and compares the JSON reports of pytest-nonblocking.",
        epilog=_EXIT,
    )
    version = f"%(prog)s {metadata.version('pytest-nonblocking')}"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(dest="command", required=True)
    compare = commands.add_parser("compare", help="what got worse from A to B", epilog=_EXIT)
    compare.add_argument("a", metavar="A.json", type=Path)
    compare.add_argument("b", metavar="B.json", type=Path)
    compare.add_argument("-o", "--output", type=Path, help="also write a page of both, OUT.html")
    compare.add_argument("--force", action="store_true", help="replace a file that is there")
    show = commands.add_parser("show", help="the terminal's text from a report", epilog=_EXIT)
    show.add_argument("file", metavar="FILE.json", type=Path)
    html = commands.add_parser("html", help="a page from a report", epilog=_EXIT)
    html.add_argument("file", metavar="FILE.json", type=Path)
    html.add_argument("-o", "--output", type=Path, help="default: FILE.html")
    html.add_argument("--force", action="store_true", help="replace a file that is there")
    export = commands.add_parser(
        "export", help="a report's requests or stacks, written for another tool", epilog=_EXIT
    )
    export.add_argument("file", metavar="FILE.json", type=Path)
    tools = export.add_mutually_exclusive_group(required=True)
    for tool, to in _EXPORTS.items():
        about = f"the {to.facts}, for {tool}; the default output is {to.output}"
        tools.add_argument(f"--{tool}", dest="to", action="store_const", const=tool, help=about)
    export.add_argument("-o", "--output", type=Path, help="the file to write")
    export.add_argument("--force", action="store_true", help="replace a file that is there")
    commands.add_parser("schema", help="the JSON Schema of a report", epilog=_EXIT)
    return parser


def _report(path: Path) -> Report:
    return loading.load(path, Report, "report", SCHEMA_VERSION)


class _Plain:
    """Standard output without colours."""

    def write(self, content: str, *, flush: bool = False, **markup: bool) -> None:
        """Write a part of a line."""
        print(content, end="", flush=flush)

    def write_line(self, line: str | bytes, **markup: bool) -> None:
        """Write a line."""
        print(line if isinstance(line, str) else line.decode())

    def section(self, title: str, sep: str = "=", **kw: bool) -> None:
        """Write a title."""
        print(f"{sep * 3} {title} {sep * 3}")


def _show(report: Report) -> int:
    tests = report.tests
    if not tests:
        print("nonblocking: nothing was measured")
        return 0
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    failures = [Failure(test, test.message) for test in tests if test.message]
    for failure, text in zip(failures, texts(failures), strict=True):
        shown = "\n".join(lines_of(text, width))
        print(f"{escaped.line(failure.record.nodeid)}\n{shown}\n")
    terminal.summarise(_Plain(), tests, verbosity=1, fullwidth=width)
    return int(any(test.verdict == "fail" and not test.accepted_by for test in tests))


def _compare(before: Report, after: Report, output: Path | None, force: bool) -> int:
    pairs = comparison.pairs(before, after)
    if output is not None:
        _check(output, force, ".html")
    changes = [pair.change for pair in pairs if pair.change is not None]
    for change in changes:
        print(escaped.line(f"{change.kind:<8} {change.test}  {change.text}"))
    kinds = [change.kind for change in changes]
    shown = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    title = f"{plural(len(after.tests), 'measurement')} compared: "
    title += shown or "no difference beyond noise"
    # A gate does not pass because it has compared nothing.
    if nothing := not any(pair.before and pair.after for pair in pairs):
        title = "nothing compared: the reports have no measurement in common"
    print(f"nonblocking: {title}")
    if output is not None:
        _write(output, _page_of_both(title, before, after, pairs))
    return int(nothing or "worse" in kinds)


def _page_of_both(
    title: str, before: Report, after: Report, pairs: Sequence[comparison.Pair]
) -> str:
    from ..reporting import html_report  # needs an extra

    return html_report.render_comparison(
        title,
        before,
        after,
        [
            html_report.Difference(
                pair.change.kind if pair.change else "same",
                pair.change.text if pair.change else "",
                pair.before,
                pair.after,
            )
            for pair in pairs
        ],
    )


def _html(report: Report, output: Path, force: bool) -> int:
    _check(output, force, ".html")
    from ..reporting import html_report  # needs an extra

    _write(output, html_report.render(report))
    return 0


def _export(report: Report, to: _Export, output: Path | None, force: bool) -> int:
    path = output or Path(to.output)
    _check(path, force, Path(to.output).suffix)
    found = to.found_in(report)
    if not found:
        raise files.CannotWriteError(f"the report holds no {to.facts}: {to.which}")
    _write(path, to.write(found, f"{report.tool.name} {report.tool.version}", path.name))
    if left_out := len(report.tests) - len(found):
        print(f"left out: {plural(left_out, 'measurement')} without {to.facts}")
    return 0


def _check(output: Path, force: bool, suffix: str) -> None:
    if output.suffix != suffix:
        raise files.CannotWriteError(f"cannot write {output}: the ending must be {suffix}")
    if suffix == ".html":
        files.check(output)  # its extra is installed
    else:
        files.check_place(output)
    if output.exists() and not force:
        raise files.CannotWriteError(f"{output} is there already: give another name, or --force")


def _write(output: Path, text: str) -> None:
    try:
        write_text(output, text)
    except OSError as error:
        raise files.CannotWriteError(f"cannot write {output}: {error}") from None
    print(escaped.line(f"wrote {output}"))
