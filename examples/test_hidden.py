"""Blocking calls far from the handler."""

import pytest
from shop import hidden

pytestmark = pytest.mark.nonblocking


@pytest.fixture
def nonblocking_app():
    return hidden.app


@pytest.mark.parametrize(
    "path",
    ["blocking-dependency", "threaded-dependency", "blocking-middleware", "async-middleware"],
)
async def test_get(nonblocking_client, path):
    assert (await nonblocking_client.get(f"/{path}")).status_code == 200


@pytest.mark.parametrize("path", ["blocking-validator", "checked-in-handler"])
async def test_post(nonblocking_client, virtual_user, path):
    street = f"{virtual_user()} Main Street"
    response = await nonblocking_client.post(f"/{path}", json={"street": street})
    assert response.json() == street
