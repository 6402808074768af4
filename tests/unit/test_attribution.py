"""Which place is named, from literal stacks."""

from pathlib import Path

import pytest

from pytest_nonblocking.analysis import attribution
from pytest_nonblocking.model import (
    Budget,
    Evidence,
    Exchange,
    Frame,
    Judgement,
    Run,
    Sample,
    Slices,
    Step,
    Waiters,
)

HERE = Path(__file__).parent


def frame(where, module="shop.api"):
    """A frame of the user's, written "function:line" or "file:function:line"."""
    *file, function, line = where.split(":")
    return Frame(str(HERE / (file[0] if file else "api.py")), int(line), function, module)


def library(*calls):
    """Frames of installed packages, written "module:function"."""
    named = (call.split(":") for call in calls)
    return tuple(
        Frame(f"/v/site-packages/{module.replace('.', '/')}.py", 9, function, module)
        for module, function in named
    )


def installed(where):
    """A frame of an installed application, written "module:function:line"."""
    module, function, line = where.split(":")
    return Frame(f"/v/site-packages/{module.replace('.', '/')}.py", int(line), function, module)


BODY = frame("test_api.py:test_it:5", "test_api")
MIDDLEWARE = frame("middle.py:AuditMiddleware.__call__:45", "shop.middle")
LOOP = library("asyncio.runners:Runner.run", "asyncio.events:Handle._run")
TEST = (*LOOP, *library("pytest_nonblocking.load.burst:_Burst._copy"), BODY)
CLIENT = (
    *TEST,
    *library(
        "httpx._client:AsyncClient.get", "pytest_nonblocking.asgi.client:ASGITransport.handle"
    ),
)
WAITING_CLIENT = (*CLIENT, *library("pytest_nonblocking.asgi.exchange:Call._wait"))
APP = (
    *CLIENT,
    *library(
        "pytest_nonblocking.asgi.exchange:Call.run", "starlette.applications:Starlette.__call__"
    ),
)
ROUTE = (
    *APP,
    *library("fastapi.routing:APIRoute.app", "fastapi.routing:run_endpoint_function"),
)
HANDLER = (*ROUTE, frame("handler:12"))
ASYNC_LOCK = library("asyncio.locks:Lock.acquire")
THREAD = library("threading:Thread._bootstrap")
WORKER = (*THREAD, *library("anyio._backends._asyncio:WorkerThread.run"))


def run(concurrency=8, **facts):
    return Run(concurrency, 1.0, (), **{"budget": Budget()} | facts)


def found(cause, *runs, reasons=("scaling",), packages=(), body=(BODY.file, BODY.function)):
    judgement = Judgement("fail", reasons=reasons, cause=cause)
    return attribution.find(Evidence(bursts=runs), judgement, body, packages)


def place(culprit):
    return culprit and (culprit.function, culprit.line)


def running(*stacks):
    """Samples of a thread that computes: stacks, or pairs of a stack and its weight."""
    return tuple(Sample(stack, "running", weight) for stack, weight in map(_weighed, stacks))


def _weighed(stack):
    return stack if isinstance(stack[0], tuple) else (stack, 0.01)


def computing(*stacks, **facts):
    return run(samples=running(*stacks), **facts)


def witnessed(*samples):
    return Step(0.02, 0.0, 0.02, 0.0, 0, samples=samples, witnessed=True)


def queueing(*waiters, **facts):
    return run(waiters=tuple(Waiters(*waiter) for waiter in waiters), **facts)


@pytest.fixture
def source(tmp_path):
    """A module with a handler, which is defined at line 3."""
    file = tmp_path / "shop.py"
    file.write_text("\n\nasync def handler():\n    one()\n    two()\n", "utf-8")

    def at(line, function="handler"):
        return Frame(str(file), line, function, "shop")

    return at


# The order of places


def test_the_innermost_line_of_the_users_is_named_with_the_calls_below_it():
    service = frame("service.py:load:7", "shop.service")
    stack = (*HANDLER, service, *library("requests.api:get", "urllib3.pool:open", "socket:recv"))
    culprit = found("cpu-on-loop", computing(stack))
    assert place(culprit) == ("load", 7)
    assert culprit.calls == ("requests.get", "urllib3 …", "socket.recv")
    assert not culprit.library
    assert culprit.route is None


def test_an_application_that_is_installed_is_the_users_too():
    view, template = installed("adminpkg.views:list_page:31"), Frame("<template>", 1, "root", "")
    stack = (*ROUTE, view, *library("jinja2.environment:Template.render"), template)
    culprit = found("cpu-on-loop", computing(stack), packages={"adminpkg"})
    assert place(culprit) == ("list_page", 31)
    assert culprit.calls == ("jinja2.render",)
    assert not culprit.library


def test_the_projects_own_line_goes_before_the_installed_applications():
    hook = frame("hooks.py:price:3", "shop.hooks")
    below = installed("adminpkg.cells:draw:8")
    stack = (*ROUTE, installed("adminpkg.views:list_page:31"), hook, below)
    assert place(found("cpu-on-loop", computing(stack), packages={"adminpkg"})) == ("price", 3)


def test_without_a_line_of_the_users_it_is_the_library_below_the_framework(source):
    serialising = (
        *ROUTE[:-1],
        *library("fastapi.routing:serialize_response", "pydantic.main:dump_json"),
    )
    waits = ((*ROUTE, source(4), *library("asyncio.tasks:sleep")), 1, 0.1)
    culprit = found("cpu-on-loop", computing(serialising, waiters=(Waiters(*waits),)))
    assert culprit.library
    assert (culprit.function, culprit.file) == ("dump_json", "/v/site-packages/pydantic/main.py")
    assert culprit.calls == ("fastapi.serialize_response", "pydantic.dump_json")
    assert (culprit.route.function, culprit.route.line) == ("handler", 3)


