"""The marker means the same under every runner, every scope of the loop and every kind of test."""

import sys

import pytest

APP = """
import time

import anyio


async def app(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("no lifespan here")
    if scope["path"] == "/blocking":
        time.sleep(0.05)
    else:
        await anyio.sleep(0.02)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
"""
CULPRIT = 1 + APP.strip().splitlines().index("        time.sleep(0.05)")
# Of what these runs warn, nothing is the user's fault, so none of it may be there.
INI = """
[pytest]
pythonpath = .
addopts = --strict-markers
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""

PAIR = """
import asyncio, pytest

{more}

@pytest.mark.nonblocking(concurrency=4)
@pytest.mark.parametrize("path", ["/", "/blocking"])
async def test_it({client}, path):
    {check}
    assert (await {client}.get(path)).status_code == 200
"""


def pair(more="", client="nonblocking_client", check="pass"):
    """Return two marked tests in one module: of a healthy handler and of one that blocks."""
    return PAIR.format(more=more, client=client, check=check)


@pytest.fixture
def suite(project):
    project.makepyfile(webapp=APP)
    project.makeini(INI)
    return project


def assert_judged(result, pairs=1):
    """Half of the marked tests pass, half fail with the cause and its line, all were measured."""
    result.assert_outcomes(passed=pairs, failed=pairs)
    result.stdout.fnmatch_lines(
        [f"nonblocking: {2 * pairs} measured: {pairs} pass, {pairs} fail"], consecutive=True
    )
    text = result.stdout.str()
    # One text for one culprit, with the list of its tests.
    assert text.count("  fix      ") == 1
    assert text.count(f" where    webapp.py:{CULPRIT} in app\n") == 1
    assert pairs == 1 or f" tests    {pairs} tests fail for this line:\n" in text
    failed = [line for line in result.outlines if line.startswith("FAILED ")]
    assert all("blocking" in line.partition(" - ")[0] for line in failed), failed


# pytest-asyncio


SCOPED = {
    "function": 2,
    "class": 1,
    "module": 1,
    "package": 1,
    "session": 1,
}
"""How many loops the two tests of a pair have."""

COUNT = """
loops = set()

@pytest.fixture(scope="module", autouse=True)
def counted():
    yield
    assert len(loops) == {loops}
"""
NOTE_LOOP = "loops.add(asyncio.get_running_loop())"


def scoped_pair(scope):
    mark = f"pytestmark = pytest.mark.asyncio(loop_scope={scope!r})\n"
    text = pair(mark + COUNT.format(loops=SCOPED[scope]), check=NOTE_LOOP)
    if scope == "class":
        head, _, tests = text.partition("@pytest.mark.nonblocking")
        indented = f"@pytest.mark.nonblocking{tests}".replace("\n", "\n    ")
        text = f"{head}class TestIt:\n    {indented.replace('(nonblocking', '(self, nonblocking')}"
    return text


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_every_loop_scope_of_pytest_asyncio(suite, mode):
    for scope in SCOPED:
        folder = suite.mkpydir(f"in_{scope}")
        (folder / f"test_{scope}.py").write_text(scoped_pair(scope), "utf-8")
    result = suite.runpytest(f"--asyncio-mode={mode}")
    assert_judged(result, pairs=len(SCOPED))


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_a_test_without_a_runners_marker_has_the_default_loop_scope(suite, mode):
    suite.makepyfile(test_it=pair(COUNT.format(loops=1), check=NOTE_LOOP))
    result = suite.runpytest(
        f"--asyncio-mode={mode}", "-o", "asyncio_default_test_loop_scope=module"
    )
    assert_judged(result)


def test_uvloop_under_pytest_asyncio(suite):
    pytest.importorskip("uvloop", reason="uvloop is not installed")
    plugin = pytest.importorskip("pytest_asyncio.plugin")
    if not hasattr(plugin, "PytestAsyncioSpecs"):
        pytest.skip("this pytest-asyncio has no loop factories")
    suite.makeconftest(
        """
        import pytest, uvloop
        from webapp import app

        def pytest_asyncio_loop_factories(config, item):
            return {"uvloop": uvloop.new_event_loop}

        @pytest.fixture
        def nonblocking_app():
            return app
        """
    )
    check = 'assert type(asyncio.get_running_loop()).__module__.startswith("uvloop")'
    suite.makepyfile(test_it=pair("pytestmark = pytest.mark.asyncio", check=check))
    assert_judged(suite.runpytest())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with CPython 3.12")
@pytest.mark.parametrize("where", ["in-the-body", "in-a-fixture"])
def test_eager_tasks(suite, where):
    switch = "asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)"
    fixture = f"""
