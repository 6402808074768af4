"""--nonblocking-scan: each operation of an app is a test, without one written."""

import importlib.util
import json
import shutil

import pytest

APP = """
import asyncio, time
from fastapi import APIRouter, Depends, FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from fastapi.security import HTTPBearer

app = FastAPI()
USERS = {7: "ann", 9: "bob"}

@app.get("/users")
async def users():
    return {"users": [{"id": key, "name": name} for key, name in USERS.items()]}

@app.get("/users/{user_id}")
async def user(user_id: int):
    if user_id not in USERS:
        raise HTTPException(404, "no such user")
    await asyncio.sleep(0.02)
    return {"id": user_id}

@app.get("/held")
async def held():
    time.sleep(0.05)

@app.get("/codes/{code}")
async def code(code: str):
    if code != "right":
        raise HTTPException(404, "no such code")
    await asyncio.sleep(0.02)

@app.get("/me")
async def me(token=Depends(HTTPBearer())):
    await asyncio.sleep(0.02)

@app.get("/broken")
async def broken():
    raise ValueError("a bug")

@app.post("/users")
async def create(name: str):
    await asyncio.sleep(0.02)

@app.get("/endless")
async def endless():
    async def ticks():
        while True:
            yield b"tick"
            await asyncio.sleep(0.02)
    return StreamingResponse(ticks())

@app.websocket("/ws")
async def ws(socket): ...
"""
BLOCKING = 1 + APP.strip().splitlines().index("    time.sleep(0.05)")
INI = """
[pytest]
pythonpath = .
nonblocking_app = webapp:app
"""


@pytest.fixture
def suite(pytester):
    pytest.importorskip("fastapi", reason="fastapi is not installed")
    pytester.makepyfile(webapp=APP)
    pytester.makeini(INI)
    return pytester


def scan(suite, *arguments):
    return suite.runpytest("--nonblocking-scan", "-p", "no:randomly", *arguments)


def records(suite):
    report = json.loads((suite.path / "out.json").read_text("utf-8"))
    return {one["nodeid"]: one for one in report["tests"]}


def test_operations_are_measured_and_the_rest_says_what_it_needs(suite):
    result = scan(suite, "--nonblocking-report=out.json", "-rs")
    result.assert_outcomes(passed=3, failed=1, skipped=3)
    result.stdout.fnmatch_lines(
        [
            "nonblocking scan: 9 operations in webapp:app, 7 scanned; not in scan_methods "
            "(GET, HEAD, OPTIONS, default): 1 POST; not measured: 1 websocket*",
            "  where    webapp.py:" + str(BLOCKING) + " in held",
            "nonblocking scan: 7 operations: 4 measured, 3 need input:",
            '  GET /codes/{code}: the app answered 404 {"detail":"no such code"}: give its inputs',
            "  GET /me: the app answered 401 *: give credentials for HTTPBearer as headers *",
            "  GET /broken: the app answered 500 ValueError: a bug: seed the data *",
            "def nonblocking_scan():",
            '            "GET /codes/{code}": {"code": ...},',
            "SKIPPED * webapp.py:*: the app answered 404 *",
        ]
    )
    found = records(suite)
    assert found["scan::GET /held"]["cause"] == "blocking-call"
    if shutil.which("ruff") or importlib.util.find_spec("ruff"):
        (hint,) = [one for one in found["scan::GET /held"]["notes"] if one.startswith("ruff")]
        assert hint.startswith(f"ruff ASYNC251 in line {BLOCKING}: ")
    assert found["scan::GET /me"]["verdict"] == "not-measured"
    assert "sent user_id=7 (from GET /users)" in found["scan::GET /users/{user_id}"]["notes"]


