"""The command pytest-nonblocking, as a user calls it."""

import contextlib
import io
import json
import os
import subprocess
import sys

import pytest
from reported import failing, record, report

from pytest_nonblocking import __version__
from pytest_nonblocking.gate.cli import main
from pytest_nonblocking.reporting import json_report
from pytest_nonblocking.reporting.plain import text_of, to_plain


@pytest.fixture
def folder(tmp_path):
    """A folder with reports."""
    files = {
        "a.json": report(record()),
        "b.json": report(record(), failing()),
        "known.json": report(failing(accepted_by="baseline")),
        "empty.json": report(),
    }
    for name, content in files.items():
        (tmp_path / name).write_text(text_of(content), encoding="utf-8")
    return tmp_path


@pytest.fixture
def call(folder, monkeypatch):
    """Call the command in the folder and return what it did."""
    monkeypatch.chdir(folder)

    def run(*arguments):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = main(arguments)
            except SystemExit as left:
                status = left.code
        return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def call_apart(folder):
    """Call the command in a process of its own, whose output has an encoding."""

    def run(*arguments, encoding="utf-8"):
        return subprocess.run(
            [sys.executable, "-m", "pytest_nonblocking", *arguments],
            cwd=folder,
            env=os.environ | {"PYTHONIOENCODING": encoding},
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )

    return run


def test_show_prints_what_the_terminal_said(call):
    done = call("show", "b.json")
    assert done.returncode == 1
    assert "nonblocking: GET /export blocks the event loop" in done.stdout
    assert "shop/app.py:41" in done.stdout
    assert done.stdout.endswith("nonblocking: 2 measured: 1 pass, 1 fail\n")


def test_show_prints_one_text_for_each_culprit(folder, call):
    both = report(failing("test_a.py::a"), failing("test_a.py::b"))
    (folder / "both.json").write_text(text_of(both), encoding="utf-8")
    done = call("show", "both.json")
    assert "  tests    2 tests fail for this line:" in done.stdout
    assert "  where    shop/app.py:41: see test_a.py::a" in done.stdout


def test_schema_prints_the_published_schema(call):
    done = call("schema")
    assert done.returncode == 0
    assert json.loads(done.stdout) == json_report.schema()


def test_the_version_is_that_of_the_package(call):
    done = call("--version")
    assert (done.returncode, done.stdout) == (0, f"pytest-nonblocking {__version__}\n")


@pytest.mark.parametrize("encoding", ["ascii", "ascii:strict"])
@pytest.mark.parametrize("command", [["show"], ["html", "--force"], ["compare", "odd.json"]])
def test_a_terminal_that_cannot_show_every_character_shows_its_number(
    folder, call_apart, command, encoding
):
    odd = failing("test_注文.py::test_export", target="GET /注文", message="é×…")
    (folder / "odd.json").write_text(text_of(report(odd)), encoding="utf-8")
    done = call_apart(*command, "odd.json", encoding=encoding)
    assert "Traceback" not in done.stderr
    if command[0] == "show":
        assert done.returncode == 1
        assert r"test_\u6ce8\u6587.py::test_export" in done.stdout
        missing = call_apart("show", "注文.json", encoding=encoding)
        assert missing.returncode == 2
        assert r"cannot read \u6ce8\u6587.json: No such file" in missing.stderr


@pytest.mark.parametrize("name", ["a.json", "known.json", "empty.json"])
def test_show_of_what_has_no_new_failure_is_fine(call, name):
    assert call("show", name).returncode == 0


def test_compare_tells_what_got_worse(call):
    done = call("compare", "a.json", "b.json")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "worse    test_shop.py::test_export  is new: fail (blocking-call at shop/app.py:41)",
        "nonblocking: 2 measurements compared: 1 worse",
    ]


def test_compare_of_the_same_is_fine(call):
    done = call("compare", "b.json", "b.json")
    assert done.returncode == 0
    assert "no difference beyond noise" in done.stdout


@pytest.mark.parametrize(
    ("before", "changes"),
    [
        ("empty.json", ["new      test_shop.py::test_ok  is new: pass"]),
        (
            "known.json",
            [
                "new      test_shop.py::test_ok  is new: pass",
                "gone     test_shop.py::test_export  was fail (blocking-call at shop/app.py:41)",
            ],
        ),
    ],
)
def test_compare_does_not_pass_where_it_compares_nothing(folder, call, before, changes):
    done = call("compare", before, "a.json")
    said = "nothing compared: the reports have no measurement in common"
    assert done.stdout.splitlines() == [*changes, f"nonblocking: {said}"]
    assert done.returncode == 1
    assert call("compare", "empty.json", "empty.json").returncode == 1
    pytest.importorskip("jinja2", reason="the extra html is not installed")
    assert call("compare", before, "a.json", "-o", "both.html").returncode == 1
    assert said in (folder / "both.html").read_text("utf-8")


