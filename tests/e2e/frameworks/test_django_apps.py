"""Django without a lifespan, and what asgiref runs in threads."""

import pytest
from judged import PASS, fail, said

pytestmark = pytest.mark.asyncio


@pytest.fixture
def django_app():
    pytest.importorskip("django", reason="django is not installed")
    from framework_apps import django_app

    return django_app


@pytest.fixture
def nonblocking_app(request, django_app):
    return getattr(django_app, request.param)


@pytest.mark.parametrize("nonblocking_app", ["plain_app"], indirect=True)
async def test_an_app_without_a_lifespan_is_measured(measure, get):
    assert said(await measure(get("/stateless"))) == PASS


# Each request that has reached Django has a thread of its own for its sync views (which pass).
# Before that, asgiref has one thread for all.
@pytest.mark.parametrize("nonblocking_app", ["checked_app"], indirect=True)
async def test_work_in_the_one_thread_of_asgiref_fails(measure, get, django_app):
    expected = fail(django_app.__file__, "# waits for the thread", "thread-pool")
    assert said(await measure(get("/stateless"))) == expected