def test_a_fixture_gives_what_is_missing_and_logs_in_once(suite):
    suite.makeconftest(
        """
        import pytest
        from pytest_nonblocking import Scan

        logins = []

        async def login(client):
            logins.append(1)
            client.headers["Authorization"] = "Bearer x"

        @pytest.fixture
        def nonblocking_scan():
            yield Scan(inputs={"/codes/{code}": {"code": "right"}}, before=login)
            assert logins == [1]
        """
    )
    result = scan(suite, "-k", "codes")
    result.assert_outcomes(passed=1, deselected=6)
    result = scan(suite, "-k", "me")
    result.assert_outcomes(passed=1, deselected=6)


LINKED = """
import asyncio
from fastapi import FastAPI, HTTPException, Response
app = FastAPI()

def leads_to(name, **parameters):
    return {200: {"links": {"one": {"operationId": name, "parameters": parameters}}}}

@app.get("/index", responses=leads_to("read", key="$response.body#/entries/0/ref"))
async def index():
    return {"entries": [{"ref": "r41"}, {"ref": "r42"}]}

@app.get("/things/{key}", operation_id="read", responses=leads_to("size", of="$request.path.key"))
async def thing(key: str):
    if key not in ("r41", "r42"):
        raise HTTPException(404)
    await asyncio.sleep(0.02)

@app.get("/size", operation_id="size")
async def size(of: str):
    await thing(of)

@app.post("/orders", status_code=201)
async def order(response: Response):
    response.headers["Location"] = "/orders/c7"
    return {"name": "new"}

@app.get("/orders/{code}")
async def one(code: str):
    if code != "c7":
        raise HTTPException(404)
    await asyncio.sleep(0.02)

@app.get("/pages")
async def pages():
    return [{"name": "first", "self": "http://localhost/pages/p1"}]

@app.get("/pages/{page}")
async def page(page: str):
    if page != "p1":
        raise HTTPException(404)
    await asyncio.sleep(0.02)
"""


def sent(suite):
    found = {}
    for nodeid, one in records(suite).items():
        found[nodeid] = next((note for note in one["notes"] if note.startswith("sent ")), None)
    return found


def test_links_and_addresses_in_answers_give_values(suite):
    suite.makepyfile(webapp=LINKED)
    result = scan(suite, "--nonblocking-report=out.json", "-k", "things or size or pages")
    result.assert_outcomes(passed=4, deselected=2)
    assert sent(suite) == {
        "scan::GET /things/{key}": "sent key='r41' (from a link of GET /index)",
        "scan::GET /size": "sent of='r41' (from a link of GET /things/{key})",
        "scan::GET /pages": None,
        "scan::GET /pages/{page}": "sent page='p1' (from GET /pages)",
    }


def test_what_is_created_gives_its_location_where_writes_are_allowed(suite):
    suite.makepyfile(webapp=LINKED)
    scan(suite, "scan::GET /orders/{code}").assert_outcomes(skipped=1)
    writes = ("--nonblocking-scan-methods=GET,POST", "--nonblocking-report=out.json")
    scan(suite, "scan::GET /orders/{code}", *writes).assert_outcomes(passed=1)
    assert sent(suite) == {"scan::GET /orders/{code}": "sent code='c7' (from POST /orders)"}
    kept = (*writes, "--nonblocking-scan-exclude=POST /orders")
    scan(suite, "scan::GET /orders/{code}", *kept).assert_outcomes(skipped=1)


def test_a_cookie_that_an_operation_needs_leaves_the_login_in_place(suite):
    suite.makepyfile(
        webapp="""
        import asyncio
        from typing import Annotated
        from fastapi import Cookie, FastAPI, HTTPException, Request, Response
        app = FastAPI()

        @app.post("/login")
        async def login(response: Response):
            response.set_cookie("session", "right")
            response.set_cookie("theme", "dark")

        @app.get("/me")
        async def me(request: Request, theme: Annotated[str, Cookie(examples=["light"])]):
            await asyncio.sleep(0.02)
            if request.cookies != {"session": "right", "theme": "dark"}:
                raise HTTPException(401, str(request.cookies))

        @app.get("/you")
        async def you(request: Request, size: Annotated[str, Cookie(examples=["big"])]):
            await asyncio.sleep(0.02)
            if request.cookies != {"session": "right", "theme": "dark", "size": "big"}:
                raise HTTPException(401, str(request.cookies))

        @app.get("/given")
        async def given(request: Request, theme: Annotated[str, Cookie()]):
            await asyncio.sleep(0.02)
            if request.cookies != {"session": "right", "theme": "plain"}:
                raise HTTPException(401, str(request.cookies))
        """
    )
    suite.makeconftest(
        """
        import pytest
        from pytest_nonblocking import Scan

        async def login(client):
            await client.post("/login")

        @pytest.fixture
        def nonblocking_scan():
            return Scan(before=login, inputs={"/given": {"theme": "plain"}})
        """
    )
    scan(suite).assert_outcomes(passed=3)


