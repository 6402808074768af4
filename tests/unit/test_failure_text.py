"""The text of a failure and its notes, from literal evidence."""

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from pytest_nonblocking.causes import CAUSE_TEXTS, HANGS_FIX
from pytest_nonblocking.model import (
    CAUSES,
    Budget,
    Calibration,
    Culprit,
    Evidence,
    Finding,
    Frame,
    Guarded,
    Judged,
    Judgement,
    Limit,
    Limits,
    Outcome,
    Pool,
    Run,
    Sample,
    Step,
)
from pytest_nonblocking.reporting import guard_words, json_report
from pytest_nonblocking.reporting.advice import fix_for, notes_for
from pytest_nonblocking.reporting.failure import failure_text

ROOT = Path(__file__).parent
HANDLER = Frame(str(ROOT / "shop.py"), 3, "handler", "shop")
LIMITS = {
    name: Limit(value, "default")
    for name, value in {
        **{name: getattr(Limits(), name) for name in Limits.__slots__},
        "allow": {},
    }.items()
}
JUDGED = Judgement(
    "fail",
    reasons=("scaling",),
    cause="cpu-on-loop",
    causes=(("cpu-on-loop", 1.0),),
    serial=0.02,
    serial_fraction=1.0,
    excess=0.02,
)
FRACTION = Judged(fraction=1.0, low=0.9, high=1.1, limit=0.1)


def run(concurrency, makespan=0.02, **facts):
    budget, requests = Budget(cpu=makespan), concurrency
    return Run(concurrency, makespan, (makespan,), budget, **{"requests": requests} | facts)


def culprit(**facts):
    place = {"file": str(ROOT / "shop.py"), "line": 4, "function": "handler", "code": "one()"}
    return Culprit(**place | {"calls": (), "samples": 9, "of": 10} | facts)


LIBRARY = culprit(
    file="/v/site-packages/pydantic/main.py",
    line=9,
    function="dump_json",
    calls=("fastapi.serialize_response", "pydantic.dump_json"),
    library=True,
    route=HANDLER,
)


def outcome(judgement=JUDGED, found=None, evidence=None):
    measured = Evidence(singles=(run(1),) * 3, bursts=(run(8, 0.16),))
    return Outcome("test_shop.py::t", "GET /a", judgement, evidence or measured, LIMITS, found)


def rows(*args, **kwargs):
    """Return the rows of a failure's text by their labels, the headline as \"\"."""
    text = failure_text(outcome(*args, **kwargs), ROOT).splitlines()
    shown = {"": text[0]}
    for row in text[1:]:
        label, content = row[2:10].strip(), row[11:]
        shown[label] = shown.get(label, "") + content if label else shown.get(label, "")
    return text, shown


# Causes


def test_the_other_causes_are_told_with_their_shares():
    causes = (
        ("cpu-on-loop", 0.42),
        ("blocking-call", 0.33),
        ("serialised-wait", 0.16),
        ("gil-contention", 0.09),
    )
    text, shown = rows(replace(JUDGED, causes=causes))
    assert shown["others"] == "blocking-call 33%, serialised-wait 16%"
    labels = [row[2:10].strip() for row in text]
    assert labels.index("others") == labels.index("cause") + 1


@pytest.mark.parametrize("share", [0.0, 0.09])
def test_a_small_share_is_no_other_cause(share):
    causes = (("cpu-on-loop", 1 - share), ("blocking-call", share))
    assert "others" not in rows(replace(JUDGED, causes=causes))[1]


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize("reasons", [("scaling",), ("scaling", "lag"), ("blocked",), ("timeout",)])
def test_every_cause_has_a_text_for_every_reason(cause, reasons):
    evidence = late(concurrency=8)[2] if reasons == ("timeout",) else None
    text, shown = rows(replace(JUDGED, cause=cause, reasons=reasons), evidence=evidence)
    assert text[0].startswith("nonblocking: GET /a ")
    assert shown["cause"].startswith(f"{cause}: ")
    assert shown["fix"]