def test_a_library_has_no_route_where_no_stack_shows_the_handler():
    culprit = found("cpu-on-loop", computing((*ROUTE[:-1], *library("pydantic.main:dump_json"))))
    assert culprit.library
    assert culprit.route is None


def test_a_library_has_the_route_that_the_router_names_where_no_stack_shows_the_handler(source):
    """As FastAPI validates what a quick handler returns."""
    serialising = (*ROUTE[:-1], *library("pydantic.main:dump_json"))
    by_router = [Exchange("GET", "/x", 200, 0, 1, 1, 1, source(5)) for _ in range(2)]
    static = Exchange("GET", "/style.css", 200, 0, 1, 1, 1)
    culprit = found("cpu-on-loop", computing(serialising, exchanges=(*by_router, static)))
    assert (culprit.route.function, culprit.route.line) == ("handler", 3)
    culprit = found("cpu-on-loop", computing(serialising, exchanges=(*by_router, static, static)))
    assert culprit.route is None  # most requests have to go there


def test_where_most_samples_agree_on_no_place_the_handlers_definition_is_given(source):
    one, two, three = (
        (*ROUTE[:-1], *library(f"{name}:work")) for name in ("pydantic", "orjson", "jinja2")
    )
    waits = Waiters((*ROUTE, source(4)), 8, 1.0)
    culprit = found("cpu-on-loop", computing(one, two, three, waiters=(waits,)))
    assert place(culprit) == ("handler", 3)
    assert culprit.code == "async def handler():"
    assert culprit.is_route
    assert not culprit.library


def test_a_library_is_named_for_most_of_all_that_was_seen(source):
    mine, one, two = (
        ((*ROUTE, source(4)), 0.040),
        ((*ROUTE[:-1], *library("pydantic:work")), 0.035),
        ((*ROUTE[:-1], *library("orjson:work")), 0.025),
    )
    assert found("cpu-on-loop", computing(mine, one, two)).is_route


def test_nothing_is_named_where_nothing_tells():
    assert found("cpu-on-loop", run()) is None
    assert found("serialised-wait", run()) is None


def test_a_dependency_and_a_middleware_are_no_handler(source):
    dependency = (*APP, *library("fastapi.dependencies.utils:solve"), frame("token:8"))
    middleware = (*APP, *library("starlette.middleware.errors:__call__"), MIDDLEWARE)
    library_only = (*ROUTE[:-1], *library("pydantic.main:dump_json"))
    stacks = tuple(Waiters(stack, 8, 1.0) for stack in (dependency, middleware))
    shown = Waiters((*ROUTE, source(4)), 1, 0.1)
    culprit = found("cpu-on-loop", computing(library_only, waiters=(*stacks, shown)))
    assert (culprit.route.function, culprit.route.line) == ("handler", 3)


def test_a_def_handler_is_known_by_what_the_workers_begin_with(source):
    library_only = (*ROUTE[:-1], *library("pydantic.main:dump_json"))
    helper = frame("service.py:load:7", "shop.service")
    working = Sample((*WORKER, source(5), helper), "running", 0.1)
    culprit = found("cpu-on-loop", computing(library_only, workers=(working,)))
    assert (culprit.route.function, culprit.route.line) == ("handler", 3)


IN_THREAD = (*ROUTE, *library("starlette.concurrency:run_in_threadpool"))


def test_a_def_handler_is_known_where_the_loop_shows_what_the_framework_calls_beside_it(source):
    # Middleware below one of the framework's whose module has another name, as its loop ran.
    limits = library("fastapi._body_limit:AppBodyLimitMiddleware.__call__")
    beside = Sample((*APP, *limits, MIDDLEWARE), "running", 0.01)
    library_only = (*WORKER, *library("rasterio.io:read"))
    culprit = found(
        "gil-contention",
        run(
            samples=(beside,),
            thread_samples=running(library_only),
            waiters=(Waiters(IN_THREAD, 7, 0.5),),
            workers=(Sample((*WORKER, source(5)), "running", 0.1),),
        ),
    )
    assert culprit.library
    assert (culprit.route.function, culprit.route.line) == ("handler", 3)


def test_no_handler_is_given_where_requests_wait_for_threads_that_were_not_seen():
    limits = library("fastapi._body_limit:AppBodyLimitMiddleware.__call__")
    beside = Sample((*APP, *limits, MIDDLEWARE), "running", 0.01)
    threads = running((*WORKER, *library("rasterio.io:read")))
    waits = (Waiters(IN_THREAD, 7, 0.5),)
    culprit = found("gil-contention", run(samples=(beside,), thread_samples=threads, waiters=waits))
    assert (culprit.library, culprit.route) == (True, None)


def test_a_def_dependency_is_not_the_handler_that_waits_for_it(source):
    solving = library("fastapi.dependencies.utils:solve", "starlette.concurrency:run_in_threadpool")
    waits = (Waiters((*APP, *solving), 7, 0.5), Waiters((*ROUTE, source(4)), 1, 0.1))
    working = Sample((*WORKER, frame("token:8")), "running", 0.1)
    threads = running((*WORKER, *library("jwt.api:decode")))
    burst = run(thread_samples=threads, waiters=waits, workers=(working,))
    culprit = found("gil-contention", burst)
    assert (culprit.route.function, culprit.route.line) == ("handler", 3)


