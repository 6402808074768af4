"""Gathering the evidence of one scenario, whatever goes wrong in the plugin itself."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from dataclasses import replace

from ..asgi.lifecycle import Clients
from ..clocks import CLOCKS
from ..model import Evidence, Limits
from ..sentinel import LoopStuck, Sentinel
from ..tasks import running_tasks
from . import scenario
from .burst import Body, BodyFailedError
from .faults import describe_fault
from .guarded import Guard
from .schedule import Progress

_OTHER_LOOP = re.compile("(bound|attached) to a different (event )?loop")
"""What asyncio says of a lock, a queue or a future of another loop."""


async def gather(
    body: Body,
    limits: Limits,
    sentinel: Sentinel,
    clients: Clients,
    around: AbstractContextManager[Progress | None],
    *,
    guard: Guard | None = None,
    before: Body | None = None,
) -> tuple[Evidence, float]:
    """Return the evidence for ``body`` on the running loop, and the seconds that it took.

    ``around`` spans the measurement and yields what is called before each round. Raises
    BodyFailedError, also if a fault of the plugin follows. Such a fault is not raised; if the body
    has not run by then, it runs once without being measured; what it raises is raised unchanged.
    """
    __tracebackhide__ = True
    began = CLOCKS.wall_ns()
    ran = False
    failures: list[BaseException] = []
    no_failures = (running_tasks().cancelled, LoopStuck, GeneratorExit)

    async def counted() -> object:
        try:
            return await recorded()
        except no_failures:
            raise
        except BaseException as error:
            failures.append(error)
            raise

    async def recorded() -> object:
        nonlocal ran
        if ran:
            return await body()
        ran = True
        with clients.recorder.recording():  # the warm-up
            return await body()

    try:
        with around as progress:
            evidence = await scenario.measure(
                counted,
                limits,
                sentinel,
                transports=clients.transports,
                door=None if clients.live is None else clients.live.door,
                progress=progress,
                guard=guard,
                before=before,
            )
    except BodyFailedError:
        raise
    except Exception as error:
        if failures:  # else a test that fails would pass
            raise BodyFailedError(failures[0], 0, 1) from None
        unmeasured = clients.why_ended() or why_unmeasured(error)
        if not ran:
            await body()
        return Evidence(unmeasured=unmeasured), seconds_since(began)
    return replace(evidence, sent=clients.recorder.take()), seconds_since(began)


def seconds_since(began_ns: int) -> float:
    """Return how many seconds ago the wall clock read ``began_ns``."""
    return (CLOCKS.wall_ns() - began_ns) / 1e9


def why_unmeasured(error: Exception) -> str:
    """Return the report's message for an exception that ended a measurement."""
    return describe_fault(error, "pytest-nonblocking")


def only_in_a_burst(failure: BodyFailedError, what: str) -> str:
    """Return what to do about ``what`` if it fails as one of several copies only."""
    if isinstance(failure.error, RuntimeError) and _OTHER_LOOP.search(str(failure.error)):
        return (
            f"{what} used a lock, a queue or a connection of the event loop of an earlier test: "
            "each test has a loop of its own.\nCreate it in the app's lifespan or in a fixture, or "
            'let the tests share a loop: pytest.mark.asyncio(loop_scope="session").'
        )
    return (
        f"{what} passed alone, but failed as copy {failure.copy} of {failure.concurrency} "
        "concurrent copies (numbered from 0).\nIf the copies share data, make it unique with "
        "virtual_user: virtual_user() returns the index of the running copy.\nOtherwise the app "
        "itself fails under concurrency."
    )
