"""What prepares a test is not measured: once before the copies, or in each of them."""

import pytest

APP = """
import asyncio, time

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            name = (await receive())["type"]
            await send({"type": f"{name}.complete"})
            if name == "lifespan.shutdown":
                return
    if scope["path"] == "/login":
        time.sleep(0.05)
    else:
        await asyncio.sleep(0.02)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
"""
INI = """
[pytest]
pythonpath = .
nonblocking_app = webapp:app
"""


@pytest.fixture
def suite(pytester):
    pytester.makepyfile(webapp=APP)
    pytester.makeini(INI)
    return pytester


TEST = """
import pytest

@pytest.mark.nonblocking(concurrency=8)
async def test_it(nonblocking, nonblocking_client):
    {login}
    assert (await nonblocking_client.get("/")).status_code == 200
"""


@pytest.mark.parametrize("transport", ["asgi", "uvicorn"])
def test_the_set_up_of_each_copy_is_not_measured(suite, transport):
    if transport != "asgi":
        pytest.importorskip(transport, reason=f"{transport} is not installed")
    block = 'async with nonblocking.setup():\n        await nonblocking_client.post("/login")'
    suite.makepyfile(test_it=TEST.format(login=block))
    result = suite.runpytest(f"--nonblocking-transport={transport}", "-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["pass *", "nonblocking: 1 measured: 1 pass"])


def test_the_same_login_in_the_body_is_measured(suite):
    suite.makepyfile(test_it=TEST.format(login='await nonblocking_client.post("/login")'))
    result = suite.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["  cause    blocking-call: *", "  where    webapp.py:11 in app"])


def test_copies_that_need_no_set_up_hold_nobody_up(suite):
    suite.makepyfile(
        """
        import pytest

        @pytest.mark.nonblocking(concurrency=8)
        async def test_it(nonblocking, nonblocking_client, virtual_user):
            if virtual_user() % 2:
                async with nonblocking.setup():
                    await nonblocking_client.post("/login")
            await nonblocking_client.get("/")
        """
    )
    suite.runpytest().assert_outcomes(passed=1)


def test_a_set_up_that_fails_fails_the_test(suite):
    suite.makepyfile(
        """
        import pytest

        @pytest.mark.nonblocking(concurrency=8)
        async def test_it(nonblocking, nonblocking_client, virtual_user):
            async with nonblocking.setup():
                if virtual_user() == 3:
                    raise ValueError("no more users")
            await nonblocking_client.get("/")
        """
    )
    result = suite.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ValueError: no more users", "*failed as copy 3 of 8*"])


BEFORE = """
import pytest

ran = []

@pytest.fixture
def login(nonblocking, nonblocking_client):
    @nonblocking.before
    async def once():
        ran.append(await nonblocking_client.post("/login"))
        {more}

@pytest.mark.nonblocking(concurrency=8)
async def test_it(login, nonblocking_client):
    assert len(ran) == 1
    await nonblocking_client.get("/")
"""


def test_what_runs_once_before_the_copies_is_not_measured(suite):
    suite.makepyfile(BEFORE.format(more="pass"))
    suite.runpytest().assert_outcomes(passed=1)


def test_an_error_before_the_copies_fails_the_test(suite):
    suite.makepyfile(BEFORE.format(more='raise ValueError("no login")'))
    result = suite.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ValueError: no login"])


def test_a_hang_before_the_copies_ends_at_the_timeout(suite):
    suite.makepyfile(BEFORE.format(more="import asyncio; await asyncio.Event().wait()"))
    result = suite.runpytest("--nonblocking-timeout=1s")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["nonblocking: * does not finish*"])


PLAIN = """
import pytest
from starlette.testclient import TestClient
from webapp import app

ran = []

@pytest.fixture
def data(nonblocking):
    @nonblocking.before
    {kind} once():
        ran.append(1)

@pytest.fixture
def client():
    with TestClient(app) as client:
        yield client

@pytest.mark.nonblocking(concurrency=8)
def test_it(data, client):
    assert ran == [1]
    client.get("/")
"""