def test_a_handler_that_another_framework_calls_in_the_thread_goes_before_what_mounts_it(source):
    mount = (*APP, *library("starlette.routing:Mount.handle"), frame("mount.py:WSGI.__call__:9"))
    flask = (*WORKER, frame("mount.py:WSGI.run:19"), *library("flask.app:Flask.dispatch_request"))
    working = Sample((*flask, source(5)), "running", 0.1)
    threads = running((*WORKER, *library("werkzeug.routing:match")))
    waits = (Waiters((*mount, *library("anyio.to_thread:run_sync")), 7, 0.5),)
    burst = run(thread_samples=threads, waiters=waits, workers=(working,))
    culprit = found("gil-contention", burst)
    assert (culprit.route.function, culprit.route.line) == ("handler", 3)


# Never the test's own line


def test_a_client_that_waits_for_the_app_only_passes_the_wait_on():
    culprit = found(
        "serialised-wait",
        queueing((WAITING_CLIENT, 8, 1.0), ((*HANDLER, *ASYNC_LOCK), 7, 0.8)),
    )
    assert place(culprit) == ("handler", 12)


def test_a_client_that_waits_is_not_named_where_nothing_tells_of_the_app():
    assert found("serialised-wait", queueing((WAITING_CLIENT, 8, 1.0))) is None


def test_a_test_that_gathers_its_requests_only_passes_the_wait_on():
    gathering = (*TEST, *library("asyncio.tasks:gather"))
    culprit = found(
        "serialised-wait", queueing((gathering, 8, 1.0), ((*HANDLER, *ASYNC_LOCK), 3, 0.3))
    )
    assert place(culprit) == ("handler", 12)


def test_the_test_is_not_named_for_an_app_without_a_line_of_the_users():
    queue = (*ROUTE[:-1], *library("sqlalchemy.pool:checkout"))
    culprit = found("serialised-wait", queueing((WAITING_CLIENT, 8, 1.0), (queue, 7, 0.7)))
    assert (culprit.library, culprit.function) == (True, "checkout")


@pytest.mark.parametrize(("alone", "named"), [(0.0, "use"), (0.035, "take")])
def test_a_queue_is_named_before_what_its_holders_wait_for_if_each_waits_for_that_alone(
    alone, named
):
    # Of a pool of three, after the first pass: two copies still wait, and five have a turn.
    holds, waits = (*ROUTE, frame("use:30")), (*ROUTE, frame("take:24"), *ASYNC_LOCK)
    single, burst = run(1, budget=Budget(idle=alone)), queueing((holds, 3, 0.17), (waits, 5, 0.07))
    known = Evidence(singles=(single,), bursts=(burst,))
    judgement = Judgement("fail", reasons=("scaling",), cause="serialised-wait")
    assert attribution.find(known, judgement).function == named


@pytest.mark.parametrize("cause", ["cpu-on-loop", "blocking-call"])
def test_what_runs_below_the_transport_is_the_apps(cause):
    stack = (*ROUTE[:-1], *library("pydantic.main:dump_json"))
    step = witnessed(Sample(stack, "blocked", 0.02))
    culprit = found(cause, computing(stack, steps=(step,)))
    assert culprit.library


def test_what_the_client_itself_computes_is_not_the_tests_doing():
    decoding = (*TEST, *library("httpx._models:Response.aread"))
    assert found("cpu-on-loop", computing(decoding)) is None


def test_the_body_is_named_for_what_it_does_itself():
    assert place(found("cpu-on-loop", computing(TEST))) == ("test_it", 5)
    step = witnessed(Sample((*TEST, *library("requests.api:get")), "blocked", 0.02))
    assert place(found("blocking-call", run(steps=(step,)))) == ("test_it", 5)
    assert place(found("serialised-wait", queueing(((*TEST, *ASYNC_LOCK), 8, 1.0)))) == (
        "test_it",
        5,
    )


@pytest.mark.parametrize("where", ["test_api.py:server:50", "conftest.py:server:3"])
def test_a_fixture_or_a_helper_of_the_tests_is_not_named_for_the_app(where):
    fixture = (*LOOP, frame(where, "conftest"), *library("asyncio.queues:Queue.get"))
    culprit = found(
        "serialised-wait", queueing((fixture, 9, 1.1), ((*HANDLER, *ASYNC_LOCK), 7, 0.8))
    )
    assert place(culprit) == ("handler", 12)


def test_an_app_that_is_defined_in_the_tests_module_is_the_users():
    child = (*LOOP, frame("test_api.py:child:50", "test_api"), *ASYNC_LOCK)
    waits = queueing((child, 8, 1.0), ((*ROUTE, *library("sqlalchemy.pool:checkout")), 1, 0.1))
    assert place(found("serialised-wait", waits, packages={"test_api"})) == ("child", 50)


def test_what_has_started_the_loop_is_not_looked_at():
    script = frame("run_tests.py:main:3", "__main__")
    child = (script, *LOOP, *library("jinja2.environment:Template.render"))
    assert found("cpu-on-loop", computing(child)).library


def test_a_plain_test_that_waits_in_its_own_thread_is_not_named_for_its_app():
    waiting = (
        *THREAD,
        *library("pytest_nonblocking.load.sync_tests:work"),
        BODY,
        *library("starlette.testclient:TestClient.get", "anyio.from_thread:call", "threading:wait"),
    )
    working = (*WORKER, frame("handler:12"))
    samples = running((waiting, 0.05), (working, 0.01))
    assert place(found("gil-contention", run(thread_samples=samples))) == ("handler", 12)


def test_what_a_plain_test_computes_in_its_own_thread_is_not_its_apps():
    decoding = (*THREAD, *library("pytest_nonblocking.load.sync_tests:work"), BODY)
    working = (*WORKER, frame("handler:12"))
    samples = running((decoding, 0.05), (working, 0.01))
    assert place(found("gil-contention", run(thread_samples=samples))) == ("handler", 12)


