"""Reports made of literal figures, for tests of what is made of them."""

from pytest_nonblocking.reporting.plain import from_plain, to_plain
from pytest_nonblocking.reporting.record import Culprit, Record, Report

LIMITS = {
    "concurrency": {"value": 50, "from": "default"},
    "max_serial_fraction": {"value": 0.1, "from": "pyproject.toml"},
    "allow": {"value": {}, "from": "default"},
}


def level(concurrency, makespan, **parts):
    """One level whose time was spent on ``parts``, in milliseconds."""
    names = ("cpu", "blocked", "gil", "gc", "descheduled", "idle", "own", "other_cpu")
    budget = dict.fromkeys(names, 0.0)
    return {
        "concurrency": concurrency,
        "rounds": 3,
        "makespan_ms": makespan,
        "latency_ms": {"min": 20.0, "p50": makespan / 2, "p95": makespan, "max": makespan},
        "budget_ms": budget | parts,
        "pressure_ms": 0.0,
        "residual_ms": 0.0,
        "runs": [{"makespan_ms": makespan * n, "p50_ms": makespan / 2} for n in (0.9, 1.0, 1.1)],
    }


def record(nodeid="test_shop.py::test_ok", **changes):
    """A healthy measurement with ``changes``."""
    healthy = {
        "nodeid": nodeid,
        "target": "GET /ok",
        "verdict": "pass",
        "reasons": [],
        "cause": None,
        "culprit": None,
        "message": None,
        "fix": None,
        "accepted_by": None,
        "allowed": [],
        "guard": [],
        "notes": [],
        "serial_fraction": 0.01,
        "judged": {"fraction": 0.0, "low": 0.0, "high": 0.0, "limit": 0.1},
        "causes": [],
        "serial_ms": 0.2,
        "ceiling_rps": 5000.0,
        "max_lag_ms": 0.0,
        "max_blocked_ms": 0.0,
        "wall_s": 0.2,
        "levels": [level(1, 20.0, idle=19.0, cpu=1.0), level(50, 30.0, idle=20.0, cpu=10.0)],
        "limits": LIMITS,
        "timeline": None,
        "stacks": [],
        "history": [],
    }
    return from_plain(Record, healthy | to_plain(changes))


def culprit(**changes):
    """A culprit with ``changes``."""
    found = {
        "file": "shop/app.py",
        "line": 41,
        "function": "export",
        "code": "time.sleep(0.05)",
        "calls": ["time.sleep"],
        "samples": 24,
        "of": 24,
        "library": False,
        "route": None,
        "source": {"first": 40, "lines": ["async def export():", "    time.sleep(0.05)", ""]},
    }
    return from_plain(Culprit, found | to_plain(changes))


def finding(**changes):
    """What the guard found at the culprit's line, with ``changes``."""
    return {
        "category": "sleep",
        "functions": ["time.sleep"],
        "file": "shop/app.py",
        "line": 41,
        "function": "export",
        "code": "time.sleep(0.05)",
        "calls": ["time.sleep"],
        "times": 1,
        "took_ms": 50.1,
        "library": False,
        "route": None,
        "accused": True,
        "fix": "await asyncio.sleep(…)",
    } | changes


def past(started, verdict="fail", serial_ms=49.0):
    """An earlier run of the failing test."""
    return {
        "started": started,
        "commit": "aaaabbbbcccc",
        "verdict": verdict,
        "serial_ms": serial_ms,
        "max_lag_ms": serial_ms + 1,
    }


def failing(nodeid="test_shop.py::test_export", **changes):
    """A blocking handler with ``changes``."""
    facts = {
        "verdict": "fail",
        "reasons": ["scaling", "lag", "blocked"],
        "cause": "blocking-call",
        "culprit": culprit(),
        "guard": [finding()],
        "message": "nonblocking: GET /export blocks the event loop\n  cause    blocking-call",
        "target": "GET /export",
        "fix": "await asyncio.sleep(…), or make the handler `def`",
        "serial_fraction": 1.0,
        "serial_ms": 50.0,
        "ceiling_rps": 20.0,
        "max_lag_ms": 50.0,
        "max_blocked_ms": 49.0,
        "levels": [level(1, 50.0, blocked=49.0, cpu=1.0), level(8, 400.0, blocked=390.0, cpu=10.0)],
        "timeline": {
            "concurrency": 8,
            "makespan_ms": 400.0,
            "copies": [
                {"end_ms": 50.0 * (n + 1), "steps_ms": [[50.0 * n, 50.0, 49.0]]} for n in range(8)
            ],
        },
        "stacks": [
            {
                "frames": ["export (shop/app.py:41)", "sleep (time:1)"],
                "count": 20,
                "user": [True, False],
            },
            {"frames": ["export (shop/app.py:42)"], "count": 4, "user": [True]},
        ],
        "history": [past("2026-01-29T09:00:00", "pass", 1.0), past("2026-01-30T09:00:00")],
    }
    return record(nodeid, **facts | changes)


SESSION = {
    "started": "2026-01-31T09:05:00+01:00",
    "duration_s": 65.2,
    "command": "pytest tests",
    "app": "shop.main:app",
    "commit": "0123456789abcdef0123456789abcdef01234567-dirty",
    "ci": "GitHub Actions",
    "ci_url": "https://ci.example/runs/1",
    "source_url": "https://ci.example/blob/0123/",
    "rootdir": "/home/me/shop",
}


def report(*tests, machine_factor=1.0, session=SESSION):
    """A whole report of ``tests``."""
    whole = {
        "schema_version": 1,
        "tool": {"name": "pytest-nonblocking", "version": "0.1.0"},
        "environment": {
            "python": "3.12.1",
            "platform": "Linux",
            "loop": "asyncio",
            "clock": "schedstat",
            "machine_factor": machine_factor,
        },
        "tests": to_plain(tests),
        "session": session,
    }
    return from_plain(Report, whole)
