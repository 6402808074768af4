"""The verdicts hold in every framework: for handlers that await, that block and that are `def`."""

import importlib

import framework_apps.store
import pytest
from framework_apps.store import Store
from judged import PASS, fail, said

pytestmark = pytest.mark.asyncio


@pytest.fixture
def module(request):
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    return importlib.import_module(f"framework_apps.{request.param}_app")


@pytest.fixture
def nonblocking_app(module):
    store = Store()
    app = module.make_app(store)

    async def middleware(scope, receive, send):
        await app(scope, receive, send)

    yield middleware
    # By now, the framework has run its own hooks: once, for all copies of the scenario.
    assert store.events == ["opened", "closed"]


def in_frameworks(*names):
    return pytest.mark.parametrize("module", names, indirect=True)


in_all = in_frameworks(
    "fastapi", "starlette", "litestar", "quart", "django", "falcon", "blacksheep"
)


@in_all
async def test_a_handler_that_awaits_passes(measure, get):
    assert said(await measure(get("/healthy"))) == PASS


@in_all
async def test_a_handler_that_blocks_fails_with_its_line(measure, get, module):
    assert said(await measure(get("/blocking"))) == fail(module.__file__)


@in_all
async def test_handlers_that_queue_for_a_lock_fail_with_its_line(measure, get):
    expected = fail(framework_apps.store.__file__, "# one at a time", "serialised-wait")
    assert said(await measure(get("/queueing"))) == expected


@in_frameworks("fastapi", "starlette", "litestar", "quart", "django", "falcon")
async def test_a_def_handler_in_a_worker_thread_passes(measure, get):
    assert said(await measure(get("/threaded"))) == PASS


@in_frameworks("litestar", "blacksheep")
async def test_a_def_handler_that_the_framework_runs_on_the_loop_fails(measure, get, module):
    assert said(await measure(get("/unthreaded"))) == fail(module.__file__)
