"""What a report holds of the requests that a test sends, and the scripts made of it."""

import json

import pytest

TEST = """
import httpx
import pytest

@pytest.mark.nonblocking(concurrency=4)
async def test_order(nonblocking, nonblocking_client, virtual_user):
    async with nonblocking.setup():
        await nonblocking_client.get("/login")
    headers = {"Authorization": "Bearer SECRET", "X-User": str(virtual_user())}
    await nonblocking_client.get("/items", params={"q": "tea"}, headers=headers)
    await nonblocking_client.post("/orders", json={"item": 1})
"""


def requests_of(project, *arguments):
    project.runpytest("--nonblocking-report=report.json", *arguments).assert_outcomes(passed=1)
    text = (project.path / "report.json").read_text("utf-8")
    assert "SECRET" not in text
    (test,) = json.loads(text)["tests"]
    return [(r["method"], r["path"], r["body"], r["headers"]) for r in test["requests"]]


@pytest.mark.parametrize("transport", ["asgi", "uvicorn"])
def test_a_report_holds_what_one_copy_sends_without_its_set_up(project, transport):
    pytest.importorskip("uvicorn", reason="uvicorn is not installed")
    project.makepyfile(TEST)
    get, post = requests_of(project, f"--nonblocking-transport={transport}")
    assert get[:3] == ("GET", "/items?q=tea", "")
    assert {"authorization": None, "x-user": "0"}.items() <= get[3].items()
    assert post[:3] == ("POST", "/orders", '{"item":1}')


def test_each_measurement_of_a_test_has_its_own(project):
    project.makepyfile(
        """
        import pytest

        @pytest.mark.asyncio
        async def test_both(nonblocking, nonblocking_client):
            await nonblocking_client.get("/before")
            for path in ("/a", "/b"):
                await nonblocking.measure(lambda: nonblocking_client.get(path), concurrency=2)
        """
    )
    project.runpytest("--nonblocking-report=report.json").assert_outcomes(passed=1)
    tests = json.loads((project.path / "report.json").read_text("utf-8"))["tests"]
    assert [[r["path"] for r in test["requests"]] for test in tests] == [["/a"], ["/b"]]


def test_a_script_is_exported_and_not_written_over(project, monkeypatch, capsys):
    from pytest_nonblocking.gate.cli import main

    project.makepyfile(TEST)
    requests_of(project)
    monkeypatch.chdir(project.path)
    assert main(["export", "report.json", "--locust"]) == 0
    assert 'self.client.request("POST", "/orders"' in (project.path / "locustfile.py").read_text()
    assert main(["export", "report.json", "--locust"]) == 2
    assert "locustfile.py is there already" in capsys.readouterr().err
    assert main(["export", "report.json", "--k6", "-o", "load.js"]) == 0
    assert "k6 run" in (project.path / "load.js").read_text()


def test_a_report_without_requests_is_refused(project, monkeypatch, capsys):
    from pytest_nonblocking.gate.cli import main

    project.makepyfile(
        """
        import asyncio
        import pytest

        @pytest.mark.nonblocking(concurrency=2)
        async def test_it():
            await asyncio.sleep(0.01)
        """
    )
    assert requests_of(project) == []
    monkeypatch.chdir(project.path)
    assert main(["export", "report.json", "--k6"]) == 2
    assert "the report holds no requests" in capsys.readouterr().err
    assert not (project.path / "k6.js").exists()
