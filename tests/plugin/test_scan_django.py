"""A scan of a Django project: its URLconf, with what it includes and converts."""

import pytest

pytest.importorskip("django", reason="django is not installed")

SETTINGS = """
SECRET_KEY = "x"
ALLOWED_HOSTS = ["localhost"]
ROOT_URLCONF = "project.urls"
INSTALLED_APPS = [
    f"django.contrib.{name}" for name in ("contenttypes", "auth", "admin", "sessions", "messages")
]
"""
ASGI = """
import os
from django.core.asgi import get_asgi_application
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
application = get_asgi_application()
"""
URLS = """
from django.conf import settings
from django.conf.urls.i18n import i18n_patterns
from django.contrib import admin
from django.urls import include, path, re_path, register_converter
from django.views.static import serve
from shop import views

class Year:
    regex = "20[0-9]{2}"

    def to_python(self, value):
        return int(value)

    def to_url(self, value):
        return str(value)

register_converter(Year, "year")
urlpatterns = [
    path("", views.health),
    path("shop/", include(("shop.urls", "shop"), namespace="shop")),
    path("api/<str:tenant>/", include([path("health/", views.health)])),
    path("years/<year:year>/", views.health),
    re_path(r"^old/(?P<key>[0-9]+)/$", views.health),
    re_path(r"^(a|b)/x/?$", views.health),
    re_path(r"^v[0-9]/x$", views.health),  # no path can be made of it
    re_path(r"^static/(?P<path>.*)$", serve),
    path("admin/", admin.site.urls),
    *i18n_patterns(path("news/", views.health)),
]
"""
SHOP_URLS = """
from django.urls import path
from . import views

urlpatterns = [
    path("items/", views.Items.as_view()),
    path("items/<int:number>/", views.item),
    path("photos/<uuid:key>/<slug:name>/", views.health),
    path("files/<path:rest>", views.health),
    path("orders/", views.order),
]
"""
VIEWS = """
import asyncio, time
from django.http import Http404, JsonResponse
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

async def health(request, **parts):
    await asyncio.sleep(0.02)
    return JsonResponse({})

class Items(View):
    async def get(self, request):
        time.sleep(0.05)
        return JsonResponse({"items": [{"id": 31}]})

    async def post(self, request):
        return JsonResponse({})

async def item(request, number):
    if number != 31:
        raise Http404
    return await health(request)

@csrf_exempt
@require_POST
async def order(request):
    return JsonResponse({})
"""


@pytest.fixture
def project(pytester):
    for name, files in {
        "project": {"settings": SETTINGS, "asgi": ASGI, "urls": URLS},
        "shop": {"urls": SHOP_URLS, "views": VIEWS},
    }.items():
        pytester.mkpydir(name)
        for file, text in files.items():
            (pytester.path / name / f"{file}.py").write_text(text, "utf-8")
    pytester.makeini("[pytest]\npythonpath = .\nnonblocking_app = project.asgi:application\n")
    return pytester


def scan(project, *arguments):
    # In a process of its own: a process has one configuration of Django.
    return project.runpytest_subprocess("--nonblocking-scan", *arguments)


def test_the_urlconf_gives_the_operations(project):
    result = scan(project, "--collect-only", "-q", "--nonblocking-scan-methods=GET,POST,OPTIONS")
    assert [line for line in result.outlines if line.startswith("scan::")] == [
        "scan::GET /",
        "scan::GET /shop/items/",
        "scan::POST /shop/items/",
        "scan::GET /shop/items/{number}/",
        "scan::GET /shop/photos/{key}/{name}/",
        "scan::GET /shop/files/{rest}",
        "scan::POST /shop/orders/",
        "scan::GET /api/{tenant}/health/",
        "scan::GET /years/{year}/",
        "scan::GET /old/{key}/",
        "scan::GET /{var}/x/",
        "scan::GET /en-us/news/",
    ]


def test_converters_and_lists_give_the_values(project):
    result = scan(project, "-v", "--nonblocking-report=out.json", "-k", "items or photos or years")
    result.assert_outcomes(passed=2, failed=1, skipped=1, deselected=6)
    result.stdout.fnmatch_lines(
        [
            "*shop/views.py:14 in Items.get",
            "*GET /years/{year}/: no value fits its path: give its inputs*",
        ]
    )
    notes = result.stdout.str()
    assert "sent number=31 (from GET /shop/items/)" in notes
    assert "sent key='00000000-0000-4000-8000-000000000000' (made from the schema)" in notes


def test_classes_of_views_are_placed_at_their_methods(project):
    project.makeconftest(
        """
        def pytest_collection_modifyitems(items):
            for one in items:
                file, line, _ = one.location
                print(f"{one.nodeid} is in {file}:{line + 1}")
        """
    )
    result = scan(project, "--collect-only", "-q", "scan::GET /shop/items/")
    result.stdout.fnmatch_lines(["scan::GET /shop/items/ is in shop/views.py:13"])
