"""The runner of the pages notices what a reader would stumble over."""

import re

import page as pages
import pytest

SLOWER = "limit max_lag=20 ms (default)"


def follow(folder, text):
    page = folder / "page.md"
    page.write_text(text, "utf-8")
    return pages.follow(page, folder, {})


def test_files_are_written_and_commands_run_in_order(tmp_path):
    page = (
        "```python\n# shop/app.py\nprint('it took 5 ms')\n```\n"
        "<!-- file: seen.txt\nunseen\n-->\n"
        "```console\n$ pip install nothing\n$ python shop/app.py \\\n    --unused\n"
        "$ cat seen.txt\n```\n"
        "```text\nit took 7 ms\n…\nunseen\n```\n"
    )
    assert follow(tmp_path, page) == 2


@pytest.mark.parametrize(
    ("page", "why"),
    [
        ("```console\n$ python -c 'exit(1)'\n```\n", "status 1 instead of 0"),
        ("<!-- exits with 1 -->\n```console\n$ true\n```\n", "status 0 instead of 1"),
        ("```console\n$ echo one\n```\n```text\ntwo\n```\n", "this line was not printed"),
        ("```console\n$ echo one\ntwo\n```\n", "this line was not printed"),
        ("```console\n$ printf 'b\\na\\n'\n```\n```text\na\nb\n```\n", "or not here"),
        ("```python\nprint(1)\n```\n", "neither a file nor run"),
    ],
)
def test_what_a_page_says_and_does_not_happen_is_an_error_at_its_line(tmp_path, page, why):
    with pytest.raises(AssertionError, match=why) as raised:
        follow(tmp_path, page)
    assert re.match(r"page.md:\d+: ", str(raised.value))


def test_a_block_that_is_excused_is_not_run_and_the_next_one_is(tmp_path):
    page = "<!-- not run: a reason -->\n```console\n$ false\n```\n```console\n$ true\n```\n"
    assert follow(tmp_path, page) == 1


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("pass     test_p  930/s", "pass      test_p     4099/s"),
        (SLOWER, f"{SLOWER} × 1.06 slower machine"),
        ("a (1.0 ms for one, 1.5 ms of noise)", "a (1.0 ms for one)"),
        ("=== 1 passed in 2.31s ===", "===== 1 passed in 10.02s ====="),
        ("  machine  …", "  machine  excluded: 1 ms run-queue delay; CPU at reference speed"),
        ("cause  …", "cause  any"),
    ],
)
def test_what_depends_on_the_machine_may_differ(shown, printed):
    assert re.fullmatch(pages.as_pattern(shown), printed)


@pytest.mark.parametrize(
    ("shown", "printed"), [("1 passed", "1 failed"), ("a  b", "ab"), ("limit", "a limit")]
)
def test_words_may_not_differ(shown, printed):
    assert not re.fullmatch(pages.as_pattern(shown), printed)