def test_compare_writes_a_page_of_both(folder, call):
    pytest.importorskip("jinja2", reason="the extra html is not installed")
    done = call("compare", "a.json", "b.json", "-o", "both.html")
    assert done.returncode == 1
    assert done.stdout.endswith("compared: 1 worse\nwrote both.html\n")
    assert "2 measurements compared: 1 worse" in (folder / "both.html").read_text("utf-8")
    again = call("compare", "a.json", "b.json", "-o", "both.html")
    assert again.returncode == 2
    assert again.stderr.count("both.html is there already") == 1
    assert call("compare", "a.json", "b.json", "-o", "both.html", "--force").returncode == 1
    assert call("compare", "a.json", "b.json", "-o", "both.txt").returncode == 2


def test_html_writes_a_page_beside_the_report(folder, call):
    pytest.importorskip("jinja2", reason="the extra html is not installed")
    assert call("html", "b.json").returncode == 0
    assert "test_shop.py::test_export" in (folder / "b.html").read_text("utf-8")


def test_html_replaces_no_file_unless_told(folder, call):
    pytest.importorskip("jinja2", reason="the extra html is not installed")
    page = folder / "page.html"
    page.write_text("mine", encoding="utf-8")
    done = call("html", "b.json", "-o", "page.html")
    assert (done.returncode, page.read_text("utf-8")) == (2, "mine")
    assert "page.html is there already" in done.stderr
    assert call("html", "b.json", "-o", "page.html", "--force").returncode == 0
    assert page.read_text("utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (None, "cannot read"),
        ("", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("3", "has no schema_version"),
        ('{"schema_version": 7}', "has schema_version 7, this pytest-nonblocking reads up to 1"),
        ('{"schema_version": 1, "failures": []}', "has no 'tool'"),
        (
            text_of(to_plain(report()) | {"tests": [{"nodeid": 3}]}),
            "tests[0].nodeid must be a string",
        ),
    ],
)
@pytest.mark.parametrize("command", [["show"], ["html"], ["compare", "a.json"]], ids=" ".join)
def test_a_bad_file_is_named_with_the_reason(folder, call, command, content, shown):
    path = folder / "bad.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    done = call(*command, "bad.json")
    assert done.returncode == 2
    assert done.stderr.startswith("pytest-nonblocking: error: ")
    assert "bad.json" in done.stderr
    assert shown in done.stderr
    assert not (folder / "bad.html").exists()
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["show", "html"])
def test_a_folder_is_no_report(call, command):
    done = call(command, ".")
    assert done.returncode == 2
    assert "cannot read .: " in done.stderr


@pytest.mark.parametrize("arguments", [[], ["show"], ["compare", "a.json"], ["burn", "a.json"]])
def test_bad_usage_exits_with_2(call, arguments):
    assert call(*arguments).returncode == 2


def test_help_tells_the_exit_statuses(call):
    done = call("compare", "--help")
    assert done.returncode == 0
    assert "exit status: 0 if nothing is wrong" in done.stdout.replace("\n", " ")


@pytest.mark.skipif(os.name == "nt", reason="there is no sh")
def test_a_reader_that_leaves_is_no_fault(folder):
    many = report(*(record(f"test_{n}.py::t") for n in range(2_000)))
    (folder / "many.json").write_text(text_of(many), encoding="utf-8")
    command = f"{sys.executable} -m pytest_nonblocking show many.json | head -1"
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""


def test_stacks_are_exported_to_speedscope_and_no_file_is_replaced_unless_forced(folder, call):
    done = call("export", "b.json", "--speedscope")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "wrote stacks.speedscope.json",
        "left out: 1 measurement without stacks",
    ]
    content = json.loads((folder / "stacks.speedscope.json").read_text("utf-8"))
    assert content["exporter"] == "pytest-nonblocking 0.1.0"
    assert content["name"] == "stacks.speedscope.json"
    again = call("export", "b.json", "--speedscope")
    assert again.returncode == 2
    assert "stacks.speedscope.json is there already" in again.stderr
    assert call("export", "b.json", "--speedscope", "--force").returncode == 0


def test_a_report_without_stacks_is_not_exported(folder, call):
    done = call("export", "a.json", "--speedscope", "-o", "out.json")
    assert done.returncode == 2
    assert "error: the report holds no stacks: no test held the event loop" in done.stderr
    assert not (folder / "out.json").exists()


def test_an_export_needs_one_tool_and_the_ending_that_it_reads(call):
    assert call("export", "b.json").returncode == 2
    assert call("export", "b.json", "--speedscope", "--k6").returncode == 2
    done = call("export", "b.json", "--speedscope", "-o", "out.txt")
    assert "cannot write out.txt: the ending must be .json" in done.stderr