def test_the_stub_as_it_is_pasted_is_refused(suite):
    suite.makeconftest(
        """
        import pytest
        from pytest_nonblocking import Scan

        @pytest.fixture
        def nonblocking_scan():
            return Scan(inputs={"/codes/{code}": {"code": ...}})
        """
    )
    result = scan(suite, "-k", "codes")
    result.assert_outcomes(errors=1, deselected=6)
    result.stdout.fnmatch_lines(["*'code' of '/codes/{code}' is still `...`: give it a value"])


def test_a_node_id_from_the_summary_runs_that_operation(suite):
    result = scan(suite, "scan::GET /users")
    result.assert_outcomes(passed=1)
    assert "GET /users " in scan(suite, "scan::GET /users", "-v").stdout.str() + " "


def test_workers_scan_what_one_process_does(suite):
    pytest.importorskip("xdist", reason="pytest-xdist is not installed")
    result = scan(suite, "-n", "2", "-k", "held or code")
    result.assert_outcomes(failed=1, skipped=1)
    result.stdout.fnmatch_lines(["nonblocking scan: 2 operations: 1 measured, 1 need input:"])
    result = scan(suite, "-n", "1", "scan::GET /held")
    result.assert_outcomes(failed=1)


def test_the_last_failed_operation_runs_again(suite):
    scan(suite, "-k", "held or users").assert_outcomes(passed=2, failed=1, deselected=4)
    result = scan(suite, "--lf")
    result.assert_outcomes(failed=1, deselected=6)


def test_operations_are_listed_without_being_asked(suite):
    result = scan(suite, "--collect-only", "-q")
    assert "scan::GET /users/{user_id}" in result.outlines
    assert "measured" not in result.outlines[-1]


def test_patterns_methods_and_limits_of_the_ini_file(suite):
    suite.makeini(
        INI
        + """
nonblocking_scan_methods = GET, POST
nonblocking_scan_include = /users*
    GET /held
nonblocking_scan_exclude = GET /users/{user_id}
nonblocking_scan_limits =
    GET /hel*: allow=blocking-call, max_blocked=1s, max_lag=1s
"""
    )
    result = scan(suite, "--nonblocking-report=out.json")
    result.assert_outcomes(passed=3)
    limits = records(suite)["scan::GET /held"]["limits"]["max_blocked"]
    assert limits == {"value": 1.0, "from": "scan_limits for GET /hel* from tox.ini"}
    assert (
        "sent name='string' (made from the schema)"
        in (records(suite)["scan::POST /users"]["notes"])
    )


def test_paths_that_the_app_does_not_describe(suite):
    suite.makepyfile(
        webapp="""
        import asyncio

        async def app(scope, receive, send):
            if scope["type"] != "http":
                raise RuntimeError("no lifespan here")
            await asyncio.sleep(0.02)
            status = 200 if scope["path"] == "/health" else 404
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        """
    )
    result = scan(suite)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*no operation found in webapp:app*nonblocking_scan_paths"])
    result = scan(suite, "--nonblocking-scan-paths", "/health", "--nonblocking-scan-paths=GET /x")
    result.assert_outcomes(passed=1, skipped=1)