# Middlewares pass requests on


@pytest.mark.parametrize(
    "passing",
    [
        library("starlette.middleware.base:call_next", "anyio.streams.memory:receive"),
        library("starlette.routing:Router.__call__", "starlette.concurrency:run_in_threadpool"),
        library("asgi_correlation.middleware:__call__", "starlette.routing:Router.__call__"),
        (
            frame("middle.py:Responder.__call__:60", "shop.middle"),
            *library("starlette.routing:Router.__call__"),
        ),
    ],
    ids=["call_next", "app", "anothers", "a responder of its own"],
)
def test_a_middleware_that_passes_the_wait_on_is_not_named(passing):
    culprit = found(
        "serialised-wait",
        queueing(((*APP, MIDDLEWARE, *passing), 8, 1.0), ((*HANDLER, *ASYNC_LOCK), 3, 0.4)),
    )
    assert place(culprit) == ("handler", 12)


def test_a_middleware_is_named_for_what_it_does_itself():
    computing_itself = (*APP, MIDDLEWARE, *library("json:dumps"))
    assert place(found("cpu-on-loop", computing(computing_itself))) == (MIDDLEWARE.function, 45)


@pytest.mark.parametrize(
    "call",
    ["starlette.responses:JSONResponse.__call__", "asgiref.sync:SyncToAsync.__call__"],
)
def test_a_frameworks_call_that_serves_its_caller_is_no_passing_on(call):
    stack = (*APP, MIDDLEWARE, *library(call))
    assert place(found("cpu-on-loop", computing(stack))) == (MIDDLEWARE.function, 45)


# The plugin's own frames


def test_a_sample_in_the_plugins_collector_callback_counts_for_the_line_below_it():
    callback = library("pytest_nonblocking.sentinel.probes.probe:Probe._on_gc")
    stack = (*HANDLER, *library("json:loads"), *callback)
    culprit = found("cpu-on-loop", computing(stack))
    assert place(culprit) == ("handler", 12)
    assert culprit.calls == ("json.loads",)


def test_what_an_app_sends_counts_for_the_line_that_sends_it():
    sending = (*HANDLER, *library("pytest_nonblocking.asgi.exchange:Call.send"))
    assert place(found("cpu-on-loop", computing(sending))) == ("handler", 12)


def test_an_app_that_waits_for_its_client_stands_in_no_queue():
    listening = (
        *HANDLER,
        *library("pytest_nonblocking.asgi.exchange:Call.receive", "asyncio.locks:wait"),
    )
    other = (*ROUTE, frame("other:30"), *ASYNC_LOCK)
    waits = queueing((listening, 8, 1.0), (other, 2, 0.2))
    assert place(found("serialised-wait", waits)) == ("other", 30)


@pytest.mark.parametrize(
    "calls",
    [
        ("pytest_nonblocking.asgi.lifespan:Lifespan._run", "starlette.routing:receive"),
        ("uvicorn.lifespan.on:LifespanOn.main", "uvicorn.lifespan.on:LifespanOn.receive"),
        ("anyio._core._tasks:run", "starlette.routing:Router.lifespan"),
    ],
    ids=["ours", "server", "framework"],
)
def test_the_lifespan_waits_for_the_end_of_the_app_and_not_for_a_turn(calls):
    caller, callee = library(*calls)
    lifespan = (*LOOP, caller, MIDDLEWARE, callee, *library("asyncio.queues:Queue.get"))
    waits = queueing((lifespan, 1, 9.0), ((*HANDLER, *ASYNC_LOCK), 7, 0.7))
    assert place(found("serialised-wait", waits)) == ("handler", 12)


# A stack counts only in the state that makes the cause


@pytest.mark.parametrize("state", ["blocked", "lock", "handover"])
def test_a_thread_that_sleeps_has_no_part_in_the_contention_for_the_gil(state):
    sleeping = Sample((*THREAD, frame("listen:80"), *library("socket:recv")), state, 0.9)
    computes = Sample((*WORKER, frame("render:25")), "gil", 0.01)
    culprit = found("gil-contention", run(thread_samples=(sleeping, computes)))
    assert place(culprit) == ("render", 25)


def test_threads_are_taken_as_they_are_where_no_kernel_tells_of_states():
    samples = (Sample((*WORKER, frame("render:25")), "unknown", 0.01),)
    assert place(found("gil-contention", run(thread_samples=samples))) == ("render", 25)


def test_a_worker_that_waits_for_work_is_no_witness():
    idle = running(*[(*WORKER, *library("queue:Queue.get"))] * 5)
    (computes,) = running((*WORKER, frame("render:25")))
    culprit = found("gil-contention", run(thread_samples=(*idle, computes)))
    assert place(culprit) == ("render", 25)


def test_blocking_is_seen_in_steps_that_are_witnessed_and_in_who_waits():
    computes, waits = (*ROUTE, frame("compute:20")), (*ROUTE, frame("fetch:30"))
    other = (*ROUTE, frame("other:40"))
    witnessed_step = witnessed(Sample(computes, "running", 0.5), Sample(waits, "blocked", 0.01))
    unwitnessed = Step(0.9, 0.0, 0.9, 0.0, 0, samples=(Sample(other, "blocked", 0.9),))
    culprit = found("blocking-call", run(steps=(witnessed_step, unwitnessed)))
    assert place(culprit) == ("fetch", 30)


def test_short_waits_whose_steps_are_not_kept_are_seen_in_their_samples():
    waits = Sample((*ROUTE, frame("fetch:30")), "blocked", 0.001)
    computes = Sample((*ROUTE, frame("compute:20")), "running", 0.5)
    assert place(found("blocking-call", run(samples=(waits, computes)))) == ("fetch", 30)


