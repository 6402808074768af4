"""The clients of one test, and the life of the apps behind them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from .. import tasks
from ..model import Limit
from ..sentinel import LastStacks
from .client import LOGGER, ASGITransport, make_client, make_live_client
from .client_log import ClientLog
from .lifespan import DEFAULT_TIMEOUT, seconds_within
from .recorder import Recorder
from .servers import LiveServer


class Clients:
    """Creates clients, and starts and shuts down their apps around the body of a test.

    ``server`` is "asgi" for in-process clients, or the name of a real server. ``timeout`` limits
    each app's start-up and its shutdown.
    """

    def __init__(self, server: str, timeout: Limit = DEFAULT_TIMEOUT) -> None:
        self._server = server
        self._timeout = timeout
        self._log = ClientLog(LOGGER)
        self._clients: list[tuple[Any, ASGITransport | LiveServer]] = []
        self.apps: list[Any] = []
        self.recorder = Recorder()
        self.live: LiveServer | None = None
        self.last_stacks = LastStacks()
        """What prints the stacks if an app holds the test's loop and nothing can end it."""

    @property
    def transports(self) -> list[ASGITransport | LiveServer]:
        """The transports of all clients."""
        return [transport for _, transport in self._clients]

    def client_for(self, app: Any) -> Any:
        """Return a new client for ``app``; raises TypeError if it cannot be called."""
        if not callable(app):
            raise TypeError(
                f"nonblocking: the app is {app!r}, which is not callable; have the fixture "
                "`nonblocking_app` return an ASGI application, or give `app_client` one"
            )
        self.apps.append(app)
        if self._server == "asgi":
            client, transport = make_client(app, timeout=self._timeout, recorder=self.recorder)
            self._clients.append((client, transport))
        else:
            client, live = make_live_client(app, self._server, self._timeout, self.recorder)
            self._clients.append((client, live))
            self.live = live
        return client

    async def startup(self) -> None:
        """Start all apps; raises AppStartupError."""
        __tracebackhide__ = True
        self._log.filter()
        for transport in self.transports:
            with self._stacks_printed():
                await transport.startup()

    async def shutdown(self) -> None:
        """Close all clients and shut their apps down, in reverse order; raises AppShutdownError."""
        __tracebackhide__ = True
        self._log.restore()
        errors: list[Exception] = []
        for client, transport in reversed(self._clients):
            await client.aclose()
            try:
                with self._stacks_printed():
                    await transport.shutdown()
            except Exception as error:  # the others must be shut down too
                errors.append(error)
        if errors:
            raise errors[0]

    @contextlib.contextmanager
    def _stacks_printed(self) -> Iterator[None]:
        if self.live is None:  # a live server has a loop and a timeout of its own
            self.last_stacks.print_after(seconds_within(self._timeout) + tasks.GRACE)
        try:
            yield
        finally:
            self.last_stacks.cancel()

    def why_ended(self) -> str | None:
        """Return why a live server has ended by itself, None if none has."""
        return None if self.live is None else self.live.why_ended()

    def raise_failure(self) -> None:
        """Raise the first exception of an app that no request has raised."""
        __tracebackhide__ = True
        for transport in self.transports:
            transport.raise_failure()

    def release(self) -> None:
        """Close the port of a live server whose test never ran."""
        if self.live is not None:
            self.live.release()