SERVED = """
import asyncio, json, pathlib

DOCUMENT = {
    "openapi": "3.1.0",
    "paths": {"/health": {"get": {"parameters": [
        {"name": "q", "in": "query", "required": True, "example": "right"}
    ]}}},
}

class App:
    def __init__(self):
        self.starts = 0

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            self.starts += 1
            if self.starts > 1 and ONCE:
                raise RuntimeError("this app starts only once")
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        assert self.starts, "not started"
        if scope["path"] == "/openapi.json":
            status, body = 200, json.dumps(DOCUMENT).encode()
        else:
            await asyncio.sleep(0.02)
            status, body = (200 if scope["query_string"] == b"q=right" else 404), b""
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body})

ONCE = %s
app = App()
"""


@pytest.mark.parametrize(("once", "app"), [(False, "app"), (True, "App()")])
def test_an_app_without_routes_is_asked_for_its_description(suite, once, app):
    suite.makepyfile(webapp=SERVED % once)
    result = scan(suite, f"--nonblocking-app=webapp:{app}")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"nonblocking scan: 1 operation in webapp:{app}, 1 scanned"])


def test_the_pages_of_an_app_without_routes_and_description_are_measured(suite):
    suite.makepyfile(
        webapp="""
        import time

        async def app(scope, receive, send):
            if scope["type"] != "http":
                return
            pages = {"/": b"<a href='/held'>", "/held": b"x"}
            if scope["path"] == "/held":
                time.sleep(0.05)
            status = 200 if scope["path"] in pages else 404
            headers = [(b"content-type", b"text/html")]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": pages.get(scope["path"], b"")})
        """
    )
    result = scan(suite)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "nonblocking scan: 2 operations in webapp:app, 2 scanned; the app shows no description "
            "and no router: these are the pages to which its links lead from /, list others in *",
            "*webapp.py:8 in app*",
        ]
    )


def test_a_description_that_cannot_be_read_is_named_and_routes_are_used(suite):
    suite.makepyfile(
        webapp="""
        from starlette.applications import Starlette
        from starlette.responses import JSONResponse
        from starlette.routing import Route

        async def openapi(request):
            return JSONResponse({"openapi": "3.1.0"})

        app = Starlette(routes=[Route("/meta/openapi.json", openapi)])
        """
    )
    result = scan(suite, "--collect-only", "-q")
    result.stdout.fnmatch_lines(
        ["*; the app was asked for its description, but its description at /meta/openapi.json *"]
    )
    suite.makepyfile(webapp=SERVED % False + "DOCUMENT['paths'] = []")
    result = scan(suite, "--collect-only", "-q")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*no operation found in webapp:app*at /openapi.json cannot be *"])


def test_an_endless_response_is_left_after_a_while(suite):
    scan(suite, "-k", "endless").assert_outcomes(passed=1, deselected=6)


def test_an_operation_that_hangs_ends(suite, monkeypatch):
    for module in ("ladder", "request"):
        monkeypatch.setattr(f"pytest_nonblocking.scan.{module}.GIVE_UP", 1.0)
    suite.makepyfile(
        webapp="""
        import asyncio, time
        from fastapi import FastAPI
        app = FastAPI()

        @app.get("/waits")
        async def waits():
            await asyncio.Event().wait()

        @app.get("/sleeps")
        async def sleeps():
            time.sleep(3600)
        """
    )
    result = scan(suite, "--nonblocking-timeout=2s")
    result.assert_outcomes(failed=1, skipped=1)
    result.stdout.fnmatch_lines(
        ["nonblocking: * does not finish", "*GET /waits: no response within 1 s*"]
    )


@pytest.mark.parametrize("where", ["tests/conftest.py", "conftest.py"])
def test_fixtures_of_the_tests_folder_hold(suite, where):
    text = """
import pytest
from webapp import app, user
from pytest_nonblocking import Scan

@pytest.fixture
def nonblocking_app():
    app.dependency_overrides = {}
    app.state.seen = True
    yield app

@pytest.fixture
def nonblocking_scan(nonblocking_app):
    assert nonblocking_app.state.seen
    return Scan(inputs={"*": {"code": "right"}})
"""
    file = suite.path / where
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, "utf-8")
    scan(suite, "-k", "codes").assert_outcomes(passed=1, deselected=6)