def test_who_waits_does_not_compute():
    waits = Sample((*ROUTE, frame("fetch:30")), "blocked", 0.5)
    computes = Sample((*ROUTE, frame("compute:20")), "gil", 0.01)
    assert place(found("cpu-on-loop", run(samples=(waits, computes)))) == ("compute", 20)


def test_where_no_kernel_tells_of_states_the_step_does():
    waits = Sample((*ROUTE, frame("fetch:30")), "unknown", 0.5)
    computes = Sample((*ROUTE, frame("compute:20")), "unknown", 0.01)
    steps = (
        witnessed(waits),
        Step(0.02, 0.02, 0.0, 0.0, 0, samples=(computes,)),
    )
    burst = run(samples=(waits, computes), steps=steps)
    assert place(found("cpu-on-loop", burst)) == ("compute", 20)
    assert place(found("blocking-call", burst)) == ("fetch", 30)


def test_a_full_pool_is_told_by_the_line_that_asks_for_its_threads():
    asking = (
        *HANDLER,
        *library("anyio.to_thread:run_sync", "anyio._backends._asyncio:run_sync_in_worker_thread"),
    )
    culprit = found("thread-pool", queueing((WAITING_CLIENT, 8, 1.0), (asking, 8, 1.0)))
    assert place(culprit) == ("handler", 12)
    assert (culprit.samples, culprit.of, culprit.counted) == (8, 8, "copies")


def test_a_def_handler_is_told_by_what_its_workers_do_and_no_sleeping_thread():
    asking = (*ROUTE[:-1], *library("starlette.concurrency:run_in_threadpool"))
    listening = Sample((*THREAD, frame("listen:80"), *library("socket:recv")), "blocked", 9.0)
    working = Sample((*WORKER, frame("handler:12"), *library("requests.api:get")), "blocked", 1.0)
    consumer = ((*LOOP, frame("consume:60"), *library("asyncio.queues:Queue.get")), 1, 0.1)
    waits = queueing((asking, 8, 1.0), consumer, workers=(listening, working))
    culprit = found("thread-pool", waits)
    assert place(culprit) == ("handler", 12)
    assert culprit.counted == "threads"


# Weights


@pytest.mark.parametrize(
    ("beyond", "named"),
    [
        ((), ("parse", 41)),
        (library("contextlib:nullcontext.__exit__"), ("parse", 41)),
        (library("json:dumps", "json.encoder:iterencode"), ("iterencode", 9)),
    ],
    ids=["in its caller", "in what that calls next", "further in"],
)
def test_what_a_handler_frees_as_it_returns_counts_for_the_handler(beyond, named):
    called = library("fastapi.routing:run_endpoint_function")
    handler = Sample((*APP, *called, frame("parse:41")), "running", 0.010)
    after = Sample((*APP, *called, *beyond), "running", 0.015)
    assert place(found("cpu-on-loop", run(samples=(handler, after)))) == named


@pytest.mark.parametrize(
    ("line", "named"), [(2, "read"), (3, "debug")], ids=["as it begins", "in its body"]
)
@pytest.mark.parametrize("cause", ["cpu-on-loop", "gil-contention"])
def test_what_code_in_c_computes_before_it_calls_a_function_counts_for_its_caller(
    tmp_path, cause, line, named
):
    # rasterio computes in Cython and logs: the stack shows the logger, which has run no line.
    file = tmp_path / "site-packages" / "logs.py"
    file.parent.mkdir()
    file.write_text("\ndef debug(message):\n    write(message)\n", "utf-8")
    logger = Frame(str(file), line, "debug", "logs")
    stack = (*library("rasterio.io:open", "rasterio.env:read"), logger)
    samples = running((*ROUTE[:-1], *stack))
    threads = running((*WORKER, *stack))
    culprit = found(cause, run(samples=samples, thread_samples=threads))
    assert culprit.library
    assert culprit.function == named


def test_slices_and_samples_are_on_one_scale():
    slices = (Slices((*ROUTE, frame("sliced:62"), *library("asyncio.tasks:sleep")), 0.012, 6),)
    sample = Sample((*ROUTE, frame("render:25")), "running", 0.007)
    step = Step(0.007, 0.007, 0.0, 0.0, 0, samples=(sample,))
    burst = run(slices=slices, samples=(sample,), steps=(step,))
    assert place(found("cpu-on-loop", burst)) == ("sliced", 62)


def test_a_slice_is_placed_by_the_samples_of_slices_within_its_function():
    sliced, helper = (*ROUTE, frame("sliced:62")), frame("helper:30")
    sample = Sample((*ROUTE, frame("sliced:61"), helper), "running", 0.002)
    culprit = found("cpu-on-loop", run(slices=(Slices(sliced, 0.3, 100),), samples=(sample,)))
    assert place(culprit) == ("helper", 30)


@pytest.mark.parametrize(
    ("times", "named"), [(30, ("helper", 30)), (60, ("sliced", 62))], ids=["alike", "longer"]
)
def test_sampled_callbacks_as_long_as_the_slices_that_no_sample_shows_place_them(times, named):
    # Slices of 5 ms that hold the GIL: the watchdog sees half of them.
    sliced, helper = (*ROUTE, frame("sliced:62")), frame("helper:30")
    sample = Sample((*ROUTE, frame("sliced:61"), helper), "running", 0.006)
    step = Step(0.006, 0.006, 0.0, 0.0, 0, samples=(sample,))
    burst = run(slices=(Slices(sliced, 0.15, times),), samples=(sample,), steps=(step,))
    assert place(found("cpu-on-loop", burst)) == named