def test_a_plain_test_runs_a_plain_function_before(suite):
    pytest.importorskip("starlette", reason="starlette is not installed")
    suite.makepyfile(PLAIN.format(kind="def"))
    suite.runpytest().assert_outcomes(passed=1)


def test_a_plain_test_refuses_a_coroutine_function_before(suite):
    pytest.importorskip("starlette", reason="starlette is not installed")
    suite.makepyfile(PLAIN.format(kind="async def"))
    result = suite.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*once is a coroutine function, and this test a plain one*"])


@pytest.mark.parametrize("flags", [["--nonblocking-mode=off"], ["-m", "not nothing"]])
def test_what_runs_before_also_runs_where_nothing_is_measured(suite, flags):
    text = BEFORE.format(more="pass")
    if "off" not in flags[0]:
        text = text.replace("@pytest.mark.nonblocking(concurrency=8)", "@pytest.mark.asyncio")
    suite.makepyfile(text)
    suite.runpytest(*flags).assert_outcomes(passed=1)


@pytest.mark.parametrize("transport", ["asgi", "uvicorn"])
def test_the_guard_accuses_nothing_in_a_set_up(suite, transport):
    if transport != "asgi":
        pytest.importorskip(transport, reason=f"{transport} is not installed")
    block = 'async with nonblocking.setup():\n        await nonblocking_client.post("/login")'
    suite.makepyfile(test_it=TEST.format(login=block))
    result = suite.runpytest("--nonblocking-guard=fail", f"--nonblocking-transport={transport}")
    result.assert_outcomes(passed=1)


WATCHED = """
import pytest

@pytest.mark.asyncio
async def test_it(nonblocking, nonblocking_client):
    await nonblocking_client.get("{before}")
    async with nonblocking.setup():
        async with nonblocking.setup():
            await nonblocking_client.post("/login")
        await nonblocking_client.post("/login")
    await nonblocking_client.get("{after}")
"""


@pytest.mark.parametrize("more", [(), ("--nonblocking-guard=fail",)])
@pytest.mark.parametrize("transport", ["asgi", "uvicorn"])
def test_the_set_up_of_a_watched_test_is_not_watched(suite, transport, more):
    if transport != "asgi":
        pytest.importorskip(transport, reason=f"{transport} is not installed")
    suite.makepyfile(test_it=WATCHED.format(before="/", after="/"))
    arguments = ("--nonblocking-watch", f"--nonblocking-transport={transport}", *more)
    result = suite.runpytest(*arguments, "-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["nonblocking: 1 measured: 1 pass"])
    result.stdout.no_fnmatch_line("*time.sleep*")


@pytest.mark.parametrize(("before", "after"), [("/login", "/"), ("/", "/login")])
def test_what_a_watched_test_does_beside_its_set_up_is_watched(suite, before, after):
    suite.makepyfile(test_it=WATCHED.format(before=before, after=after))
    result = suite.runpytest("--nonblocking-watch")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["  cause    blocking-call: [45]?.? ms off the CPU in one callback*"]
    )


def test_the_set_up_of_a_plain_test_runs_once(suite):
    suite.makepyfile(
        """
        import pytest

        ran = []

        @pytest.mark.asyncio
        async def test_it(nonblocking, nonblocking_client):
            async with nonblocking.setup():
                ran.append(await nonblocking_client.post("/login"))
            assert len(ran) == 1
        """
    )
    suite.runpytest().assert_outcomes(passed=1)


@pytest.mark.parametrize("more", [(), ("--nonblocking-guard=fail",)])
def test_a_watched_test_that_measures_decides_itself(suite, more):
    suite.makepyfile(
        """
        import pytest

        @pytest.mark.asyncio
        async def test_it(nonblocking, nonblocking_client):
            await nonblocking_client.post("/login")
            async def login():
                await nonblocking_client.post("/login")
            outcome = await nonblocking.measure(login, concurrency=8)
            assert outcome.judgement.verdict == "fail"
        """
    )
    result = suite.runpytest("--nonblocking-watch", *more)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["nonblocking: 1 measured: 1 fail*"])
