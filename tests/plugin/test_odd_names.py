"""Names and reasons that are no text, as a user may have them: the run ends with all its files."""

import json
import os
import subprocess
import sys

import pytest

SUITE = r"""
import asyncio, time, pytest

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("no lifespan here")
    time.sleep(0.05)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})

@pytest.fixture
def nonblocking_app():
    return app

@pytest.mark.asyncio
@pytest.mark.nonblocking(concurrency=4, allow={"thread-pool": "half \ud800"})
@pytest.mark.parametrize("n", [1], ids=["\x1b[31m\ud800"])
async def test_it(nonblocking_client, n):
    await nonblocking_client.get("/a%1b[31m%00%0Ab")
"""
ENDINGS = ("json", "md", "html", "sarif", "xml")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such folder")
@pytest.mark.parametrize("flags", [[], ["-n1"]], ids=["plain", "xdist"])
def test_a_folder_and_a_reason_that_are_no_text_lose_no_report(tmp_path, flags):
    pytest.importorskip(
        "pytest_nonblocking.reporting.html_report", reason="the extra html is not installed"
    )
    pytest.importorskip("sarif_pydantic", reason="the extra sarif is not installed")
    if flags:
        pytest.importorskip("xdist", reason="pytest-xdist is not installed")
        folder = tmp_path / "text"  # xdist's own messages cannot hold another name
    else:
        folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    (folder / "test_it.py").write_text(SUITE, encoding="utf-8")
    files = [f"--nonblocking-report=out.{ending}" for ending in ENDINGS[:-1]]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "--junitxml=out.xml", *files, *flags],
        cwd=folder,
        capture_output=True,
        timeout=60,
        check=False,
    )
    shown = (done.stdout + done.stderr).decode(errors="replace")
    assert "nonblocking: 1 measured: 1 fail\n" in shown, shown
    assert "Traceback" not in shown
    assert r"GET /a\x1b[31m\x00\nb blocks the event loop" in shown
    assert b"\x1b[31m" not in done.stdout
    for ending in ENDINGS:
        text = (folder / f"out.{ending}").read_text("utf-8")
        assert not {"\x1b", "\0"} & set(text)
        assert "/a" in text
    (test,) = json.loads((folder / "out.json").read_text("utf-8"))["tests"]
    assert test["limits"]["allow"]["value"] == {"thread-pool": r"half \ud800"}
