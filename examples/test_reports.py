"""CPU work."""

import pytest
from shop import reports

pytestmark = pytest.mark.nonblocking


@pytest.fixture
def nonblocking_app():
    return reports.app


@pytest.mark.parametrize(
    "path", ["on-the-loop", "on-the-loop-in-slices", "in-threads", "key-in-threads"]
)
async def test_report(nonblocking_client, path):
    assert (await nonblocking_client.get(f"/{path}")).status_code == 200


class TestWithProcesses:
    """The same work in worker processes."""

    @pytest.fixture
    def nonblocking_app(self):
        return reports.app_with_processes

    async def test_in_processes(self, nonblocking_client):
        assert (await nonblocking_client.get("/in-processes")).status_code == 200
