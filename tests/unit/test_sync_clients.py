"""Apps of test clients are wrapped once, and put back."""

import pytest

from pytest_nonblocking.load import sync_clients
from pytest_nonblocking.load.sync_clients import TestClients


async def app(scope, receive, send):
    """Serve nothing."""


class Transport:
    """A transport to which another thread sends a request as its app is first read."""

    other_thread = None

    @property
    def app(self):
        found = vars(self).get("held", app)
        if (send := self.other_thread) is not None:
            self.other_thread = None
            send(self, None)
        return found

    @app.setter
    def app(self, value):
        vars(self)["held"] = value


@pytest.mark.parametrize("threads", [1, 2])
def test_an_app_is_wrapped_once_whichever_threads_send(threads):
    clients, transport = TestClients(), Transport()
    send = clients._sent(lambda transport, request: None)
    transport.other_thread = send if threads == 2 else None
    send(transport, None)
    assert isinstance(transport.app, sync_clients._Observed)
    assert transport.app._app is app
    clients.remove()
    assert transport.app is app
