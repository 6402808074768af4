"""Which line is named, from literal stacks."""

from pytest_nonblocking import attribution
from pytest_nonblocking.results import (
    Budget,
    Calibration,
    Evidence,
    Frame,
    GilUse,
    Judgement,
    Run,
    Waiters,
)

HANDLER = Frame("/app/api.py", 12, "handler", "app.api")
WORKER = Frame("/app/jobs.py", 40, "work", "app.jobs")
BODY = Frame("/app/test_api.py", 5, "test_it", "test_api")
SERIALISED = Judgement("fail", reasons=("scaling",), cause="serialised-wait")


def library(*modules):
    return tuple(Frame(f"/site-packages/{m}.py", 1, "call", m) for m in modules)


def evidence(*waiters, workers=()):
    burst = Run(
        concurrency=50,
        makespan=1.0,
        latencies=(),
        budget=Budget(),
        gil=GilUse(),
        waiters=tuple(waiters),
        workers=workers,
    )
    return Evidence(calibration=Calibration(), bursts=(burst,))


def test_a_handler_that_waits_for_another_server_is_named_and_not_an_idle_worker():
    found = attribution.find(
        evidence(
            Waiters((HANDLER, *library("httpx._client", "httpcore._async", "anyio._core")), 47),
            Waiters((WORKER, *library("asyncio.queues")), 1),
        ),
        SERIALISED,
    )
    assert (found.file, found.line) == ("/app/api.py", 12)


def test_a_client_that_waits_for_the_app_only_passes_the_wait_on():
    found = attribution.find(
        evidence(
            Waiters((BODY, *library("httpx._client", "pytest_nonblocking.client")), 50),
            Waiters((HANDLER, *library("asyncio.locks")), 49),
        ),
        SERIALISED,
    )
    assert (found.file, found.line) == ("/app/api.py", 12)


def test_def_handlers_that_wait_for_threads_are_named_and_not_a_helper_of_the_test():
    helper = Frame("/app/tests/helpers.py", 20, "get_ok", "tests.helpers")
    found = attribution.find(
        evidence(
            Waiters((BODY, helper, *library("httpx._client", "pytest_nonblocking.client")), 50),
            workers=((*library("threading"), HANDLER, *library("requests.api")),),
        ),
        Judgement("fail", reasons=("scaling",), cause="thread-pool"),
        (BODY.file, BODY.function),
    )
    assert (found.file, found.line) == ("/app/api.py", 12)
