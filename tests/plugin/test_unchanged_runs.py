"""Runs that do not use the plugin, or another runner: installing it changes none of them."""

import pytest

ON_ANYIO = """
import pytest

@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.mark.anyio
async def test_it():
    pass
"""
OF_TRIO = '''
"""Runs tests as pytest-trio does."""
import inspect
import pytest
import trio

def pytest_addoption(parser):
    parser.addini("trio_mode", "", type="bool", default=False)

def pytest_configure(config):
    config.addinivalue_line("markers", "trio: runs on trio")

@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    for item in items:
        assert item.get_closest_marker("asyncio") is None
        if config.getini("trio_mode"):
            item.add_marker("trio")

@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    if pyfuncitem.get_closest_marker("trio"):
        body = pyfuncitem.obj
        pyfuncitem.obj = lambda **arguments: trio.run(lambda: body(**arguments))
    return (yield)
'''
UNSET = "*asyncio_default_fixture_loop_scope*is unset*"


@pytest.fixture
def run(pytester):
    """Run tests in a process of their own, whose warnings are errors."""
    pytester.makeini("[pytest]\nfilterwarnings = error\n")

    def run(*flags, ini=""):
        if ini:
            pytester.makeini(f"[pytest]\n{ini}\n")
        return pytester.runpytest_subprocess(*flags, timeout=60)

    return run


def test_a_suite_on_anyio_alone_runs_though_its_warnings_are_errors(pytester, run):
    pytester.makepyfile(ON_ANYIO)
    without = run("-p", "no:nonblocking", "-p", "no:asyncio")
    result = run()
    assert result.ret == without.ret == 0
    assert result.parseoutcomes() == without.parseoutcomes() == {"passed": 1}
    assert result.stderr.str() == without.stderr.str() == ""


@pytest.mark.parametrize(
    "how",
    [
        {"ini": "asyncio_mode = strict"},
        {"flags": ["--asyncio-mode=strict"]},
        {"flags": ["-o", "asyncio_mode=strict"]},
    ],
    ids=["ini", "flag", "override"],
)
def test_who_uses_pytest_asyncio_still_sees_what_it_warns_of(pytester, run, how):
    plugin = pytest.importorskip("pytest_asyncio.plugin")
    if not hasattr(plugin, "_DEFAULT_FIXTURE_LOOP_SCOPE_UNSET"):
        pytest.skip("this pytest-asyncio does not warn of the option")
    pytester.makepyfile("def test_it(): pass")
    result = run(*how.get("flags", []), ini=how.get("ini", "asyncio_debug = false"))
    result.stderr.fnmatch_lines([UNSET])


def test_no_filter_is_left_after_the_run(pytester):
    pytester.makepyfile("def test_it(): pass")
    pytester.makeconftest(
        """
        import atexit, warnings
        atexit.register(lambda: print("LEFT" if "loop_scope" in str(warnings.filters) else "NONE"))
        """
    )
    pytester.runpytest_subprocess("-s", timeout=60).stdout.fnmatch_lines(["NONE"])


@pytest.mark.parametrize(
    ("marker", "flags"),
    [("@pytest.mark.trio\n", []), ("", ["-o", "trio_mode=true"])],
    ids=["marker", "mode"],
)
def test_a_test_of_pytest_trio_is_measured_on_trio(pytester, marker, flags):
    pytest.importorskip("trio", reason="trio is not installed")
    pytester.makepyfile(
        of_trio=OF_TRIO,
        test_it="import pytest, time, trio\n\n"
        f"{marker}@pytest.mark.nonblocking(concurrency=2)\n"
        "async def test_it():\n    await trio.sleep(0)\n    time.sleep(0.05)\n",
    )
    result = pytester.runpytest_subprocess("-p", "of_trio", *flags, timeout=60)
    result.stdout.fnmatch_lines(["nonblocking: test_it blocks the event loop"])
