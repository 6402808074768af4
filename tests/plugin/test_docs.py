"""What README and docs say agrees with the package: links, flags, settings and blocking calls.

tests/docs follows the pages themselves.
"""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = sorted(
    str(path.relative_to(ROOT)) for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
)


def read(page):
    return (ROOT / page).read_text("utf-8")


def prose(page):
    """Return a page without its blocks of code, in which a # begins a comment."""
    return re.sub(r"^ *```.*?^ *```$", "", read(page), flags=re.MULTILINE | re.DOTALL)


def anchors(page):
    titles = re.findall(r"^#+ (.*)", prose(page), re.MULTILINE)
    texts = [re.sub(r"\[(.*?)\]\(.*?\)", r"\1", title) for title in titles]
    return {re.sub(r"[^\w -]", "", text).lower().replace(" ", "-") for text in texts}


@pytest.mark.parametrize("page", PAGES)
def test_links_to_files_and_headings_of_ours_lead_somewhere(page):
    path = ROOT / page
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in link:
            continue
        name, _, heading = link.partition("#")
        target = path.parent / name if name else path
        assert target.is_file(), link
        if heading:
            assert heading in anchors(target.resolve().relative_to(ROOT)), link


@pytest.mark.parametrize("page", PAGES)
def test_flags_in_the_docs_exist(page):
    from pytest_nonblocking.options import OPTIONS

    flags = set(re.findall(r"--nonblocking-[a-z-]*[a-z]", read(page)))
    assert flags <= {option.flag for option in OPTIONS}


def row_of(option):
    """Return a setting's row in the reference."""
    default = option.default
    if option.switch or (not default and default != 0):
        default = "off" if option.switch else "none"
    meaning = option.help
    if option.repeated:
        meaning += "; may be repeated"
    if not option.marker:
        meaning += "; not a marker keyword"
    return f"| `{option.name}` | {default} | {meaning} |"


def table_below(page, heading):
    """Return the rows of the table whose heading begins with ``heading``."""
    _, _, rest = read(page).partition(f"\n| {heading}")
    rows = rest.partition("\n\n")[0].splitlines()[2:]
    assert rows, (page, heading)
    return rows


def test_the_reference_lists_every_setting_with_its_default_and_its_meaning():
    from pytest_nonblocking.options import OPTIONS

    assert table_below("docs/reference/settings.md", "keyword /") == [*map(row_of, OPTIONS)]


def test_the_readme_repeats_rows_of_the_reference():
    from pytest_nonblocking.options import OPTIONS

    assert {*table_below("README.md", "keyword /")} <= {*map(row_of, OPTIONS)}


def test_the_reference_lists_every_counterpart_of_a_blocking_call():
    from pytest_nonblocking.guard.table import TABLE

    known = {(row.instead.asyncio, row.instead.trio or "–") for row in TABLE if row.instead}
    rows = [
        row.strip("| ").split(" | ") for row in table_below("docs/reference/guard.md", "call |")
    ]
    assert {(asyncio, trio) for _, asyncio, trio in rows} == known


def test_counterparts_in_the_readme_are_those_of_the_guard():
    from pytest_nonblocking.guard.table import TABLE

    known = " ".join(row.instead.asyncio for row in TABLE if row.instead)
    for row in table_below("README.md", "blocks the loop |"):
        named = re.findall(r"`(.+?)`", row.strip("| ").split(" | ")[1])
        assert named
        assert [name for name in named if name not in known] == []


def test_figures_that_the_docs_quote_are_those_of_the_pages_that_benchmarks_wrote():
    quoted = runpy.run_path(str(ROOT / "benchmarks" / "quoted.py"))
    written = dict(quoted["pages"](read))
    assert {page: read(page) for page in written} == written


def test_a_figure_that_is_measured_anew_is_written_into_the_sentence_that_quotes_it():
    filled = runpy.run_path(str(ROOT / "benchmarks" / "quoted.py"))["filled"]
    text = "It took 12.2 times\nas long, 3 of 4 times."
    assert filled(text, "took {} times as long", ["9"]) == text.replace("12.2", "9")
    with pytest.raises(LookupError, match="0 times in the page"):
        filled(text, "took {} hours", ["9"])