def test_tests_and_operations_in_one_run(suite):
    suite.makepyfile(test_it="def test_it(): pass")
    scan(suite, "-k", "codes or test_it").assert_outcomes(passed=1, skipped=1, deselected=6)
    assert scan(suite, "test_it.py", "-k", "test_it").ret == 0


def test_where_no_operation_answers_the_gate_fails(suite):
    assert scan(suite, "-k", "codes").ret == pytest.ExitCode.TESTS_FAILED
    result = scan(suite, "-k", "codes", "--nonblocking-require=0")
    assert result.ret == pytest.ExitCode.OK


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--nonblocking-app=webapp:nothing"], "'webapp' has no 'nothing'"),
        (["--nonblocking-scan-methods=FETCH"], "scan_methods is 'FETCH', but must be one or more"),
        (["--nonblocking-scan-include=/nothing"], "the pattern '/nothing' of scan_include matches"),
        (["--nonblocking-scan-exclude=/nothing"], "the pattern '/nothing' of scan_exclude matches"),
        (["--nonblocking-scan-paths=health"], "scan_paths is ['health'], but must be paths"),
        (["--nonblocking-scan-limits=/users*"], "scan_limits is *, but must be lines such as"),
        (["--nonblocking-scan-limits=/users*: speed=1"], "nonblocking has no setting 'speed'"),
        (["--nonblocking-scan-limits=/users*: max_lag=x"], "max_lag is 'x', but must be"),
        (["scan::GET /nothing"], "not found: scan::GET /nothing"),
    ],
)
def test_a_mistake_is_a_usage_error_that_names_it(suite, arguments, text):
    result = scan(suite, *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: *{text.replace('[', '[[]')}*"])


def test_without_an_app_the_setting_is_named(suite):
    suite.makeini("[pytest]\npythonpath = .")
    result = scan(suite)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --nonblocking-scan needs the application: set *"])


def test_a_broken_description_is_a_usage_error(suite):
    suite.makepyfile(
        webapp="""
        from fastapi import FastAPI
        app = FastAPI()
        app.openapi = lambda: {"openapi": "3.1.0"}
        """
    )
    result = scan(suite)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *description of webapp:app cannot be read: *`paths`"])


@pytest.mark.parametrize("host", ["localhost", "testserver"])
def test_apps_that_accept_one_host_only(suite, host):
    suite.makepyfile(
        webapp=f"""
        from fastapi import FastAPI
        from starlette.middleware.trustedhost import TrustedHostMiddleware
        app = FastAPI()
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[{host!r}])

        @app.get("/plain")
        async def plain(): pass
        """
    )
    scan(suite).assert_outcomes(passed=1)


def test_the_host_that_an_app_refuses_can_be_given(suite):
    suite.makepyfile(
        webapp="""
        from fastapi import FastAPI
        from starlette.middleware.trustedhost import TrustedHostMiddleware
        app = FastAPI()
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=["shop.example"])

        @app.get("/plain/{name}")
        async def plain(name: str): pass
        """
    )
    result = scan(suite)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        [
            '  GET /plain/{name}: the app answered 400 Invalid host header: *headers={"Host": ...}',
            '        headers={"Host": "..."},',
        ]
    )
    result.stdout.no_fnmatch_line('*"GET /plain/{name}": {*')
    suite.makeconftest(
        """
        import pytest
        from pytest_nonblocking import Scan

        @pytest.fixture
        def nonblocking_scan():
            return Scan(headers={"Host": "shop.example"})
        """
    )
    scan(suite).assert_outcomes(passed=1)