import pytest_asyncio

@pytest_asyncio.fixture(autouse=True)
async def eager():
    {switch}
"""
    check = "assert asyncio.get_running_loop().get_task_factory() is asyncio.eager_task_factory"
    if where == "in-the-body":
        fixture, check = "", f"{switch}; {check}"
    suite.makepyfile(test_it=pair(fixture, check=check))
    assert_judged(suite.runpytest())


# anyio


BACKENDS = {
    "asyncio": (
        "asyncio",
        'assert type(asyncio.get_running_loop()).__module__.startswith("asyncio")',
    ),
    "uvloop": (
        ("asyncio", {"use_uvloop": True}),
        'assert type(asyncio.get_running_loop()).__module__.startswith("uvloop")',
    ),
    "trio": ("trio", "import trio; trio.lowlevel.current_task()"),
}
BACKEND = """
@pytest.fixture
def anyio_backend():
    return {backend!r}
"""


@pytest.fixture(params=BACKENDS)
def backend(request):
    """A fixture that chooses the backend, and a statement that fails on any other."""
    if request.param != "asyncio":
        pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    value, check = BACKENDS[request.param]
    return BACKEND.format(backend=value), check


def test_every_backend_of_anyios_plugin(suite, backend):
    fixture, check = backend
    suite.makepyfile(test_it=pair(f"pytestmark = pytest.mark.anyio\n{fixture}", check=check))
    assert_judged(suite.runpytest())


def test_a_test_that_asks_for_a_backend_is_run_by_anyio(suite, backend):
    fixture, check = backend
    asks = 'pytestmark = pytest.mark.usefixtures("anyio_backend")\n'
    suite.makepyfile(test_it=pair(asks + fixture, check=check))
    assert_judged(suite.runpytest())


def test_the_auto_mode_of_anyio_runs_marked_tests_too(suite, backend, request):
    if "anyio_mode" not in request.config._parser._inidict:
        pytest.skip("this anyio has no auto mode")
    fixture, check = backend
    suite.makepyfile(test_it=pair(fixture, check=check))
    assert_judged(suite.runpytest("-o", "anyio_mode=auto"))


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_both_runners_in_one_suite(suite, mode):
    pytest.importorskip("trio", reason="trio is not installed")
    # In its auto mode pytest-asyncio takes every coroutine, so that anyio's are left the loop.
    backend = "asyncio" if mode == "auto" else "trio"
    _, on_asyncio = BACKENDS["asyncio"]
    anyio_mark = "pytestmark = pytest.mark.anyio\n" + BACKEND.format(backend=backend)
    suite.makepyfile(
        test_anyio=pair(anyio_mark, check=BACKENDS[backend][1]),
        test_asyncio=pair("pytestmark = pytest.mark.asyncio", check=on_asyncio),
        test_neither=pair(check=on_asyncio),
    )
    assert_judged(suite.runpytest(f"--asyncio-mode={mode}"), pairs=3)


# Kinds of tests


def test_tests_in_classes(suite):
    suite.makepyfile(
        """
        import pytest
        pytestmark = pytest.mark.nonblocking(concurrency=4)

        class TestMethods:
            def setup_method(self):
                self.expected = 200

            @pytest.fixture
            def client(self, nonblocking_client):
                self.instances = {id(self)}
                return nonblocking_client

            async def test_healthy(self, client):
                assert (await client.get("/")).status_code == self.expected
                assert self.instances == {id(self)}

            async def test_blocking(self, client):
                assert (await client.get("/blocking")).status_code == self.expected

        class TestStatic:
            @staticmethod
            @pytest.mark.asyncio
            async def test_healthy(nonblocking_client):
                assert (await nonblocking_client.get("/")).status_code == 200

            @staticmethod
            @pytest.mark.asyncio
            async def test_blocking(nonblocking_client):
                assert (await nonblocking_client.get("/blocking")).status_code == 200

        class TestInherited(TestMethods):
            pass
        """
    )
    assert_judged(suite.runpytest(), pairs=3)


def test_static_and_class_methods_without_a_runners_marker(suite):
    kinds = {"staticmethod": "nonblocking_client", "classmethod": "cls, nonblocking_client"}
    methods = """
            import pytest

            class TestIt:
                @{kind}
                @pytest.mark.nonblocking(concurrency=4)
                async def test_healthy({arguments}):
                    assert (await nonblocking_client.get("/")).status_code == 200

                @{kind}
                @pytest.mark.nonblocking(concurrency=4)
                async def test_blocking({arguments}):
                    assert (await nonblocking_client.get("/blocking")).status_code == 200
    """
    suite.makepyfile(**{f"test_{k}": methods.format(kind=k, arguments=a) for k, a in kinds.items()})
    assert_judged(suite.runpytest(), pairs=2)


def test_methods_of_a_unittest_case(suite):
    suite.makepyfile(
        """
        import unittest
        import pytest

        @pytest.mark.nonblocking(concurrency=4)
        class TestIt(unittest.IsolatedAsyncioTestCase):
            @pytest.fixture(autouse=True)
            def use_client(self, nonblocking_client):
                self.client = nonblocking_client

            async def asyncSetUp(self):
                self.expected = 200

            async def test_healthy(self):
                self.assertEqual((await self.client.get("/")).status_code, self.expected)

            async def test_blocking(self):
                self.assertEqual((await self.client.get("/blocking")).status_code, self.expected)
        """
    )
    # The loop of such a case is in debug mode: it logs slow callbacks, with the failure's text.
    assert_judged(suite.runpytest("-p", "no:logging"))


GIVEN = """
import pytest
from hypothesis import given, strategies

