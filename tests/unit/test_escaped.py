"""Text that a terminal would obey, or that no file can hold, is escaped where it comes in."""

import json
import os

import pytest
from reported import culprit, failing, record, report

from pytest_nonblocking.reporting import escaped, markdown_report, terminal
from pytest_nonblocking.reporting.json_report import render
from pytest_nonblocking.reporting.junit import properties
from pytest_nonblocking.reporting.places import relative

HOSTILE = "\x1b[31mred\0\x7f\x9b\u2028\u202e\udce9\r"
SHOWN = r"\x1b[31mred\x00\x7f\x9b\u2028\u202e\udce9\r"


@pytest.mark.parametrize(
    ("raw", "shown"), [(HOSTILE, SHOWN), ("Ünï 注文 🙂\t|\n", "Ünï 注文 🙂\t|\n")]
)
def test_control_characters_are_escaped_and_text_is_left(raw, shown):
    assert escaped.lines(raw) == shown


def test_a_line_stays_one():
    assert escaped.line("a\nb\tc\x1b") == r"a\nb\tc\x1b"


def test_a_path_is_a_single_line(tmp_path):
    assert relative(str(tmp_path / "a\nb\x1b.py"), tmp_path) == r"a\nb\x1b.py"


@pytest.fixture
def hostile():
    """A record with such text wherever text of the user's may be."""
    return failing(
        HOSTILE,
        target=HOSTILE,
        message=HOSTILE,
        notes=[HOSTILE],
        culprit=culprit(file=HOSTILE, function=HOSTILE, code=HOSTILE, calls=[HOSTILE]),
        limits={"allow": {"value": {"thread-pool": HOSTILE, HOSTILE: [HOSTILE]}, "from": HOSTILE}},
        stacks=[{"frames": [HOSTILE], "count": 1}],
    )


def assert_clean(text):
    assert escaped.lines(text) == text
    assert SHOWN in text or json.dumps(SHOWN)[1:-1] in text
    text.encode()


class Screen:
    """Keeps what is written."""

    def __init__(self):
        self.text = ""

    def write(self, content, **_):
        self.text += content

    def write_line(self, line, **_):
        self.text += f"{line}\n"

    section = write_line


def test_no_report_holds_what_a_terminal_obeys(hostile):
    whole = report(hostile)
    assert_clean(render(whole))
    assert_clean(markdown_report.render(whole).replace("&#91;", "[").replace("&#92;", "\\"))
    for _, value in properties(hostile):
        assert escaped.lines(value) == value


def test_the_page_and_sarif_hold_nothing_of_the_kind_either(hostile, tmp_path):
    reporting = "pytest_nonblocking.reporting"
    for name, where in (("html_report", []), ("sarif_report", [tmp_path])):
        writer = pytest.importorskip(f"{reporting}.{name}", reason="an extra is not installed")
        assert_clean(writer.render(report(hostile), *where))


def test_the_summary_breaks_no_line(hostile):
    screen = Screen()
    terminal.summarise(
        screen, [record("a\nb"), hostile], [("c\nd", "red")], verbosity=1, fullwidth=None
    )
    assert_clean(screen.text)
    assert r"a\nb" in screen.text
    assert r"c\nd" in screen.text


@pytest.mark.skipif(os.name == "nt", reason="file names are Unicode there")
def test_what_is_read_from_a_path_that_is_no_utf_8_can_be_written(tmp_path):
    name = os.fsdecode(b"caf\xe9.py")
    assert relative(str(tmp_path / name), tmp_path) == r"caf\udce9.py"