PATTERN = """
import asyncio
from typing import Annotated
from fastapi import FastAPI, Path
from pydantic import BaseModel, Field

app = FastAPI()

class Part(BaseModel):
    code: str = Field(pattern="^[A-Z]{2}[0-9]{3}$")

@app.get("/parts/{code}")
async def part(code: Annotated[str, Path(pattern="^[A-Z]{2}[0-9]{3}$")]):
    await asyncio.sleep(0.02)

@app.post("/parts")
async def create(part: Part):
    await asyncio.sleep(0.02)
"""


def test_values_for_patterns_are_generated_by_the_extra(suite):
    pytest.importorskip("schemathesis", reason="the extra scan is not installed")
    suite.makepyfile(webapp=PATTERN)
    result = scan(suite, "--nonblocking-scan-methods=GET,POST", "--nonblocking-report=out.json")
    result.assert_outcomes(passed=2)
    for record in records(suite).values():
        assert any("(generated from the schema)" in note for note in record["notes"])


def test_without_the_extra_its_name_is_shown(suite, monkeypatch):
    monkeypatch.setattr("pytest_nonblocking.scan.inputs.is_installed", lambda: False)
    suite.makepyfile(webapp=PATTERN)
    result = scan(suite)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*give its inputs, or install pytest-nonblocking[[]scan], which*"])


def test_methods_behind_one_path_are_operations_of_their_own(suite):
    suite.makepyfile(
        webapp="""
        import asyncio, time
        from fastapi import FastAPI, Request
        app = FastAPI()

        @app.post("/rpc", include_in_schema=False)
        async def rpc(request: Request):
            call = await request.json()
            if call["method"] == "held":
                time.sleep(0.05)
            await asyncio.sleep(0.02)
        """
    )
    suite.makeconftest(
        """
        import pytest
        from pytest_nonblocking import Scan

        @pytest.fixture
        def nonblocking_scan():
            return Scan(inputs={
                "POST /rpc#good": {"body": {"method": "good"}},
                "POST /rpc#held": {"body": {"method": "held"}},
            })
        """
    )
    suite.makeini(INI + "nonblocking_scan_paths =\n    POST /rpc#good\n    POST /rpc#held\n")
    result = scan(suite, "--nonblocking-report=out.json")
    result.assert_outcomes(passed=1, failed=1)
    assert {name: one["verdict"] for name, one in records(suite).items()} == {
        "scan::POST /rpc#good": "pass",
        "scan::POST /rpc#held": "fail",
    }


FACTORY = """
import asyncio, contextlib
from fastapi import FastAPI

def create_app():
    starts = []

    @contextlib.asynccontextmanager
    async def lifespan(app):
        starts.append(1)
        assert len(starts) == 1, "this app starts only once"
        yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/one")
    async def one():
        await asyncio.sleep(0.02)

    @app.get("/two")
    async def two():
        await asyncio.sleep(0.02)

    return app

def broken_factory():
    raise ValueError("no configuration")
"""


def test_a_factory_gives_each_operation_an_app_of_its_own(suite):
    suite.makepyfile(webapp=FACTORY)
    scan(suite, "--nonblocking-app=webapp:create_app()").assert_outcomes(passed=2)


def test_a_factory_that_raises_is_named(suite):
    suite.makepyfile(webapp=FACTORY)
    result = scan(suite, "--nonblocking-app=webapp:broken_factory()")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*the factory raised ValueError: no configuration*"])


def test_a_set_up_that_raises_is_an_error_and_no_measurement(suite):
    suite.makeconftest(
        """
        import pytest
        from pytest_nonblocking import Scan

        async def before(client):
            (await client.post("/nothing")).raise_for_status()

        @pytest.fixture
        def nonblocking_scan():
            return Scan(before=before)
        """
    )
    result = scan(suite, "-k", "held or code")
    result.stdout.fnmatch_lines(["nonblocking scan: 2 operations: 0 measured, 2 errors"])


def test_operations_that_run_with_the_mode_off_are_not_measured(suite):
    result = scan(suite, "-k", "held or code", "--nonblocking-mode=off")
    result.stdout.fnmatch_lines(
        ["nonblocking scan: 2 operations: 0 measured, 1 not measured, 1 need input:"]
    )