def test_a_failure_states_what_was_measured_the_limits_and_what_to_do():
    blocked = Budget(blocked=0.16, descheduled=0.003, own=0.001)
    burst = replace(run(8, 0.164), budget=blocked)
    judgement = replace(
        JUDGED,
        reasons=("scaling", "lag", "blocked"),
        cause="blocking-call",
        causes=(("blocking-call", 1.0),),
        max_blocked=0.02,
        guilty_runs=4,
        judged_runs=4,
    )
    found = culprit(code="time.sleep(0.02)")
    evidence = Evidence(singles=(run(1),) * 3, bursts=(burst,))
    assert failure_text(outcome(judgement, found, evidence), ROOT).splitlines() == [
        "nonblocking: GET /a blocks the event loop",
        "  each request occupies the loop for 20 ms: 8 at once took 164 ms (20 ms for one, 20 ms "
        "for each of 7 more, 4 ms of noise)",
        "  judged   serial fraction 1.00, limit max_serial_fraction=0.10 (default)",
        "  ceiling  at most 50 requests/s per process, at any concurrency",
        "  cause    blocking-call: 20 ms off the CPU in one callback, limit max_blocked=5 ms "
        "(default)",
        "  where    shop.py:4 in handler",
        "               time.sleep(0.02)",
        "           9 of 10 samples, 4 of 4 runs",
        "  machine  excluded: 3 ms run-queue delay, 1 ms of the plugin's own; CPU at reference "
        "speed",
        "  fix      await asyncio.sleep(…), make the handler `def`, or await "
        "anyio.to_thread.run_sync(…)",
    ]


FOUND = Finding(
    category="database",
    functions=("sqlite3.Cursor.execute", "sqlite3.connect"),
    file=str(ROOT / "shop.py"),
    line=4,
    function="handler",
    code="load()",
    calls=("sqlalchemy.execute", "sqlite3.Cursor.execute"),
    times=12,
    seconds=0.0004,
)
FILE = replace(FOUND, category="file", functions=("io.open",), line=7, calls=("io.open",), times=1)
STRICT = {"guard": Limit("fail", "pytest.ini")}


def guarded(*findings, judgement=None, found=None):
    judgement = judgement or replace(JUDGED, reasons=("guard",), cause="blocking-call")
    limits = LIMITS | STRICT
    whole = replace(outcome(judgement, found), findings=findings, limits=limits)
    return failure_text(whole, ROOT).splitlines()


def test_a_failure_of_the_guard_names_each_line_and_the_limit():
    assert guarded(FOUND, FILE) == [
        "nonblocking: GET /a makes calls that block the event loop, however fast they were here",
        "  guard    calls sqlite3.Cursor.execute, sqlite3.connect on the event loop: 12 times, "
        "0.4 ms here; they block for as long as the database takes",
        "  where    shop.py:4 in handler",
        "               load()      → sqlalchemy.execute → sqlite3.Cursor.execute",
        "  fix      use SQLAlchemy's create_async_engine and AsyncSession, make the handler `def`, "
        "or await anyio.to_thread.run_sync(…)",
        "  limit    guard=fail (from pytest.ini): no call of these categories on the event loop: "
        "network, database, sleep, process, lock, dns",
    ]


def test_a_measured_failure_tells_the_other_calls_too():
    judgement = replace(JUDGED, reasons=("scaling", "guard"), cause="blocking-call")
    other = replace(FOUND, line=9)
    text = guarded(FOUND, other, judgement=judgement, found=culprit(blocks_in="sqlite3.connect"))
    assert "  cause    blocking-call: sqlite3.connect, 0 ms per request off" in "\n".join(text)
    also = text.index(f"  It also {guard_words.HEADLINE}:")
    assert [row for row in text[also:] if "where" in row] == ["  where    shop.py:9 in handler"]
    alone = guarded(FOUND, judgement=judgement, found=culprit())
    assert not any("It also" in row for row in alone)


def test_a_finding_in_a_library_names_the_handler():
    text = guarded(replace(FOUND, library=True, route=HANDLER))
    assert text[2:4] == [
        "  where    in a library: shop.py:4 in handler",
        "               handler shop.py:3 in handler → sqlalchemy.execute → sqlite3.Cursor.execute",
    ]


def noted(*findings, guarded=Guarded(), watched=False, found=None, **limits):  # noqa: B008
    evidence = Evidence(guarded=guarded, watched=watched)
    held = LIMITS | {name: Limit(value, "pytest.ini") for name, value in limits.items()}
    return guard_words.notes(findings, evidence, held, found, ROOT)


