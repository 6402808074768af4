"""The page of a report in a real browser: nothing fetched, nothing broken, usable by keyboard."""

import itertools
import json
import shutil

import pytest
from reported import culprit, failing, finding, record, report

from pytest_nonblocking.gate import cli
from pytest_nonblocking.reporting.plain import text_of

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed"
)

HOSTILE = "test_x.py::test['\"><img src=x onerror=alert(1)></script><script>alert(2)</script>]"
LIMITS = {
    "max_serial_fraction": {"value": 0.1, "from": "default"},
    "max_lag": {"value": 0.02, "from": "marker"},
    "max_blocked": {"value": 0.005, "from": "default"},
    "guard_categories": {"value": ["sleep", "dns"], "from": "default"},
}
BLOCKING = {"fraction": 0.9, "low": 0.8, "high": 1.0, "limit": 0.1}
TESTS = [
    record("test_shop.py::test_b", serial_fraction=0.02, max_lag_ms=3.0, limits=LIMITS),
    failing(judged=BLOCKING, limits=LIMITS),
    failing(
        HOSTILE,
        cause="serialised-wait",
        reasons=["scaling"],
        target=HOSTILE,
        serial_fraction=0.5,
        judged={"fraction": 0.5, "low": 0.4, "high": 0.6, "limit": 0.1},
        max_lag_ms=11.0,
        max_blocked_ms=0.0,
        message=f"nonblocking: {HOSTILE} {HOSTILE}\n  where",
        fix=HOSTILE,
        notes=[HOSTILE],
        limits=LIMITS,
        culprit=culprit(code=HOSTILE, source={"first": 41, "lines": [HOSTILE, "x" * 300]}),
        stacks=[{"frames": [HOSTILE, "y" * 200], "count": 3, "user": [True, False]}],
    ),
    record("test_shop.py::test_a", verdict="not-measured", levels=[], serial_fraction=None,
           judged=None, ceiling_rps=None, notes=["the loop is of no known kind"]),
    failing("test_shop.py::test_import", target="GET /import", judged=BLOCKING | {"fraction": 0.85},
            limits=LIMITS),
]  # fmt: skip


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A headless Chromium that logs what its pages ask for."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (
        "headless",
        "no-sandbox",
        "disable-gpu",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        "disable-dev-shm-usage",
        f"user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_script_timeout(120)
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, tmp_path):
    """The page of the tests above, at a desktop's width."""
    return opened(browser, tmp_path, report(*TESTS))


def opened(browser, folder, document, width=1280, scheme="light", media="screen", before=None):
    html_report = pytest.importorskip(
        "pytest_nonblocking.reporting.html_report", reason="the extra html is not installed"
    )
    path = folder / "report.html"
    if before is None:
        path.write_text(html_report.render(document), encoding="utf-8")
    else:
        (folder / "a.json").write_text(text_of(before), encoding="utf-8")
        (folder / "b.json").write_text(text_of(document), encoding="utf-8")
        names = [str(folder / name) for name in ("a.json", "b.json")]
        cli.main(["compare", *names, "-o", str(path), "--force"])
    browser.get("about:blank")
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    # The window has a least width, so a phone is emulated.
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
    browser.get(path.as_uri())
    return browser


def css(browser, selector):
    return browser.find_elements("css selector", selector)


def shown(browser):
    return [row.text for row in css(browser, "#overview td:nth-child(2)") if row.is_displayed()]


def head(browser, title):
    heads = css(browser, "#overview thead th")
    (found,) = (one for one in heads if one.text.startswith(title))
    return found, found.find_element("css selector", "button")


def unfold(browser):
    browser.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")


def test_no_script_fails_and_nothing_is_fetched(page):
    assert [entry["message"] for entry in page.get_log("browser")] == []
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert len([url for url in asked if url.startswith("file:")]) == 1


def test_what_the_app_named_is_text_and_no_markup(page):
    assert css(page, "img") == []
    assert len(css(page, "script")) == 1
    assert HOSTILE in shown(page)


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_screen(browser, tmp_path, width):
    page = opened(browser, tmp_path, report(*TESTS), width)
    unfold(page)
    widths = page.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert widths[0] == widths[1] <= width


