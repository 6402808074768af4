"""With other plugins switched off or loaded in another order, and a run that ends in its middle."""

import itertools
import json

import pytest

GET = """
import asyncio
import pytest

{more}

@pytest.mark.nonblocking(concurrency=4)
@pytest.mark.parametrize("path", ["/", "/blocking"])
async def test_it(nonblocking_client, path):
    assert (await nonblocking_client.get(path)).status_code == 200
"""
ON_ASYNCIO = """
@pytest.fixture
def anyio_backend():
    return "asyncio"
"""
ON_TRIO = """
import pytest

@pytest.fixture
def anyio_backend():
    return "trio"

@pytest.mark.nonblocking(concurrency=4)
async def test_on_trio():
    import trio
    await trio.sleep(0.01)
"""


def test_anyios_plugin_alone_runs_tests_with_its_marker(project):
    project.makepyfile(GET.format(more=f"pytestmark = pytest.mark.anyio\n{ON_ASYNCIO}"))
    result = project.runpytest_subprocess("-p", "no:asyncio", "--strict-markers", "-W", "error")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*cause*blocking-call: *", "nonblocking: 2 measured: *"])


@pytest.mark.parametrize("flags", [["--strict-markers"], ["-W", "error"]])
def test_without_any_runner_a_marked_coroutine_fails_and_names_the_plugins(project, flags):
    project.makepyfile(GET.format(more="def test_other(): pass"))
    # In a process of its own: in this one pytest knows pytest-asyncio's marker for good.
    result = project.runpytest_subprocess("-p", "no:asyncio", *flags)
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(["async def functions are not natively supported*"])
    result.stdout.fnmatch_lines(["*- anyio", "*- pytest-asyncio"])
    # The user has written no such marker.
    result.stdout.no_fnmatch_line("*pytest.mark.asyncio*")


PLUGINS = ("pytest_asyncio.plugin", "anyio.pytest_plugin", "pytest_nonblocking.plugin")


@pytest.mark.parametrize("first", PLUGINS)
def test_plugins_may_be_loaded_in_any_order(project, monkeypatch, request, first):
    pytest.importorskip("trio", reason="trio is not installed")
    if "anyio_mode" not in request.config._parser._inidict:
        pytest.skip("this anyio has no auto mode")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS")
    project.makepyfile(ON_TRIO)
    start = PLUGINS.index(first)
    order = [*PLUGINS[start:], *PLUGINS[:start]]
    flags = itertools.chain.from_iterable(("-p", name) for name in order)
    result = project.runpytest_subprocess(*flags, "-o", "anyio_mode=auto")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["nonblocking: 1 measured: 1 pass"])


def test_the_report_is_written_without_a_terminal(project):
    project.makepyfile(GET.format(more=""))
    result = project.runpytest("-p", "no:terminal", "--nonblocking-report=out.json")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    tests = json.loads((project.path / "out.json").read_text("utf-8"))["tests"]
    assert [test["verdict"] for test in tests] == ["pass", "fail"]


@pytest.mark.parametrize("runner", ["asyncio", "anyio"])
@pytest.mark.parametrize("condition", ["True", "virtual_user() == 2"], ids=["alone", "in-a-burst"])
def test_exit_in_the_body_ends_the_run(project, runner, condition):
    project.makepyfile(
        f"""
        import pytest
        {ON_ASYNCIO.strip().replace(chr(10), chr(10) + " " * 8)}

        @pytest.mark.{runner}
        @pytest.mark.nonblocking(concurrency=4)
        async def test_it(nonblocking_client, virtual_user):
            await nonblocking_client.get("/")
            if {condition}:
                pytest.exit("enough")

        def test_never():
            raise AssertionError
        """
    )
    result = project.runpytest()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*Exit: enough*"])
    result.assert_outcomes()


def test_xfail_in_some_copies_of_a_burst(project):
    project.makepyfile(
        """
        import pytest

        @pytest.mark.nonblocking(concurrency=4)
        async def test_it(nonblocking_client, virtual_user):
            await nonblocking_client.get("/")
            if virtual_user() == 2:
                pytest.xfail("not three at once")
        """
    )
    result = project.runpytest("-rx")
    result.assert_outcomes(xfailed=1)
    result.stdout.fnmatch_lines(["XFAIL*not three at once*"])