def test_a_note_names_call_place_and_fix():
    assert noted(FOUND, FILE) == [
        "calls sqlite3.Cursor.execute, sqlite3.connect on the event loop: 12 times, 0.4 ms here; "
        "they block for as long as the database takes (shop.py:4 in handler → sqlalchemy.execute "
        "→ sqlite3.Cursor.execute): use SQLAlchemy's create_async_engine and AsyncSession",
        "calls io.open on the event loop: 1 time, 0.4 ms here; it blocks for as long as the disk "
        "takes (shop.py:7 in handler): await anyio.open_file(…)",
    ]


def test_calls_of_one_line_are_one_note():
    (note,) = noted(FOUND, replace(FILE, line=4))
    assert note.startswith("calls sqlite3.Cursor.execute, sqlite3.connect, io.open on the event")


def test_what_the_failure_says_is_no_note():
    assert len(noted(FOUND, FILE, guard="fail")) == 1
    assert len(noted(FOUND, FILE, found=culprit())) == 1


def test_accepted_calls_are_one_note_with_the_reason():
    assert noted(FOUND, guard_allow={"database": "in memory"}) == [
        "database calls at 1 line accepted by guard_allow (from pytest.ini): in memory"
    ]


def test_a_guard_that_saw_nothing_says_why():
    unmeasured = Guarded(unmeasured="another profiler is set (x.y)")
    assert noted(guarded=unmeasured) == ["guard: not-measured: another profiler is set (x.y)"]
    (note,) = noted(watched=True)
    assert "CPU time of its callbacks was not judged" in note


def test_many_lines_are_cut_short():
    many = [replace(FOUND, line=n) for n in range(1, 12)]
    assert noted(*many)[-1].startswith("calls that block the event loop at 3 more lines:")


def on(calibration, **facts):
    evidence = Evidence((run(1),) * 3, (run(8, 0.16),), calibration)
    return rows(replace(JUDGED, judged=FRACTION, **facts), evidence=evidence)[1]


def test_a_slow_cpu_extends_the_limits_of_computing_and_is_told():
    slow = Calibration(factor=2.0)
    assert on(slow)["cause"] == (
        "cpu-on-loop: 20 ms of CPU time per request on the loop, of which cpu_allowance=5 ms "
        "(default) × 2 slower machine is not counted; limit 2 ms per request, max_serial_fraction"
    )
    assert on(slow, reasons=("lag",), max_lag=0.06)["cause"] == (
        "cpu-on-loop: 60 ms of CPU time in one callback, "
        "limit max_lag=20 ms (default) × 2 slower machine"
    )
    assert on(slow)["machine"].endswith("; CPU 2× slower than the reference")


@pytest.mark.parametrize(
    ("cpu", "blocked", "shown"),
    [
        (0.017, 0.011, "17 ms of CPU time in one callback and 11 ms blocked: 28 ms"),
        (0.028, 0.0, "28 ms of CPU time in one callback"),
    ],
)
def test_a_callback_that_computes_and_blocks_says_how_long_it_did_either(cpu, blocked, shown):
    step = Step(0.03, cpu, blocked, gil=0.0, copy=None, witnessed=True)
    evidence = Evidence(singles=(run(1),) * 3, bursts=(run(8, 0.16, steps=(step,)),))
    judgement = replace(JUDGED, reasons=("lag",), max_lag=cpu + blocked)
    cause = rows(judgement, evidence=evidence)[1]["cause"]
    assert cause == f"cpu-on-loop: {shown}, limit max_lag=20 ms (default)"


def test_a_suspended_tracer_is_named():
    assert on(Calibration(tracer="coverage"))["machine"].endswith("with coverage suspended")


def test_single_runs_say_that_scaling_was_not_judged():
    alone = replace(JUDGED, reasons=("lag",), serial=None, serial_fraction=None, max_lag=0.06)
    text, _ = rows(alone, evidence=Evidence(singles=(run(1),) * 3))
    assert (
        text[1] == "  measured in each of 3 single runs, which took 20 ms; scaling was not judged"
    )
    text, _ = rows(alone, evidence=Evidence(singles=(run(1),), watched=True))
    assert text[1] == "  measured in the only run, which took 20 ms; scaling was not judged"


