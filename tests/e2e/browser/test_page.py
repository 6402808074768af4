"""The page of a report in a real browser: nothing fetched, nothing broken, usable by keyboard."""

import itertools
import json
import shutil

import pytest
from reported import culprit, failing, record, report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed"
)

HOSTILE = "test_x.py::test['\"><img src=x onerror=alert(1)></script><script>alert(2)</script>]"
TESTS = [
    record("test_shop.py::test_b", serial_fraction=0.02, max_lag_ms=3.0),
    failing(),
    failing(
        HOSTILE,
        cause="serialised-wait",
        serial_fraction=0.5,
        max_lag_ms=11.0,
        message=f"{HOSTILE}\n  where",
        notes=[HOSTILE],
        culprit=culprit(code=HOSTILE, source={"first": 41, "lines": [HOSTILE, "x" * 300]}),
        stacks=[{"frames": [HOSTILE, "y" * 200], "count": 3}],
    ),
    record("test_shop.py::test_a", verdict="not-measured", levels=[], serial_fraction=None),
]


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
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, tmp_path):
    """The page of the tests above, at a desktop's width."""
    return opened(browser, tmp_path, report(*TESTS))


def opened(browser, folder, document, width=1280):
    html_report = pytest.importorskip(
        "pytest_nonblocking.reporting.html_report", reason="the extra html is not installed"
    )
    path = folder / "report.html"
    path.write_text(html_report.render(document), encoding="utf-8")
    browser.get("about:blank")
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    # The window has a least width, so a phone is emulated.
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    browser.get(path.as_uri())
    return browser


def css(browser, selector):
    return browser.find_elements("css selector", selector)


def shown(browser):
    return [
        row.text.split("\n")[0] for row in css(browser, "tbody tr td.name") if row.is_displayed()
    ]


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
    page.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")
    widths = page.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert widths[0] == widths[1] <= width


def test_a_click_sorts_and_another_turns_it_round(page):
    heads = css(page, "#overview ~ div.card thead th")
    (name,) = (head for head in heads if head.text.startswith("Test"))
    name.find_element("css selector", "button").click()
    assert name.get_attribute("aria-sort") == "ascending"
    assert shown(page) == sorted(shown(page), key=str.lower)
    ascending = shown(page)
    name.find_element("css selector", "button").click()
    assert name.get_attribute("aria-sort") == "descending"
    assert shown(page) == ascending[::-1]


def test_numbers_sort_as_numbers_by_keyboard(page):
    from selenium.webdriver.common.keys import Keys

    heads = css(page, "#overview ~ div.card thead th")
    (lag,) = (head for head in heads if head.text.startswith("Longest step"))
    lag.find_element("css selector", "button").send_keys(Keys.ENTER)
    column = [float(row.text) for row in css(page, "#overview ~ div.card tbody tr td:last-child")]
    assert column == [0.0, 3.0, 11.0, 50.0]


def test_filters_leave_what_fits_in_the_table_and_below(page):
    from selenium.webdriver.support.ui import Select

    Select(css(page, "#verdict")[0]).select_by_value("fail")
    assert len(shown(page)) == 2
    Select(css(page, "#cause")[0]).select_by_value("blocking-call")
    assert shown(page) == ["test_shop.py::test_export"]
    assert css(page, "#shown")[0].text == "1 of 4 shown"
    assert [d.is_displayed() for d in css(page, "details.test")] == [True, False, False, False]
    Select(css(page, "#verdict")[0]).select_by_value("")
    Select(css(page, "#cause")[0]).select_by_value("")
    css(page, "#text")[0].send_keys("SHOP")
    assert len(shown(page)) == 3


def test_a_link_opens_the_test_it_points_to(page):
    link = css(page, "a[href='#test-1']")[0]
    assert css(page, "#test-1")[0].get_attribute("open") is None
    link.click()
    assert css(page, "#test-1")[0].get_attribute("open") is not None


def test_a_screen_reader_finds_its_way(page):
    page.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")
    assert page.execute_script("return document.documentElement.lang") == "en"
    assert [len(css(page, name)) for name in ("h1", "main", "header")] == [1, 1, 1]
    for control in css(page, "input, select"):
        assert control.accessible_name
    drawings = css(page, "svg")
    assert len(drawings) == 3 * 2 + 2  # two charts of each measured test, and two timelines
    assert all(drawing.aria_role in ("img", "image") for drawing in drawings)
    assert all(drawing.accessible_name for drawing in drawings)
    ids = page.execute_script("return [...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))
    levels = [int(h.tag_name[1]) for h in css(page, "h1, h2, h3")]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_the_line_at_fault_is_marked(page):
    css(page, "#test-2 summary")[0].click()
    (line,) = css(page, "#test-2 .source .at")
    assert line.text.split(maxsplit=1) == ["41", "time.sleep(0.05)"]


def test_a_report_of_nothing_says_so(browser, tmp_path):
    page = opened(browser, tmp_path, report())
    assert "Nothing was measured" in css(page, "main")[0].text
    assert page.get_log("browser") == []