@given(strategies.integers())
@pytest.mark.nonblocking
{async_}def test_it(nonblocking_client, number):
    raise AssertionError("the body ran")
"""


@pytest.mark.parametrize("async_", ["async ", ""])
def test_error_when_hypothesis_decides_how_often_the_body_runs(suite, async_):
    pytest.importorskip("hypothesis", reason="Hypothesis is not installed")
    suite.makepyfile(test_it=GIVEN.format(async_=async_))
    result = suite.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: test_it.py::test_it: *nonblocking and Hypothesis' @given*a single example*"]
    )
    assert "the body ran" not in result.stdout.str()


# Clients of the user's own


OWN_CLIENT = """
import {library}
from webapp import app

@{fixture}
async def client():
    transport = {library}.ASGITransport(app=app)
    async with {library}.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client
"""


def own_client(library, fixture):
    return "import pytest_asyncio\n" + OWN_CLIENT.format(library=library, fixture=fixture)


@pytest.fixture(params=["httpx", "httpx2"])
def library(request):
    return pytest.importorskip(request.param, reason=f"{request.param} is not installed").__name__


def test_a_client_of_the_users_own(suite, library):
    for_session = own_client(
        library, 'pytest_asyncio.fixture(scope="session", loop_scope="session")'
    )
    session = 'pytestmark = pytest.mark.asyncio(loop_scope="session")'
    suite.makeconftest(f"import pytest\n{for_session}")
    suite.makepyfile(
        test_alone=pair(own_client(library, "pytest_asyncio.fixture"), client="client"),
        test_first_of_session=pair(session, client="client"),
        test_second_of_session=pair(session, client="client"),
    )
    assert_judged(suite.runpytest(), pairs=3)


def test_a_client_of_the_users_own_in_auto_mode(suite, library):
    suite.makepyfile(test_it=pair(own_client(library, "pytest.fixture"), client="client"))
    assert_judged(suite.runpytest("--asyncio-mode=auto"))


def test_a_client_of_the_users_own_under_anyio(suite, backend):
    fixture, check = backend
    more = f"pytestmark = pytest.mark.anyio\n{fixture}{own_client('httpx', 'pytest.fixture')}"
    suite.makepyfile(test_it=pair(more, client="client", check=check))
    assert_judged(suite.runpytest())