def test_a_cause_of_scaling_names_the_limit_in_milliseconds_and_its_setting():
    waits = replace(JUDGED, cause="serialised-wait", judged=FRACTION)
    assert rows(waits)[1]["cause"] == (
        "serialised-wait: requests queued for a lock, a pool or a single worker (loop idle for "
        "0 ms of 160 ms); limit 2 ms per request, max_serial_fraction"
    )
    pool = replace(waits, cause="thread-pool")
    assert rows(pool)[1]["cause"].endswith("; limit 2 ms per request, max_serial_fraction")


def test_the_judged_figure_stands_with_its_bounds_its_limit_and_what_is_not_counted():
    judged = replace(JUDGED, excess=0.015, judged=FRACTION)
    assert rows(judged)[1]["judged"] == (
        "serial fraction 1.00 (0.90 to 1.10), limit max_serial_fraction=0.10 (default); "
        "not counted: CPU up to cpu_allowance=5 ms (default)"
    )
    within = replace(FRACTION, fraction=0.05, low=0.02, high=0.08)
    lag = replace(judged, reasons=("lag",), excess=0.02, max_lag=0.06, judged=within)
    assert ", within max_serial_fraction=0.10 (default)" in rows(lag)[1]["judged"]
    unclear = replace(lag, judged=replace(within, high=0.12))
    assert ", limit max_serial_fraction=0.10 (default)" in rows(unclear)[1]["judged"]


@pytest.mark.parametrize(
    ("serial", "excess", "shown"),
    [
        (0.0514, 0.0464, True),  # the whole allowance, and a little less than a tenth
        (0.0500, 0.0470, False),
        (0.0100, 0.0085, True),
        (0.0100, 0.0095, False),
    ],
)
def test_the_allowance_is_named_if_it_is_used_up_or_much_of_the_sum(serial, excess, shown):
    judged = replace(JUDGED, serial=serial, excess=excess, judged=FRACTION)
    assert ("not counted" in rows(judged)[1]["judged"]) is shown


def test_a_sum_that_misses_its_burst_is_none():
    text, _ = rows(replace(JUDGED, serial=0.03))
    assert text[1] == (
        "  each request occupies the loop for 30 ms: 8 at once took 160 ms, one takes 20 ms"
    )


def test_work_after_the_responses_explains_a_sum_that_misses_its_burst():
    later = run(8, 0.006, after=Budget(cpu=0.24))
    text, _ = rows(replace(JUDGED, serial=0.03), evidence=Evidence((run(1),) * 3, (later,)))
    assert ": 8 at once took 6 ms and 240 ms after the last response, one takes" in text[1]


def test_the_sum_is_that_of_the_burst_that_was_judged():
    bursts = (run(8, 0.16), run(8, 0.3), run(8, 0.3))
    text, _ = rows(evidence=Evidence(singles=(run(1),) * 3, bursts=bursts))
    assert text[1].endswith("8 at once took 160 ms (20 ms for one, 20 ms for each of 7 more)")


def blocked_for(limit, longest):
    judgement = replace(JUDGED, cause="blocking-call", judged=FRACTION, max_blocked=longest)
    limits = LIMITS | {"max_blocked": limit}
    text = failure_text(replace(outcome(judgement), limits=limits), ROOT)
    return [line for line in text.splitlines() if line.startswith("  limits")]


def test_a_callback_within_its_limit_that_fails_for_scaling_says_so_in_one_sentence():
    assert blocked_for(Limit(0.010, "marker"), 0.008) == [
        "  limits   a callback of 8 ms is within max_blocked=10 ms (from marker), but callbacks "
        "run one after another: their sum is held to max_serial_fraction"
    ]
    assert blocked_for(Limit(0.005, "default"), 0.002) == []
    assert blocked_for(Limit(0.010, "marker"), 0.0) == []
    assert blocked_for(Limit(0.010, "marker"), 0.012) == []  # in too few runs


@pytest.mark.parametrize(
    ("facts", "shown"),
    [
        ({"max_lag": 0.004}, "; the event loop itself is free (longest callback 4 ms); limit"),
        ({}, "; the event loop itself is free (no long callback); limit"),
        ({"max_lag": 0.05, "reasons": ("scaling", "lag")}, "at a time; limit"),
    ],
)
def test_threads_that_compute_leave_the_loop_free(facts, shown):
    judgement = replace(JUDGED, cause="gil-contention", judged=FRACTION, **facts)
    assert shown in rows(judgement)[1]["cause"]


