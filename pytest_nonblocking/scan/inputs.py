"""The request of one scanned operation: prepared once, then sent by each copy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .asking import HOST, OTHER_HOST
from .generated import generated, is_installed
from .ladder import Answered, Ladder
from .operation import Operation
from .prepared import Needs, NeedsInputError, Prepared
from .request import RefusedError, ask
from .seeds import received, refused_login, seeds_in
from .setup import Scan


class Asked:
    """Prepares the request of an operation, and sends it.

    ``operations`` may be asked for values; ``known`` are all that the app has, and no request is
    sent to those ``avoided``.
    """

    def __init__(
        self,
        operation: Operation,
        operations: Sequence[Operation],
        known: Sequence[Operation],
        avoided: Sequence[Operation],
        client: Any,
        scan: Scan,
        copy: Callable[[], int],
        note: Callable[[str], None],
    ) -> None:
        generate = generated if is_installed() else None
        self._answered = Answered()
        self._ladder = Ladder(
            operation, operations, client, scan, generate, self._answered, avoided
        )
        self._known = known
        self._client = client
        self._scan = scan
        self._copy = copy
        self._note = note
        self._prepared: Prepared | None = None
        self.needs: Needs | None = None
        """What the user has to give for this operation."""

    async def prepare(self) -> None:
        """Set up, and find a request that is answered; raises NeedsInputError."""
        if self._client.base_url.host == OTHER_HOST:
            self._client.base_url = f"http://{HOST}"
        self._client.headers.update(self._scan.headers)
        for name, value in self._scan.cookies.items():
            self._client.cookies.set(name, value)
        responses: list[Any] = []
        if self._scan.before is not None:
            with received(self._client) as responses:
                await self._scan.before(self._client)
            self._answered.seed(seeds_in(responses, self._known))
        try:
            self._prepared = await self._ladder.climb()
        except NeedsInputError as error:
            self.needs = error.needs
            needs_login = {*self.needs.headers, *self.needs.cookies} - {"Host"}
            if needs_login and (refused := refused_login(responses)):
                self.needs = self.needs._replace(why=f"{self.needs.why} ({refused})")
            raise NeedsInputError(self.needs) from error
        if self._prepared.sources:
            self._note("sent " + ", ".join(self._prepared.sources))

    async def ask(self) -> None:
        """Send the request of the running copy."""
        assert self._prepared is not None  # prepare() runs before, or raises
        try:
            await ask(self._client, self._prepared.for_copy(self._copy()))
        except RefusedError as error:
            self.needs = Needs(str(error))
            raise