SENDS = library("starlette.responses:StreamingResponse.stream_response")


def test_a_slice_that_ends_as_a_framework_sends_is_placed_by_the_generator_that_it_runs():
    sent = (*APP, *SENDS, *library("starlette.middleware.wrap:send", "starlette.errors:_send"))
    made = Sample((*APP, *SENDS, frame("chunks:31")), "running", 0.006)
    sending = Sample(sent, "running", 0.002)
    culprit = found("cpu-on-loop", run(slices=(Slices(sent, 0.3, 100),), samples=(made, sending)))
    assert place(culprit) == ("chunks", 31)


def test_a_slice_of_a_framework_that_hardly_runs_the_users_code_is_its_own():
    sent = (*APP, *SENDS, *library("starlette.middleware.gzip:send", "gzip:compress"))
    made = Sample((*APP, *SENDS, frame("chunks:31")), "running", 0.002)
    sending = Sample(sent, "running", 0.006)
    culprit = found("cpu-on-loop", run(slices=(Slices(sent, 0.3, 100),), samples=(made, sending)))
    assert culprit.library


TO_THREAD = library(
    "anyio.to_thread:run_sync", "anyio._backends._asyncio:checkpoint", "asyncio.tasks:__sleep0"
)
IN_POOL = (*library("starlette.concurrency:run_in_threadpool"), *TO_THREAD)


@pytest.mark.parametrize("awaits", [TO_THREAD, IN_POOL], ids=["anyio", "starlette"])
def test_work_before_a_line_that_waits_for_a_thread_is_the_functions_and_not_that_lines(
    source, awaits
):
    slices = (Slices((*ROUTE, source(5), *awaits), 0.3, 100),)
    culprit = found("cpu-on-loop", run(slices=slices))
    assert place(culprit) == ("handler", 3)
    assert culprit.calls == ()


def test_work_before_a_line_that_waits_for_a_thread_is_placed_by_samples(source):
    slices = (Slices((*ROUTE, source(5), frame("helper:30"), *TO_THREAD), 0.3, 100),)
    shown = Sample((*ROUTE, source(4), frame("parse:41")), "running", 0.005)
    before = Sample((*ROUTE[:-1], *library("fastapi.dependencies:solve")), "running", 0.008)
    culprit = found("cpu-on-loop", run(slices=slices, samples=(shown, before)))
    assert place(culprit) == ("parse", 41)
    culprit = found("cpu-on-loop", run(slices=slices, samples=(before,)))
    assert (culprit.library, culprit.function) == (True, "solve")


def test_a_slice_that_ends_as_the_users_code_yields_is_that_lines():
    yields = library("asyncio.tasks:sleep", "asyncio.tasks:__sleep0")
    slices = (Slices((*ROUTE, frame("sliced:62"), *yields), 0.3, 100),)
    culprit = found("cpu-on-loop", run(slices=slices))
    assert place(culprit) == ("sliced", 62)
    assert culprit.calls == ("asyncio.sleep",)


def test_a_long_step_beside_its_slices_does_not_place_them():
    sliced, helper = (*ROUTE, frame("sliced:62")), frame("helper:30")
    sample = Sample((*ROUTE, frame("sliced:70"), helper), "running", 0.007)
    step = Step(0.007, 0.007, 0.0, 0.0, 0, samples=(sample,))
    burst = run(slices=(Slices(sliced, 0.012, 4),), samples=(sample,), steps=(step,))
    assert place(found("cpu-on-loop", burst)) == ("sliced", 62)


def test_one_long_sample_says_more_than_many_short_ones():
    short = [((*ROUTE, frame("short:20")), 0.001)] * 8
    culprit = found("cpu-on-loop", computing(((*ROUTE, frame("long:30")), 0.100), *short))
    assert place(culprit) == ("long", 30)
    assert (culprit.samples, culprit.of) == (8, 9)


def test_all_runs_vote_together():
    runs = [computing(((*ROUTE, frame("a:1")), 0.01)) for _ in range(3)]
    culprit = found("cpu-on-loop", *runs, computing(((*ROUTE, frame("b:2")), 0.05)))
    assert place(culprit) == ("b", 2)


# Stability


def test_the_function_is_voted_for_before_its_line():
    lines = [((*ROUTE, frame(f"loop:{n}")), 0.010) for n in (20, 21, 22)]
    culprit = found(
        "cpu-on-loop", computing(*lines, ((*ROUTE, frame("other:9")), 0.019), (lines[1][0], 0.001))
    )
    assert place(culprit) == ("loop", 21)


def test_two_helpers_of_which_neither_has_most_are_told_by_the_line_that_calls_them():
    first, second = frame("first:30"), frame("second:40")
    rest = ((*ROUTE, frame("handler:15")), 0.010)
    culprit = found(
        "cpu-on-loop", computing(((*HANDLER, first), 0.045), ((*HANDLER, second), 0.045), rest)
    )
    assert place(culprit) == ("handler", 12)
    assert culprit.samples == 3


def test_two_helpers_that_are_called_at_two_lines_are_told_by_the_handlers_definition(source):
    stacks = [((*ROUTE, source(line), frame(f"h{line}:30")), 0.01) for line in (4, 5)]
    culprit = found("cpu-on-loop", computing(*stacks))
    assert place(culprit) == ("handler", 3)
    assert culprit.is_route