def test_work_of_threads_after_the_response_is_part_of_what_they_compute():
    burst = Run(8, 0.16, (0.16,) * 8, Budget(other_cpu=0.04), after=Budget(other_cpu=0.04))
    judgement = replace(JUDGED, cause="gil-contention", judged=FRACTION)
    evidence = replace(outcome().evidence, bursts=(burst,))
    shown = rows(judgement, None, evidence)[1]["cause"]
    assert shown.startswith("gil-contention: 10 ms of CPU time per request in worker threads")


# Fixes


def fix(found, loop="asyncio", requests=1):
    singles = tuple(run(1, requests=requests) for _ in range(3))
    evidence = Evidence(singles, (run(8, 0.16, requests=8 * requests),), Calibration(loop=loop))
    return rows(replace(JUDGED, cause="blocking-call"), found, evidence)[1]["fix"]


LIBRARYS_ROUTE = Frame("/v/site-packages/admin/views.py", 3, "index", "admin.views")


@pytest.mark.parametrize(
    ("found", "facts", "shown"),
    [
        (culprit(code="time.sleep(1)"), {}, "await asyncio.sleep(…), make the handler `def`, or "),
        (culprit(code="time.sleep(1)"), {"loop": "trio"}, "await trio.sleep(…), make the "),
        (culprit(calls=("redis.get",)), {"loop": "uvloop"}, "use redis.asyncio, make the "),
        (culprit(calls=("redis.get",)), {"loop": "trio"}, "await an async equivalent, make the "),
        (culprit(code="time.sleep(1)"), {"requests": 0}, "await asyncio.sleep(…), or await anyio"),
        (culprit(function="Audit.__call__"), {}, "await an async equivalent, or await anyio"),
        (culprit(library=True, route=LIBRARYS_ROUTE), {}, "await an async equivalent, or await"),
        (culprit(library=True), {}, "await an async equivalent, or await anyio"),
        (LIBRARY, {}, "await an async equivalent, make the handler `def`"),
        (None, {}, "await an async equivalent, or await anyio"),
    ],
    ids=["asyncio", "trio", "uvloop", "none-on-trio", "no-request", "middleware", "their-route",
         "unknown-route", "my-route", "nothing"],
)  # fmt: skip
def test_the_fix_fits_the_loop_and_the_handler(found, facts, shown):
    assert fix(found, **facts).startswith(shown)


def sampled(module, weight):
    return Sample((HANDLER, Frame("/v/x.py", 1, "f", module)), "running", weight)


@pytest.mark.parametrize(
    ("code", "samples", "shown"),
    [
        ("all()", (sampled("sqlalchemy.orm.loading", 0.6), sampled("mine", 0.4)), "ORM objects"),
        ("all()", (sampled("sqlalchemy.orm.loading", 0.1), sampled("mine", 0.9)), None),
        ("bcrypt.hashpw(a, b)", (), "it releases the GIL"),
    ],
)
def test_cpu_work_in_a_known_library_gets_its_advice(code, samples, shown):
    evidence = Evidence((run(1),) * 3, (run(8, 0.16, samples=samples),))
    text = rows(found=culprit(code=code), evidence=evidence)[1]["fix"]
    assert text.endswith(CAUSE_TEXTS["cpu-on-loop"].fix)
    assert text.startswith("reduce the work") if shown is None else shown in text


# Places


def test_a_line_of_the_users_is_told_with_its_calls():
    text, shown = rows(found=culprit(calls=("json.dumps",)))
    assert shown["where"] == "shop.py:4 in handler"
    assert "               one()      → json.dumps" in text
    assert "           9 of 10 samples, 0 of 0 runs" in text


@pytest.mark.parametrize(
    ("counted", "shown"),
    [("copies", "9 of 10 copies wait there"), ("threads", "9 of 10 samples of worker threads")],
)
def test_what_is_counted_is_said(counted, shown):
    assert f"           {shown}" in rows(found=culprit(counted=counted))[0]


def test_copies_that_waited_before_a_time_out_may_have_gone_on_since():
    text, _ = rows(replace(JUDGED, reasons=("timeout",)), culprit(counted="copies"))
    assert "           up to 9 of 10 copies waited there at once" in text


