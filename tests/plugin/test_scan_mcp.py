"""A scan of an MCP server: each tool is a test."""

import json

import pytest

pytest.importorskip("mcp", reason="mcp is not installed")

APP = """
import asyncio, contextlib, time
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.routing import Mount
try:
    from mcp.server.mcpserver import MCPServer
except ImportError:
    from mcp.server.fastmcp import FastMCP as MCPServer

class Item(BaseModel):
    name: str
    size: int

def create_app():
    server = MCPServer("shop")

    @server.tool()
    async def order(item: Item, times: int = 2) -> str:
        await asyncio.sleep(0.02)
        return item.name

    @server.tool()
    async def held() -> str:
        time.sleep(0.05)
        return "held"

    @server.tool()
    async def find(code: str) -> str:
        await asyncio.sleep(0.02)
        if code != "right":
            raise ValueError("no such code")
        return code

    return server.streamable_http_app()

def create_mounted():
    tools = create_app()

    @contextlib.asynccontextmanager
    async def lifespan(app):
        async with tools.router.lifespan_context(tools):
            yield

    return Starlette(routes=[Mount("/tools", app=tools)], lifespan=lifespan)
"""


@pytest.fixture
def suite(pytester):
    pytester.makepyfile(webapp=APP)
    pytester.makeini(
        "[pytest]\npythonpath = .\nnonblocking_app = webapp:create_app()\n"
        "nonblocking_scan_methods = POST\n"
    )
    return pytester


def test_each_tool_is_measured_in_a_session(suite):
    result = suite.runpytest("--nonblocking-scan", "--nonblocking-report=out.json")
    result.assert_outcomes(passed=1, failed=1, skipped=1)
    report = json.loads((suite.path / "out.json").read_text("utf-8"))
    found = {one["nodeid"]: one for one in report["tests"]}
    assert {name: one["verdict"] for name, one in found.items()} == {
        "scan::POST /mcp#order": "pass",
        "scan::POST /mcp#held": "fail",
        "scan::POST /mcp#find": "not-measured",
    }
    assert found["scan::POST /mcp#held"]["cause"] == "blocking-call"
    result.stdout.fnmatch_lines(
        [
            "*POST /mcp#find: the app answered 200 *find*: give its inputs",
            '*"POST /mcp#find": {"code": ...},',
        ]
    )


def test_a_value_for_a_tool_is_one_of_its_arguments(suite):
    suite.makeconftest(
        """
        import pytest
        from pytest_nonblocking import Scan

        @pytest.fixture
        def nonblocking_scan():
            return Scan(inputs={"POST /mcp#find": {"code": "right"}})
        """
    )
    suite.runpytest("--nonblocking-scan", "scan::POST /mcp#find").assert_outcomes(passed=1)


def test_tools_change_data_unless_their_method_is_allowed(suite):
    result = suite.runpytest("--nonblocking-scan", "--nonblocking-scan-methods=GET")
    result.stdout.fnmatch_lines(["*3 operations in webapp:create_app(), 0 scanned; *: 3 POST"])


def test_a_server_that_is_mounted(suite):
    app = "--nonblocking-app=webapp:create_mounted()"
    suite.runpytest("--nonblocking-scan", app, "scan::POST /tools/mcp#order").assert_outcomes(
        passed=1
    )