def test_the_first_screen_says_what_when_how_and_of_which_commit(page):
    first = css(page, "header")[0].text
    for fact in (
        "3 of 5 measurements fail",
        "2026-01-31 09:05:00+01:00, took 1 min 5 s",
        "pytest tests",
        "shop.main:app",
        "0123456789ab with uncommitted changes",
    ):
        assert fact in first
    links = {link.text: link.get_attribute("href") for link in css(page, "header a")}
    assert links["GitHub Actions"] == "https://ci.example/runs/1"


def test_failures_of_one_line_are_one_card_with_the_fix_and_one_drawing(page):
    cards = css(page, "article.group")
    titles = [card.find_element("css selector", "h3").text for card in cards]
    assert titles[0] == "fail shop/app.py:41 blocks the event loop"
    assert len(cards) == 2
    text = cards[0].text
    for fact in (
        "Each request occupies the loop for 50 ms.",
        "8 at once 400 ms",
        "at most 20 requests/s",
        "await asyncio.sleep(…), or make the handler def",
        "0.90 (0.80–1.00), limit 0.10 (default)",
        "49 ms, limit 5 ms (default)",
        "50 ms, limit 20 ms (from marker)",
        "2 tests fail here",
    ):
        assert fact in text, text
    drawings = cards[0].find_elements("css selector", "svg")
    assert [one.is_displayed() for one in drawings].count(True) == 1
    (link,) = cards[0].find_elements("css selector", "dd a[href^=https]")
    assert link.get_attribute("href") == "https://ci.example/blob/0123/shop/app.py#L41"
    assert not [pre for pre in css(page, "pre") if "nonblocking:" in pre.text]


def test_at_a_desk_a_place_opens_in_an_editor(browser, tmp_path):
    at_desk = {"started": "2026-01-31", "duration_s": 1.0, "command": "pytest", "rootdir": "/a b"}
    page = opened(browser, tmp_path, report(*TESTS, session=at_desk))
    (link,) = css(page, "#culprit-1 dd a[href^=vscode]")
    assert link.get_attribute("href") == "vscode://file/a%20b/shop/app.py:41"


def test_failures_are_open_and_passes_closed(page):
    assert all(card.is_displayed() for card in css(page, "article.group .source"))
    details = css(page, "section:not(:first-of-type) details")
    folded = {one.get_attribute("data-word"): one for one in details}
    assert folded["pass"].get_attribute("open") is None
    assert folded["not-measured"].get_attribute("open") is not None


def test_the_worst_comes_first_and_a_click_sorts_and_another_turns_it_round(page):
    order = ["test_export", "test_import", "test[", "test_a", "test_b"]
    assert [name in row for name, row in zip(order, shown(page), strict=True)] == [True] * 5
    cell, button = head(page, "Test")
    button.click()
    assert cell.get_attribute("aria-sort") == "ascending"
    ascending = shown(page)
    button.click()
    assert cell.get_attribute("aria-sort") == "descending"
    assert shown(page) == ascending[::-1] != ascending


def test_numbers_sort_as_numbers_by_keyboard(page):
    from selenium.webdriver.common.keys import Keys

    _, button = head(page, "Longest step")
    button.send_keys(Keys.ENTER)
    cells = css(page, "#overview tbody td:last-child")
    assert [cell.text for cell in cells] == ["50 ms", "50 ms", "11 ms", "3 ms", "–"]
    _, button = head(page, "Throughput")
    button.send_keys(Keys.ENTER)
    cells = css(page, "#overview tbody td:nth-child(6)")
    assert [cell.text.split()[0] for cell in cells] == ["–", "20", "20", "20", "5000"]