def test_a_library_is_told_as_one_with_the_path_from_the_handler_to_it():
    text, shown = rows(found=LIBRARY)
    assert shown["where"] == "in a library: pydantic/main.py:9 in dump_json"
    path = "handler shop.py:3 in handler → fastapi.serialize_response → pydantic.dump_json"
    assert f"               {path}" in text


def test_a_library_without_a_known_handler_is_told_with_the_calls_that_lead_there():
    text, _ = rows(found=replace(LIBRARY, route=None))
    assert "               fastapi.serialize_response → pydantic.dump_json" in text


def test_a_handler_in_which_no_line_is_agreed_on_is_told_by_its_definition():
    text, shown = rows(found=culprit(line=3, code="async def handler():", route=HANDLER))
    assert (
        shown["where"]
        == "shop.py:3 in handler: no single line of your code accounts for most samples"
    )
    assert "               async def handler():" in text
    assert "samples," not in "".join(text)


@pytest.mark.parametrize(
    ("found", "library", "route", "file"),
    [
        (culprit(), False, None, "shop.py"),
        (culprit(route=HANDLER), False, "shop.py:3 in handler", "shop.py"),
        (LIBRARY, True, "shop.py:3 in handler", "pydantic/main.py"),
    ],
)
def test_the_report_tells_of_a_place_whether_it_is_a_librarys(found, library, route, file):
    shown = json_report.measurement(outcome(found=found), ROOT)
    assert (shown.record.culprit.library, shown.record.culprit.route) == (library, route)
    assert shown.record.culprit.file == file
    written = json.loads(json_report.render(json_report.document([shown])))
    jsonschema.validate(written, json_report.schema())


# What hangs


def late(**facts):
    hang = Run(facts.pop("concurrency", 1), 0.5, (), Budget(), timed_out=True, **facts)
    kind = "singles" if hang.concurrency == 1 else "bursts"
    judgement = Judgement("fail", reasons=("timeout",), cause="serialised-wait")
    return judgement, culprit(), Evidence(**{kind: (hang,)})


def test_a_single_request_that_hangs_queues_behind_nobody():
    text, shown = rows(*late())
    assert text[0] == "nonblocking: GET /a does not finish, even alone"
    assert "the loop was idle and no other request was running" in shown["cause"]
    assert shown["where"] == "shop.py:4 in handler"
    assert "enlarge the pool" not in shown["fix"]
    assert "timeout" in shown["fix"]


@pytest.mark.parametrize(
    "facts", [{"concurrency": 8}, {"stuck": (HANDLER,)}], ids=["burst", "stuck"]
)
def test_any_other_time_out_is_told_as_before(facts):
    text, shown = rows(*late(**facts))
    assert text[0] == "nonblocking: GET /a does not finish"
    assert "no other request" not in shown["cause"]
    assert text[1].endswith(" finished within timeout=30 s (default)")


# What is inconclusive

NEAR_FRACTION = (
    "the serial fraction 0.11, with bounds 0.09 and 0.12, is within 5% of the limit 0.10"
)
NEAR_STEP = "the longest callback is within 1% of max_blocked"


@pytest.mark.parametrize(
    ("near", "limit"),
    [
        (NEAR_FRACTION, "max_serial_fraction=0.10 (default)"),
        (NEAR_STEP, "max_blocked=5 ms (default)"),
    ],
)
def test_a_figure_too_close_to_its_limit_says_what_to_change(near, limit):
    (note,) = notes_for(Judgement("inconclusive", near=near), outcome().evidence, LIMITS)
    assert note == (f"{near}: too close to decide; rerun on a quieter machine, or change {limit}")


def test_waits_that_may_be_of_random_length_say_so_and_no_machine_is_too_busy():
    judgement = Judgement("inconclusive", near=NEAR_FRACTION, may_be_random=True)
    (note,) = notes_for(judgement, outcome().evidence, LIMITS)
    assert note == (
        f"{NEAR_FRACTION}: requests wait for one another, or each waits for a random time by "
        "itself; have all copies request the same, accept the wait with allow, or change "
        "max_serial_fraction=0.10 (default)"
    )


