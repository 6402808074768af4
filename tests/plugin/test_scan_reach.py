"""Where a scan finds values that no list and no description gives."""

import json

import pytest

APP = """
import asyncio
from typing import Annotated
from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse
app = FastAPI()
FLOWS = {}

async def found(condition):
    await asyncio.sleep(0.005)
    if not condition:
        raise HTTPException(404)

# pages

@app.get("/admin/", response_class=HTMLResponse)
async def admin():
    return '<a href="/admin/user/list">users</a><a href="/static/x.css">'

@app.get("/admin/{kind}/list", response_class=HTMLResponse)
async def rows(kind: str):
    await found(kind == "user")
    return '<a href="../user/details/u7?tab=all">seven</a><a href="/admin/user/details/u9">'

@app.get("/admin/{kind}/details/{key}")
async def details(kind: str, key: str):
    await found(kind == "user" and key in ("u7", "u9"))

# the rest of a path

@app.get("/tree/{path:path}")
async def tree(path: str):
    await found(path == "")
    return {"links": {"leaf": "http://localhost/leaf/a/b"}}

@app.get("/leaf/{path:path}")
async def leaf(path: str):
    await found(path == "a/b")

@app.get("/tree-of/blocks/{path:path}")
async def block(path: str, block: Annotated[str, Query(pattern="^[0-9]+(,[0-9]+)*$")]):
    await found(path == "a/b" and block == "0")
    return {"next": "http://localhost/tree-of/blocks/a/b?block={0},{1}"}

@app.get("/tree-of/whole/{path:path}")
async def whole(path: str):
    if not path:
        raise HTTPException(406, "a folder")
    await found(path == "a/b")

@app.get("/tree-of/list")
async def listed():
    return {"blocks": "http://localhost/tree-of/blocks/a/b?block={0},{1}"}

@app.get("/tree-of/{path:path}/size")
async def size(path: str):
    await found(path == "a/b")

# what is not described

@app.get("/runs/get")
async def run(request: Request):
    if request.query_params.get("run_key") is None:
        raise HTTPException(400, "Missing value for required parameter 'run_key'")
    await found(request.query_params["run_key"] == "r1")

@app.get("/state")
async def state():
    return {"last": {"run": {"run_key": "r1"}}}

# a first parent without children

@app.get("/users")
async def users():
    return [{"id": 1}, {"id": 2}]

@app.get("/users/{user}/posts")
async def posts(user: int):
    return [{"id": 21}] if user == 2 else []

@app.get("/users/{user}/posts/{post}")
async def post(user: int, post: int):
    await found((user, post) == (2, 21))

# what is created, or listed by POST

@app.post("/flows/")
async def create(body: dict):
    FLOWS[body["name"]] = {"id": "f" + body["name"], "tags": ["x"], **body}
    return FLOWS[body["name"]]

@app.post("/flows/filter")
async def filtered(body: dict):
    return list(FLOWS.values())

@app.get("/flows/{id}")
async def flow(id: str):
    await found(any(one["id"] == id for one in FLOWS.values()))

@app.get("/flows/name/{name}")
async def by_name(name: str):
    await found(name in FLOWS)

# a value that no answer has

@app.get("/kinds")
async def kinds():
    return [{"kind": "bolt"}]

@app.get("/kinds/{kind}/parts/{code}")
async def part(kind: str, code: str):
    raise HTTPException(404, "no such part" if kind == "bolt" else "no such kind")

# a login

@app.get("/orders")
async def orders(request: Request):
    await found(True)
    if "session" not in request.cookies:
        return RedirectResponse("/login?next=/orders", 302)
    return RedirectResponse("/orders/today", 302)
"""
SEED = """
import pytest
from pytest_nonblocking import Scan

async def seed(client):
    {seed}
    client.cookies.set("session", "x")

@pytest.fixture
def nonblocking_scan():
    return Scan(before=seed)
"""


@pytest.fixture
def suite(pytester):
    pytest.importorskip("fastapi", reason="fastapi is not installed")
    pytester.makepyfile(webapp=APP)
    pytester.makeini("[pytest]\npythonpath = .\nnonblocking_app = webapp:app\n")
    return pytester


def scan(suite, *operations):
    more = ("--nonblocking-scan", "--nonblocking-concurrency=8", "--nonblocking-report=out.json")
    return suite.runpytest(*(f"scan::{one}" for one in operations), *more)


