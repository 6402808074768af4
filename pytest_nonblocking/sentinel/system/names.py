"""The name of what this system measures with, for reports."""

from __future__ import annotations

import functools

from .clock import has_schedstat
from .pressure import Gauge
from .thread_state import Witness


@functools.cache
def clock_name() -> str:
    """Return the name of this system's clock, with what it lacks."""
    if not has_schedstat():
        return "thread_time with a canary thread"
    gauge, witness = Gauge(), Witness()
    lacks = [
        name
        for name, there in (("thread states", witness.works), ("CPU pressure", gauge.has_pressure))
        if not there
    ]
    gauge.close()
    witness.close()
    return ", ".join(["schedstat", *(f"without {name}" for name in lacks)])