def test_a_time_out_that_is_undecided_says_how_much_the_machine_took():
    taken = Run(8, 4.0, (), Budget(idle=1.0, descheduled=3.0), timed_out=True)
    limits = LIMITS | {"timeout": Limit(4.0, "marker")}
    (note,) = notes_for(Judgement("inconclusive"), Evidence(bursts=(taken,)), limits)
    assert note == (
        "a run did not finish within timeout=4 s (from marker), of which the machine took 75%: "
        "rerun on a quieter machine, or raise the limit"
    )


def test_a_single_run_that_waits_hangs_alone_even_if_a_short_callback_ran_at_its_time_out():
    waits = Run(1, 30.0, (), Budget(idle=29.9), timed_out=True, stuck=())
    assert fix_for("serialised-wait", None, Evidence(singles=(waits,))) == HANGS_FIX


@pytest.mark.parametrize(
    ("verdict", "said"), [("pass", True), ("inconclusive", True), ("fail", False)]
)
def test_all_but_a_fail_say_how_many_requests_the_cores_can_serve(verdict, said):
    judgement = Judgement(verdict, near="the serial fraction 0.12", offloaded=0.02)
    notes = notes_for(judgement, outcome().evidence, LIMITS)
    assert any("each request uses 20.0 ms of CPU time" in note for note in notes) is said


# Notes


def test_an_accepted_cause_is_told_with_its_origin_and_reason():
    limits = LIMITS | {"allow": Limit({"thread-pool": "two workers"}, "marker")}
    (note,) = notes_for(Judgement("pass", allowed=("thread-pool",)), outcome().evidence, limits)
    assert note == "thread-pool found and accepted by allow (from marker): two workers"


POOL = Pool("anyio limiter", 40, 40, 10)


@pytest.mark.parametrize(
    ("fraction", "verdict", "said"),
    [(0.02, "pass", False), (0.08, "pass", True), (0.02, "inconclusive", True)],
)
def test_a_pool_that_hardly_costs_anything_is_no_note(fraction, verdict, said):
    evidence = Evidence((run(1),) * 3, (run(50, 0.16, pools=(POOL,)),))
    judgement = Judgement(verdict, judged=replace(FRACTION, fraction=fraction), near="x")
    notes = notes_for(judgement, evidence, LIMITS)
    assert any("all 40 threads of the anyio limiter" in note for note in notes) is said


def test_a_pool_in_which_more_wait_than_are_served_is_a_note():
    crowded = replace(POOL, waiting=160)
    evidence = Evidence((run(1),) * 3, (run(200, 0.16, pools=(crowded,)),))
    slight = Judgement("pass", judged=replace(FRACTION, fraction=0.02))
    assert any("160 calls waited for one" in note for note in notes_for(slight, evidence, LIMITS))


@pytest.mark.parametrize(("offloaded", "said"), [(0.002, False), (0.006, True)])
def test_cpu_that_the_loop_itself_could_take_is_no_note_in_threads(offloaded, said):
    notes = notes_for(Judgement("pass", offloaded=offloaded), outcome().evidence, LIMITS)
    assert bool(notes) is said


def test_without_an_allowance_a_request_without_cpu_in_threads_is_no_note():
    limits = LIMITS | {"cpu_allowance": Limit(0.0, "marker")}
    assert notes_for(Judgement("pass"), outcome().evidence, limits) == ()


# Background work


def notes(background, makespan=0.02, in_bursts=0.0):
    evidence = Evidence(
        singles=tuple(run(1, makespan, background=each) for each in background),
        bursts=(run(8, 0.16, background=in_bursts),),
    )
    return notes_for(Judgement("pass"), evidence, LIMITS)


def test_work_after_the_response_shows_in_the_single_runs():
    (note,) = notes([0.030, 0.031, 0.029])
    assert note.startswith("background work continued for 30 ms after the response")


@pytest.mark.parametrize(
    ("background", "makespan"),
    [
        ([0.0001] * 3, 0.02),
        ([0.0049] * 3, 0.02),  # a moment
        ([0.009] * 3, 0.1),  # little beside the request
        ([0.0001, 0.0001, 0.030], 0.02),  # once
        ([], 0.02),
    ],
)
def test_what_any_app_needs_to_return_is_no_background_work(background, makespan):
    assert notes(background, makespan, in_bursts=0.05) == ()
