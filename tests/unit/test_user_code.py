"""Whose code a frame is, and what an application is made of."""

import functools
import json
import sysconfig
import types
from pathlib import Path

import pytest
from fastapi import APIRouter, FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Mount

import pytest_nonblocking
from pytest_nonblocking.analysis.user_code import (
    FRAMEWORKS,
    in_library,
    is_own_code,
    is_user_code,
    owner_of,
)
from pytest_nonblocking.asgi.apps import packages_of
from pytest_nonblocking.model import Frame


def test_a_library_made_by_cython_is_not_the_users_code():
    assert not is_user_code("framework/application.pyx")  # its frames tell no more than that
    assert is_user_code(str(Path("application.pyx").absolute()))


def test_what_is_installed_is_told_from_its_librarys_folder_on():
    assert in_library("/v/lib/python3.12/site-packages/pydantic/main.py") == "pydantic/main.py"
    assert in_library(r"C:\v\Lib\site-packages\pydantic\main.py") == "pydantic/main.py"
    assert in_library(json.__file__) == "json/__init__.py"
    assert in_library(str(Path(sysconfig.get_path("purelib"), "a.py"))) == "a.py"
    assert in_library(__file__) is None


def test_the_plugin_is_neither_the_users_nor_a_library():
    assert is_own_code(pytest_nonblocking.__file__)
    assert not is_user_code(pytest_nonblocking.__file__)


@pytest.mark.parametrize(
    ("file", "module", "owner"),
    [
        (__file__, "shop.api", "user"),
        ("/v/site-packages/adminpkg/views.py", "adminpkg.views", "app"),
        ("/v/site-packages/adminpkg_theme/a.py", "adminpkg_theme.a", "library"),
        (json.__file__, "json", "library"),
        (
            "/v/site-packages/pytest_nonblocking/asgi/exchange.py",
            "pytest_nonblocking.asgi.exchange",
            "own",
        ),
        ("<frozen importlib._bootstrap>", "importlib._bootstrap", "library"),
    ],
)
def test_a_frame_has_one_owner(file, module, owner):
    assert owner_of(Frame(file, 1, "f", module), {"adminpkg"}) == owner


def made_in(module, value):
    value.__module__ = module
    return value


def endpoint(module):
    async def view():
        return None

    return made_in(module, view)


def packages(app):
    return packages_of([app], FRAMEWORKS)


def test_a_frameworks_app_is_made_of_the_packages_of_its_handlers():
    app, router, mounted = FastAPI(), APIRouter(), FastAPI()
    app.get("/a")(endpoint("shop.api"))
    router.get("/b")(endpoint("shop_parts.views"))
    app.include_router(router)
    mounted.get("/c")(endpoint("adminpkg.views"))
    app.mount("/admin", mounted)
    assert packages(app) == {"shop", "shop_parts", "adminpkg"}


def test_an_app_is_found_below_its_middlewares():
    app = FastAPI()
    app.get("/a")(endpoint("shop.api"))

    class Outer:
        def __init__(self, app):
            self.app = app

    assert packages(made_in("shop_edge.asgi", Outer)(CORSMiddleware(app))) == {"shop", "shop_edge"}


def test_an_app_of_another_make_is_its_own_package():
    assert packages(endpoint("plain.asgi")) == {"plain"}
    assert packages(functools.partial(endpoint("plain.asgi"))) == {"plain"}
    quart = types.SimpleNamespace(view_functions={"a": endpoint("shop.views")})
    assert "shop" in packages(quart)


def test_an_app_that_contains_itself_or_refuses_to_be_looked_at_harms_nothing():
    class Refuses:
        @property
        def routes(self):
            raise RuntimeError

    app = FastAPI()
    app.router.routes.append(Mount("/self", app))
    assert packages(app) == set()
    assert packages(made_in("shy.asgi", Refuses)()) == {"shy"}
    assert packages(None) == set()