def sent(suite):
    report = json.loads((suite.path / "out.json").read_text("utf-8"))
    notes = [note for one in report["tests"] for note in one["notes"]]
    return [note.removeprefix("sent ") for note in notes if note.startswith("sent ")]


@pytest.mark.parametrize(
    ("operation", "values"),
    [
        ("GET /admin/{kind}/list", "kind='user' (from GET /admin/)"),
        (
            "GET /admin/{kind}/details/{key}",
            "kind='user' (from GET /admin/{kind}/list), key='u7' (from GET /admin/{kind}/list)",
        ),
        ("GET /tree/{path}", "path='' (made from the schema)"),
        ("GET /leaf/{path}", "path='a/b' (from GET /tree/{path})"),
        (
            "GET /tree-of/blocks/{path}",
            "path='a/b' (from GET /tree-of/list), block='0' (made from the schema)",
        ),
        ("GET /tree-of/whole/{path}", "path='a/b' (from GET /tree-of/list)"),
        ("GET /tree-of/{path}/size", "path='a/b' (from GET /tree-of/list)"),
        ("GET /runs/get", "run_key='r1' (from GET /state)"),
        (
            "GET /users/{user}/posts/{post}",
            "user=2 (from GET /users/{user}/posts), post=21 (from GET /users/{user}/posts)",
        ),
    ],
)
def test_values_are_found_in_other_answers(suite, operation, values):
    scan(suite, operation).assert_outcomes(passed=1)
    assert sent(suite) == [values]


@pytest.mark.parametrize(
    ("seed", "source"),
    [
        ('await client.post("/flows/", json={"name": "one"})', "POST /flows/"),
        (
            'import webapp\n    webapp.FLOWS["one"] = {"id": "fone", "name": "one"}\n'
            '    await client.post("/flows/filter", json={})',
            "POST /flows/filter",
        ),
    ],
)
def test_what_the_set_up_got_gives_values(suite, seed, source):
    suite.makeconftest(SEED.replace("{seed}", seed))
    result = scan(suite, "GET /flows/{id}", "GET /flows/name/{name}")
    result.assert_outcomes(passed=2)
    assert sent(suite) == [f"id='fone' (from {source})", f"name='one' (from {source})"]


def test_a_redirect_to_a_login_needs_credentials(suite):
    result = scan(suite, "GET /orders")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        [
            "  GET /orders: the app answered 302 with a redirect to /login: give credentials as "
            "headers or cookies, or log in in `before`",
            '        headers={"Authorization": "Bearer ..."},',
        ]
    )
    suite.makeconftest(SEED.replace("{seed}", "pass"))
    scan(suite, "GET /orders").assert_outcomes(passed=1)


def test_a_login_in_the_set_up_that_was_refused_is_named(suite):
    seed = 'await client.post("/nothing")\n    await client.post("/login", json={})'
    suite.makeconftest(
        SEED.replace("{seed}", seed).replace('client.cookies.set("session", "x")', "pass")
    )
    scan(suite, "GET /orders").stdout.fnmatch_lines(
        ["  GET /orders: *or log in in `before` (POST /login in `before` was answered with 404)"]
    )


def test_what_the_app_asks_for_is_in_the_fixture_to_paste(suite):
    suite.makepyfile(webapp=APP.replace('"run_key": "r1"', '"other": "r1"'))
    result = scan(suite, "GET /runs/get")
    result.stdout.fnmatch_lines(
        [
            "  GET /runs/get: the app answered 404 *",
            '            "GET /runs/get": {"run_key": ...},',
        ]
    )


def test_the_refusal_of_the_most_likely_values_is_shown(suite):
    result = scan(suite, "GET /kinds/{kind}/parts/{code}")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        [
            "  GET /kinds/{kind}/parts/{code}: the app answered 404 *no such part*",
            '            "GET /kinds/{kind}/parts/{code}": {"code": ...},',
        ]
    )


MOVES = """
import time
from starlette.applications import Starlette
from starlette.middleware.httpsredirect import HTTPSRedirectMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

async def held(request):
    time.sleep(0.05)
    return PlainTextResponse(request.url.path)

app = Starlette(routes=[Route("/held/", held), Route("/held/{name}", held)])
app.add_middleware(HTTPSRedirectMiddleware)
"""


