"""Runs made of literal budgets in milliseconds, and what the analysis makes of them."""

from dataclasses import replace

from pytest_nonblocking.analysis import stopping, verdict
from pytest_nonblocking.analysis.bounds import excess_of
from pytest_nonblocking.analysis.compared import compared, shown_by
from pytest_nonblocking.model import (
    Budget,
    Calibration,
    Evidence,
    Frame,
    Limits,
    Looks,
    Pressure,
    Run,
    Sample,
    Step,
    Waiters,
)

MS = 0.001
LIMITS = Limits()
_LOCK = Frame("locks.py", 1, "Lock.acquire", "asyncio.locks")
LOCKED = (Waiters((Frame("app.py", 1, "show", "app"), _LOCK), 7, 1.0),)
"""Seven copies that were seen waiting for a lock."""
CORES = 2


def budget(**parts):
    return Budget(**{name: value * MS for name, value in parts.items()})


def run(
    concurrency=1,
    *,
    looks=None,
    after=None,
    after_looks=None,
    pressure=0.0,
    stolen=0.0,
    residual=0.0,
    requests=None,
    first=None,
    **others,
):
    """A run with the parts of its budget, and all other durations, in milliseconds.

    Its copies end one after the other, the first of them after ``first``. What the machine and the
    plugin take is spread over the run.
    """
    fields = {name: others.pop(name) for name in tuple(others) if name in Run.__slots__}
    spent = budget(**others)
    makespan = spent.wall + residual * MS
    first = makespan / concurrency if first is None else first * MS
    each = (makespan - first) / max(1, concurrency - 1)
    fields.setdefault("latencies", tuple(first + each * copy for copy in range(concurrency)))
    taken = (spent.descheduled + spent.own) / max(makespan, 1e-9)
    fields.setdefault("taken", tuple(latency * taken for latency in fields["latencies"]))
    return Run(
        concurrency=concurrency,
        makespan=makespan,
        budget=spent,
        looks=looks or Looks(),
        after=after or Budget(),
        after_looks=after_looks or Looks(),
        pressure=Pressure(pressure * MS, stolen * MS),
        requests=concurrency if requests is None else requests,
        **fields,
    )


def step(*, cpu=0.0, blocked=0.0, witnessed=True, state="blocked"):
    """A step of the loop, in milliseconds, which waits in ``state``."""
    samples = (Sample((), state if blocked > cpu else "running", (cpu + blocked) * MS),)
    return Step((cpu + blocked) * MS, cpu * MS, blocked * MS, 0.0, 0, samples, witnessed=witnessed)


def looks(
    watched,
    *,
    full=0.0,
    maybe=None,
    free=0.0,
    active=0.0,
    several=None,
    quiet=0.0,
    alone=0.0,
    held=0.0,
    tried=None,
    late=0.0,
    **others,
):
    """Looks every 2.5 ms over ``watched`` milliseconds of idle time.

    ``full`` and ``maybe`` are the shares of it in which all cores were wanted, certainly and
    perhaps, ``active`` that in which any thread was runnable, ``several`` that in which two were,
    and ``quiet`` that in which certainly none was; ``free`` is how many ran without the GIL on
    average, ``alone`` the share of their CPU time in which a core was free, ``held`` the share of
    ``tried`` in which the GIL was held.
    """
    tried = watched if tried is None else tried
    maybe = full if maybe is None else maybe
    several = maybe if several is None else several
    count = max(1, int(watched / 2.5))
    return Looks(
        count=count,
        watched=watched * MS,
        saturated=watched * full * MS,
        maybe_saturated=watched * maybe * MS,
        free=watched * max(free, CORES * full) * MS,
        used=1.0,
        used_alone=alone,
        active=watched * active * MS,
        several=watched * several * MS,
        quiet=watched * quiet * MS,
        held=tried * held * MS,
        maybe_held=tried * held * MS,
        tried=tried * MS,
        wakes=count,
        late=count * late * MS,
        **others,
    )


def blind_looks(watched, *, held=0.0):
    """Looks where the system tells the state of no thread."""
    count = max(1, int(watched / 2.5))
    spent = watched * MS
    return Looks(
        count=count,
        watched=spent,
        held=spent * held,
        maybe_held=spent * held,
        tried=spent,
        states=False,
    )


def evidence(single, *bursts, singles=8, **calibration):
    """As many times the same single run, and the bursts."""
    return Evidence(
        (single,) * singles, tuple(bursts), Calibration(**{"cores": CORES} | calibration)
    )


def judge(single, *bursts, limits=LIMITS, **calibration):
    """Return the verdict on eight times the same single run, and the bursts."""
    return verdict.judge(evidence(single, *bursts, **calibration), limits)


def next_level(single, *bursts, limits=LIMITS, **calibration):
    """Return how many copies would be run next, None where the evidence is enough."""
    return stopping.next_level(evidence(single, *bursts, **calibration), limits)


def excess(single, burst, *, limits=LIMITS, others=(), **calibration):
    """Return the excess that one burst shows, beside the looks of ``others``."""
    known = evidence(single, burst, **calibration)
    shown = replace(shown_by([burst], [burst, *others]), later_looks=burst.after_looks)
    return excess_of(compared(burst, known.singles, known.calibration, shown), limits)


def part(single, burst, cause, **options):
    """Return the bounds of one cause in milliseconds, as a triple."""
    bounds = excess(single, burst, **options).parts[cause]
    return tuple(value / MS for value in (bounds.lower, bounds.estimate, bounds.upper))