@pytest.mark.parametrize("cause", ["cpu-on-loop", "gil-contention"])
def test_a_function_of_which_no_line_has_most_is_given_before_the_wrapper_that_is_the_handler(
    source, cause
):
    # An app that wraps all of its handlers alike: six tests were said to fail for the wrapper.
    wrapper = frame("wrapped:8")
    waits = Waiters((*ROUTE, wrapper), 8, 1.0)
    lines = [(source(line, "handler"), frame(f"h{line}:30")) for line in (4, 5)]
    samples = running(*[(*ROUTE, wrapper, *line) for line in lines])
    threads = running(*[(*WORKER, frame("run:9"), *line) for line in lines])
    culprit = found(cause, run(samples=samples, thread_samples=threads, waiters=(waits,)))
    assert (place(culprit), culprit.is_route) == (("handler", 3), True)


def test_the_deepest_function_that_the_helpers_have_in_common_is_meant():
    service = frame("service.py:load:7", "shop.service")
    stacks = [((*HANDLER, service, frame(f"h{n}:{n}")), 0.01) for n in (30, 40, 50)]
    assert place(found("cpu-on-loop", computing(*stacks))) == ("load", 7)


def test_what_a_loop_in_c_does_between_callbacks_is_not_the_work_of_what_started_it():
    started = library(
        "pluggy._execution:_multicall", "anyio._backends._asyncio:TestRunner.run_test"
    )
    culprit = found("cpu-on-loop", computing((started, 0.5), (HANDLER, 0.1)))
    assert place(culprit) == ("handler", 12)


def test_a_few_lines_of_the_users_do_not_stand_for_a_librarys_work():
    rows = ((*ROUTE[:-1], *library("sqlalchemy.loading:instances")), 0.010)
    mine = ((*ROUTE, frame("handler:12")), 0.010)
    culprit = found("cpu-on-loop", computing(*[rows] * 10, mine))
    assert (culprit.library, culprit.function) == (True, "instances")
    assert (culprit.samples, culprit.of) == (10, 11)


# Queues and chains


def test_the_end_of_a_chain_is_named_where_workers_wait_for_a_lock():
    asking = (
        *HANDLER,
        *library("anyio.to_thread:run_sync", "anyio._backends._asyncio:run_sync_in_worker_thread"),
    )
    waiting = Sample((*WORKER, frame("locked:31")), "lock", 0.5)
    holding = Sample((*WORKER, frame("locked:32"), *library("time:sleep")), "blocked", 0.1)
    culprit = found(
        "serialised-wait", queueing((asking, 8, 1.0), workers=(waiting, waiting, holding))
    )
    assert place(culprit) == ("locked", 31)
    assert (culprit.samples, culprit.of, culprit.counted) == (2, 2, "threads")


def test_a_lock_that_few_of_all_threads_wait_for_is_named_if_its_own_calls_do():
    # Another executor's threads are busy as well, as long as the request waits there alone.
    elsewhere = ((*ROUTE, frame("ask:40")), 3, 0.3)
    waiting = Sample((*WORKER, frame("locked:31")), "lock", 0.5)
    holding = Sample((*WORKER, frame("locked:32"), *library("time:sleep")), "sleep", 0.2)
    other = Sample((*WORKER, frame("asked:41"), *library("time:sleep")), "sleep", 0.4)
    culprit = found("serialised-wait", queueing(elsewhere, workers=(waiting, holding, other)))
    assert (place(culprit), culprit.counted) == (("locked", 31), "threads")


@pytest.mark.parametrize(("locked", "named"), [(0.4, ("connect", 31)), (0.1, ("handler", 12))])
def test_def_handlers_are_named_by_what_their_threads_do(locked, named):
    # Of 8 threads and 2 connections, half of the time is not spent waiting.
    asking = (
        *ROUTE[:-1],
        *library("starlette.concurrency:run_in_threadpool"),
        *library("anyio._backends._asyncio:run_sync_in_worker_thread"),
    )
    waiting = Sample((*WORKER, frame("handler:11"), frame("connect:31")), "lock", locked)
    holding = Sample((*WORKER, frame("handler:12"), *library("time:sleep")), "blocked", 0.5)
    waits = queueing((asking, 8, 1.0), workers=(waiting, holding))
    culprit = found("serialised-wait", waits)
    assert (place(culprit), culprit.counted) == (named, "threads")


@pytest.mark.parametrize(("most", "named"), [(7, ("take", 5)), (3, ("work", 9))])
def test_of_waits_as_long_the_one_of_most_copies_at_once_is_the_queue(most, named):
    sleep = library("asyncio.tasks:sleep")
    bucket = ((*ROUTE, frame("take:5"), *sleep), 7, 0.21, most)
    behind = ((*ROUTE, frame("work:9"), *sleep), 0, 0.23, 4)
    assert place(found("serialised-wait", queueing(bucket, behind))) == named


def test_the_tasks_that_a_request_gathers_are_not_a_longer_queue_than_the_one_it_waits_in():
    sleeps = ((*ROUTE, frame("one:4"), *library("asyncio.tasks:sleep")), 0, 6.0, 150)
    answer = ((*ROUTE, frame("ask:29")), 48, 8.0, 48)
    waits = queueing(sleeps, answer, concurrency=50)
    assert place(found("serialised-wait", waits)) == ("ask", 29)


SLEEP = library("asyncio.tasks:sleep")
ANSWER = ((*ROUTE, frame("ask:9")), 0, 0.2, 3)


BELOW_MIDDLEWARE = library("starlette.middleware.base:coro", "starlette.routing:app")


@pytest.mark.parametrize("route", [ROUTE, (*BELOW_MIDDLEWARE, frame("handler:12"))])
def test_requests_that_sleep_until_their_turn_comes_queue_where_they_sleep(route):
    bucket = ((*route, frame("take:5"), *SLEEP), 7, 0.19, 7)
    assert place(found("serialised-wait", queueing(bucket, ANSWER))) == ("take", 5)