@pytest.mark.parametrize("path", ["/held", "/held/{name}/"])
def test_a_redirect_to_https_or_to_another_slash_is_followed(suite, path):
    suite.makepyfile(webapp=MOVES)
    suite.makeini(
        "[pytest]\npythonpath = .\nnonblocking_app = webapp:app\n"
        f"nonblocking_scan_paths = {path}\nnonblocking_scan_include = {path}\n"
    )
    result = suite.runpytest("--nonblocking-scan", "--nonblocking-concurrency=8")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*blocking-call: time.sleep*"])


REFUSES = """
import asyncio
from fastapi import FastAPI, HTTPException, Request, Response
app = FastAPI()
calls = []

@app.get("/limited")
async def limited():
    calls.append(1)
    await asyncio.sleep(0.005)
    if len(calls) > 5:
        raise HTTPException(429, "slow down")

@app.get("/once")
async def once(request: Request, response: Response):
    await asyncio.sleep(0.005)
    if request.cookies:
        raise HTTPException(409, "once only")
    response.set_cookie("seen", "1")
"""


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/limited", 'the app answered, but then 429 {"detail":"slow down"}: it limits the rate *'),
        ("/once", 'the app answered, but then 409 {"detail":"once only"}: requests change what *'),
    ],
)
def test_copies_that_are_refused_are_no_measurement(suite, path, why):
    suite.makepyfile(webapp=REFUSES)
    result = scan(suite, f"GET {path}")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        [
            "nonblocking scan: 1 operation: 0 measured, 1 need input:",
            f"  GET {path}: {why}",
            "nonblocking: 1 measured: 1 not-measured",
        ]
    )


EXCLUDED = """
import asyncio, pathlib
from fastapi import FastAPI, HTTPException, Request
app = FastAPI()

@app.middleware("http")
async def log(request, call_next):
    with open("seen.log", "a") as file:
        file.write(request.url.path + "\\n")
    return await call_next(request)

@app.get("/admin/shutdown")
async def shutdown():
    return {"parts": [{"id": "p1"}]}

@app.get("/admin")
async def admin():
    return {"actions": ["/admin/shutdown", "/admin/status"]}

@app.get("/admin/{action}")
async def action(action: str):
    await asyncio.sleep(0.005)
    if action != "status":
        raise HTTPException(404)

@app.get("/parts/{part}")
async def part(part: str):
    raise HTTPException(404)
"""


def test_an_excluded_operation_gets_no_request_for_values_either(suite):
    suite.makepyfile(webapp=EXCLUDED)
    more = ("--nonblocking-scan", "--nonblocking-scan-exclude=/admin/shutdown")
    suite.runpytest(*more, "--nonblocking-concurrency=8")
    seen = (suite.path / "seen.log").read_text("utf-8").splitlines()
    assert "/admin/status" in seen
    assert "/admin/shutdown" not in seen


SESSIONS = """
import asyncio
from fastapi import FastAPI, HTTPException, Request, Response
app = FastAPI()
sessions = set()

def check(request):
    if request.cookies.get("sid") not in sessions:
        raise HTTPException(401, "log in")

@app.post("/login")
async def login(response: Response):
    sessions.add("s1")
    response.set_cookie("sid", "s1")

@app.get("/logout")
async def logout(request: Request):
    sessions.discard(request.cookies.get("sid"))

@app.get("/profile")
async def profile(request: Request):
    check(request)
    return {"gadgets": [{"id": "g1"}], "links": ["/logout"]}

@app.get("/gadgets/{gadget_id}")
async def gadget(gadget_id: str, request: Request):
    check(request)
    await asyncio.sleep(0.005)
    if gadget_id != "g1":
        raise HTTPException(404)
"""


def test_the_logout_of_the_app_is_not_asked_for_values(suite):
    suite.makepyfile(webapp=SESSIONS)
    suite.makeconftest(SEED.replace("{seed}", 'await client.post("/login")'))
    scan(suite, "GET /gadgets/{gadget_id}").assert_outcomes(passed=1)
    assert sent(suite) == ["gadget_id='g1' (from GET /profile)"]