def test_filters_leave_what_fits_in_the_table_and_in_the_cards(page):
    from selenium.webdriver.support.ui import Select

    css(page, "button[data-word=fail]")[0].click()
    assert len(shown(page)) == 3
    Select(css(page, "#cause")[0]).select_by_value("blocking-call")
    assert css(page, "#shown")[0].text == "2 of 5 shown"
    assert [card.is_displayed() for card in css(page, "article.group")] == [True, False]
    css(page, "#text")[0].send_keys("IMPORT")
    assert shown(page) == ["test_shop.py::test_import"]
    css(page, "button[data-word=fail]")[0].click()
    Select(css(page, "#cause")[0]).select_by_value("")
    css(page, "#text")[0].clear()
    css(page, "button[data-word=pass]")[0].click()
    assert shown(page) == ["test_shop.py::test_b"]
    assert not css(page, "#failures")[0].is_displayed()


def test_a_link_opens_the_test_it_points_to(page):
    link = css(page, "a[href='#test-1']")[0]
    assert not css(page, "#test-1")[0].is_displayed()
    link.click()
    assert css(page, "#test-1")[0].is_displayed()


def test_a_screen_reader_finds_its_way(page):
    unfold(page)
    assert page.execute_script("return document.documentElement.lang") == "en"
    assert [len(css(page, name)) for name in ("h1", "main", "header")] == [1, 1, 1]
    for control in css(page, "input, select"):
        assert control.accessible_name
    drawings = css(page, "svg")
    assert len(drawings) == 4 * 2 + 3 + 3  # two charts of each measured test; timelines and trends
    assert all(drawing.aria_role in ("img", "image") for drawing in drawings)
    assert all(drawing.accessible_name for drawing in drawings)
    ids = page.execute_script("return [...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))
    levels = [int(h.tag_name[1]) for h in css(page, "h1, h2, h3, h4")]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_every_term_leads_to_its_meaning(page):
    ids = {term.get_attribute("id") for term in css(page, ".glossary dt")}
    leading = [a.get_attribute("href").partition("#")[2] for a in css(page, "a.term")]
    assert len(set(leading)) > 5
    assert set(leading) <= ids
    assert all(a.get_attribute("title") for a in css(page, "a.term"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_no_barrier(browser, tmp_path, width, scheme):
    axe = pytest.importorskip("axe_core_python.selenium", reason="axe-core-python is missing")
    page = opened(browser, tmp_path, report(*TESTS), width, scheme)
    unfold(page)
    found = axe.Axe().run(page)["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []


def test_a_phone_shows_each_measurement_as_a_card(browser, tmp_path):
    page = opened(browser, tmp_path, report(*TESTS), 390)
    row = css(page, "#overview tbody tr")[0]
    cells = [cell for cell in row.find_elements("css selector", "td") if cell.is_displayed()]
    tops = [cell.rect["y"] for cell in cells]
    assert len(cells) == 7
    assert tops == sorted(set(tops))  # one below the other
    assert all(cell.rect["x"] + cell.rect["width"] <= 390 for cell in cells)


def test_print_leaves_the_controls_out_and_keeps_the_failures(browser, tmp_path):
    page = opened(browser, tmp_path, report(*TESTS), media="print")
    assert not css(page, "#text")[0].is_displayed()
    assert not css(page, "nav")[0].is_displayed()
    assert all(card.is_displayed() for card in css(page, "article.group .source"))


def test_without_a_script_all_can_be_read_and_no_control_is_dead(browser, tmp_path):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        page = opened(browser, tmp_path, report(*TESTS))
        controls = css(page, "button, input, select")
        assert not [one for one in controls if one.is_displayed() and one.is_enabled()]
        assert len(css(page, "article.group")) == 2
        assert len(shown(page)) == 5
        css(page, "a[href='#test-1']")[0].click()  # the browser itself unfolds its target
        assert css(page, "#test-1")[0].is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_the_line_at_fault_is_marked(page):
    (line,) = css(page, "#culprit-1 .source .at")
    assert line.text.split(maxsplit=1) == ["41", "time.sleep(0.05)"]


def test_the_users_frames_are_marked(page):
    unfold(page)
    frames = css(page, "#culprit-1 .flame div div, #culprit-1 .flame li > div")
    assert {frame.text for frame in frames if "mine" in frame.get_attribute("class")} == {
        "export (shop/app.py:41)",
        "export (shop/app.py:42)",
    }
    assert "sleep (time:1)" in {frame.text for frame in frames}


def test_all_measured_points_are_drawn_and_say_what_they_are(page):
    unfold(page)
    slowest = css(page, "#culprit-1 details:first-of-type .series.slowest circle")
    assert len(slowest) == 6  # three runs at each of two concurrencies
    titles = page.execute_script(
        "return [...document.querySelectorAll('#culprit-1 .series.slowest title')]"
        ".map((t) => t.textContent)"
    )
    assert "8 at once, slowest: 360 ms" in titles


def test_a_legend_lists_only_what_occurs(page):
    unfold(page)
    (legend,) = css(page, "#test-2 .budget .legend")
    assert legend.text.split("\n") == ["on the CPU", "blocked"]


def test_a_passing_drawing_has_another_colour_than_a_failing_one(page):
    unfold(page)
    colours = [
        css(page, f"{test} .series.slowest circle")[0].value_of_css_property("fill")
        for test in ("#test-1", "#test-2")
    ]
    assert len(set(colours)) == 2


def test_limits_have_units(page):
    unfold(page)
    settings = css(page, "#test-1 > ul:last-child")[0].text
    assert "max_lag = 20 ms from marker" in settings
    assert "max_serial_fraction = 0.1 of a single run's latency" in settings
    assert "guard_categories = sleep, dns default" in settings


def test_a_failure_of_the_guard_alone_has_its_place_and_its_fix(browser, tmp_path):
    guarded = failing(
        reasons=["guard"],
        culprit=None,
        fix=None,
        message="nonblocking: GET /export makes calls that block the event loop",
        guard=[finding()],
    )
    page = opened(browser, tmp_path, report(guarded))
    text = css(page, "article.group")[0].text
    assert "GET /export makes calls that block the event loop" in text
    assert "shop/app.py:41 in export" in text
    assert "await asyncio.sleep(…)" in text


def test_a_report_of_nothing_says_so(browser, tmp_path):
    page = opened(browser, tmp_path, report())
    assert "Nothing was measured" in css(page, "main")[0].text
    assert page.get_log("browser") == []


BEFORE = [TESTS[0], record("test_shop.py::test_export", limits=LIMITS), *TESTS[2:4]]


def test_two_reports_stand_side_by_side_and_the_worse_come_first(browser, tmp_path):
    page = opened(browser, tmp_path, report(*TESTS), before=report(*BEFORE))
    assert page.get_log("browser") == []
    assert css(page, "h1")[0].text == "5 measurements compared: 2 worse"
    rows = [
        [cell.text.split("\n")[0] for cell in row.find_elements("css selector", "td")]
        for row in css(page, "#overview tbody tr")
    ]
    assert rows[0] == [
        "worse",
        "test_shop.py::test_export",
        "pass",
        "fail, blocking-call",
    ]
    assert rows[1][2:] == ["–", "fail, blocking-call"]
    css(page, "button[data-word=same]")[0].click()
    assert css(page, "#shown")[0].text == "3 of 5 shown"
    assert len(shown(page)) == 3


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_axe_finds_no_barrier_between_two_reports(browser, tmp_path, width, scheme):
    axe = pytest.importorskip("axe_core_python.selenium", reason="axe-core-python is missing")
    page = opened(browser, tmp_path, report(*TESTS), width, scheme, before=report(*BEFORE))
    found = axe.Axe().run(page)["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
    widest = page.execute_script("return document.documentElement.scrollWidth")
    assert widest <= width


def test_the_trend_of_a_test_shows_its_earlier_runs(page):
    unfold(page)
    (trend,) = css(page, "#test-2 .trend")
    assert trend.text.startswith("Trend over 3 runs, in ms")
    titles = page.execute_script(
        "return [...document.querySelectorAll('#test-2 .series.adds title')]"
        ".map((t) => t.textContent)"
    )
    assert titles == [
        "2026-01-29T09:00:00 aaaabbbbcccc: pass, each further request adds 1 ms",
        "2026-01-30T09:00:00 aaaabbbbcccc: fail, each further request adds 49 ms",
        "2026-01-31T09:05:00+01:00: fail, each further request adds 50 ms",
    ]
    assert not css(page, "#test-1 .trend")