def test_a_task_that_sleeps_in_the_background_is_in_no_queue():
    heartbeat = ((frame("beat:5"), *SLEEP), 8, 0.9, 8)
    assert place(found("serialised-wait", queueing(heartbeat, ANSWER))) == ("ask", 9)


def test_beside_a_lock_that_requests_queue_for_those_that_sleep_do_not_count():
    served = ((*ROUTE, frame("serve:5"), *SLEEP), 8, 0.9, 8)
    lock = ((*ROUTE, frame("guard:7"), *ASYNC_LOCK), 3, 0.3, 3)
    assert place(found("serialised-wait", queueing(served, lock))) == ("guard", 7)


def test_a_longer_queue_of_tasks_goes_before_the_lock_of_a_few_threads():
    waiting = Sample((*WORKER, frame("locked:31")), "lock", 0.1)
    culprit = found(
        "serialised-wait", queueing(((*HANDLER, *ASYNC_LOCK), 7, 0.8), workers=(waiting,))
    )
    assert place(culprit) == ("handler", 12)


def test_of_two_locks_in_a_row_the_one_that_was_waited_for_longer_is_named():
    first = ((*ROUTE, frame("handler:12"), *ASYNC_LOCK), 49, 0.1)
    second = ((*ROUTE, frame("handler:14"), *ASYNC_LOCK), 30, 1.4)
    culprit = found("serialised-wait", queueing(first, second, concurrency=50))
    assert place(culprit) == ("handler", 14)
    assert (culprit.samples, culprit.of, culprit.counted) == (50, 50, "copies")


def test_of_two_locks_of_threads_the_one_that_was_waited_for_longer_is_named():
    first = [Sample((*WORKER, frame("handler:12")), "lock", 0.01)] * 9
    second = [Sample((*WORKER, frame("handler:14")), "lock", 0.5)] * 3
    waits = queueing(
        ((*ROUTE, *library("anyio.to_thread:run_sync")), 9, 1.0), workers=(*first, *second)
    )
    assert place(found("serialised-wait", waits)) == ("handler", 14)


def test_the_counts_tell_where_nobody_looked_after_the_first_pass():
    waits = queueing(((*ROUTE, frame("other:9"), *ASYNC_LOCK), 1), ((*HANDLER, *ASYNC_LOCK), 7))
    assert place(found("serialised-wait", waits)) == ("handler", 12)


def test_who_sleeps_stands_in_no_queue():
    sleeping = ((*ROUTE, frame("handler:14"), *library("asyncio.tasks:sleep")), 40, 4.0)
    locked = ((*ROUTE, frame("handler:12"), *ASYNC_LOCK), 10, 1.0)
    assert place(found("serialised-wait", queueing(sleeping, locked))) == ("handler", 12)


def test_a_queue_that_polls_is_seen_where_nothing_else_waits():
    polling = ((*ROUTE, frame("handler:14"), *library("asyncio.tasks:sleep")), 8, 1.0)
    culprit = found("serialised-wait", queueing(polling))
    assert (place(culprit), culprit.is_route) == (("handler", 14), False)


def test_a_handler_that_waits_for_another_server_is_named_and_not_an_idle_worker():
    asking = (
        *HANDLER,
        *library("httpx._client:get", "httpcore._async:read", "anyio._core:receive"),
    )
    idle = (*LOOP, frame("consume:60"), *library("asyncio.queues:Queue.get"))
    culprit = found("serialised-wait", queueing((asking, 7, 0.7), (idle, 1, 0.1)))
    assert place(culprit) == ("handler", 12)
    assert culprit.calls[0] == "httpx.get"


def test_a_task_that_waits_for_its_own_child_is_not_named_before_the_lock():
    parent = ((*HANDLER, *library("asyncio.taskgroups:TaskGroup.__aexit__")), 8, 1.0)
    child = ((*LOOP, frame("child:50"), *ASYNC_LOCK), 7, 0.8)
    assert place(found("serialised-wait", queueing(parent, child))) == ("child", 50)


# What hangs


def test_a_hang_is_told_by_the_line_at_which_the_copies_wait():
    waits = queueing(((*HANDLER, *library("asyncio.locks:Event.wait")), 1), timed_out=True)
    assert place(found("serialised-wait", waits, reasons=("timeout",))) == ("handler", 12)


def test_a_step_that_never_ends_is_told_by_its_line():
    stuck = run(stuck=(*HANDLER, *library("requests.api:get")), timed_out=True)
    assert place(found("blocking-call", stuck, reasons=("timeout",))) == ("handler", 12)


def test_a_callback_in_which_a_hang_was_looked_at_is_not_where_it_hangs():
    waits = queueing(
        ((*HANDLER, *library("asyncio.locks:Event.wait")), 1),
        timed_out=True,
        budget=Budget(idle=0.95),
        stuck=(*ROUTE, frame("other:9")),
    )
    assert place(found("serialised-wait", waits, reasons=("timeout",))) == ("handler", 12)


def test_a_hang_for_the_clients_next_message_is_told_by_its_line():
    listening = (
        *HANDLER,
        *library("pytest_nonblocking.asgi.exchange:Call.receive", "asyncio.locks:wait"),
    )
    hang = queueing((listening, 1), timed_out=True)
    assert place(found("serialised-wait", hang, reasons=("timeout",))) == ("handler", 12)


@pytest.mark.parametrize("names", [("first", "second"), ("second", "first")])
def test_the_longest_queue_is_named_whatever_its_function_is_called(names):
    longest, other = ((*ROUTE, frame(f"{name}:12")) for name in names)
    culprit = found("serialised-wait", queueing((other, 3, 0.3), (longest, 5, 0.5)))
    assert place(culprit) == (names[0], 12)