RPC = """
import asyncio
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

async def rpc(request):
    call = await request.json()
    await asyncio.sleep(0.005)
    known = call["method"] == "add"
    says = {"result": 3} if known else {"error": {"code": -32601, "message": "no such method"}}
    return JSONResponse({"jsonrpc": "2.0", "id": 1, **says})

app = Starlette(routes=[Route("/rpc", rpc, methods=["POST"])])
"""
CALLS = """
import pytest
from pytest_nonblocking import Scan

@pytest.fixture
def nonblocking_scan():
    names = ("add", "typo")
    return Scan(inputs={f"POST /rpc#{name}": {"body": {"method": name}} for name in names})
"""


def test_an_error_of_json_rpc_is_no_answer(suite):
    suite.makepyfile(webapp=RPC)
    suite.makeconftest(CALLS)
    suite.makeini(
        "[pytest]\npythonpath = .\nnonblocking_app = webapp:app\n"
        "nonblocking_scan_paths =\n    POST /rpc#add\n    POST /rpc#typo\n"
    )
    result = scan(suite)
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["  POST /rpc#typo: the app answered 200 no such method: *"])


STALE = """
import asyncio
from typing import Annotated
from fastapi import FastAPI, HTTPException, Path
app = FastAPI()

@app.get("/pets")
async def pets():
    return [{"id": "aaa"}, {"id": "bbb"}]

@app.get("/pets/{pet_id}")
async def pet(pet_id: Annotated[str, Path(examples=["3fa85f64-5717-4562-b3fc-2c963f66afa6"])]):
    await asyncio.sleep(0.005)
    if pet_id not in ("aaa", "bbb"):
        raise HTTPException(404, "no such pet")
"""


def test_a_stale_example_gives_way_to_the_ids_of_the_list(suite):
    suite.makepyfile(webapp=STALE)
    scan(suite, "GET /pets/{pet_id}").assert_outcomes(passed=1)
    assert sent(suite) == ["pet_id='aaa' (from GET /pets)"]


SECURED = """
import asyncio
from fastapi import Depends, FastAPI, HTTPException, Security
from fastapi.security import APIKeyCookie, APIKeyHeader, APIKeyQuery, HTTPBasic
app = FastAPI()

async def check(key):
    await asyncio.sleep(0.005)
    if key != "k":
        raise HTTPException(401, "bad key")

@app.get("/header")
async def header(key=Security(APIKeyHeader(name="X-API-Key"))):
    await check(key)

@app.get("/query")
async def query(key=Security(APIKeyQuery(name="api_key"))):
    await check(key)

@app.get("/cookie")
async def cookie(key=Security(APIKeyCookie(name="sid"))):
    await check(key)

@app.get("/basic")
async def basic(user=Depends(HTTPBasic())):
    await check(user.password)
"""


def test_credentials_are_named_as_the_description_says_where_they_are(suite):
    suite.makepyfile(webapp=SECURED)
    result = scan(suite)
    result.assert_outcomes(skipped=4)
    start = result.outlines.index("def nonblocking_scan():")
    stub = result.outlines[start : start + 8]
    assert stub == [
        "def nonblocking_scan():",
        "    return Scan(",
        '        headers={"Authorization": "Basic ...", "X-API-Key": "..."},',
        '        cookies={"sid": "..."},',
        "        inputs={",
        '            "GET /query": {"api_key": ...},',
        "        },",
        "    )",
    ]
    result.stdout.fnmatch_lines(["  GET /query: *: give credentials for APIKeyQuery as inputs"])
    filled = "\n".join(stub).replace("Basic ...", "Basic YTpr").replace('"..."', '"k"')
    suite.makeconftest(
        "import pytest\nfrom pytest_nonblocking import Scan\n\n@pytest.fixture\n"
        + filled.replace("...", '"k"')
    )
    scan(suite).assert_outcomes(passed=4)


HOSTED = """
import asyncio
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Host, Mount, Route, Router

async def hosted(request):
    await asyncio.sleep(0.005)
    return JSONResponse({})

async def raw(scope, receive, send):
    await JSONResponse({})(scope, receive, send)

at_host = Router([Route("/hosted", hosted)])
app = Starlette(routes=[Host("api.example.org", at_host), Mount("/raw", raw)])
"""


def test_hosts_are_scanned_and_mounts_that_cannot_be_read_are_named(suite):
    suite.makepyfile(webapp=HOSTED)
    result = scan(suite)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["nonblocking scan: 1 operation in *; not measured: 1 mount of an app *(/raw), list *"]
    )
