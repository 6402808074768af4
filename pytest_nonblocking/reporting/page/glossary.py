"""The terms of the page, each with its meaning in a sentence or two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ...causes import CAUSE_TEXTS


class Term(NamedTuple):
    """A term as the glossary lists it."""

    title: str
    meaning: str


TERMS: Mapping[str, Term] = {
    "pass": Term("pass", "The upper bound of the judged figure is below its limit."),
    "fail": Term("fail", "The lower bound of a judged figure is above its limit."),
    "inconclusive": Term(
        "inconclusive",
        "The bounds enclose the limit: noise on the machine hides on which side the figure is.",
    ),
    "not-measured": Term(
        "not-measured", "A measurement could not be made; the note says why. It is not a pass."
    ),
    "known": Term("known", "A failure that the baseline accepts: its test does not fail for it."),
    **{
        cause: Term(cause, f"{text.title}. {text.explanation}")
        for cause, text in CAUSE_TEXTS.items()
    },
    "copy": Term("copy", "One execution of the test's body, which stands for one user."),
    "alone": Term("alone", "A single run: one copy, with nothing beside it."),
    "burst": Term("burst", "Copies that are released at once and run concurrently."),
    "makespan": Term(
        "makespan", "The time from the release of a burst to the end of its last copy."
    ),
    "serial-fraction": Term(
        "serial fraction",
        "The share of a single run's latency that each further concurrent request adds. 0: "
        "requests do not delay one another; 1: they run one after another.",
    ),
    "judged": Term(
        "judged figure",
        "The part of the serial fraction that is compared with max_serial_fraction: without the "
        "CPU allowance, accepted causes and offloaded work. An excess below 1 ms per request never "
        "fails, so the limit of a fast endpoint is higher.",
    ),
    "bounds": Term(
        "bounds",
        "The least and the most that a figure can be, given the noise on the machine. A pass rests "
        "on the upper bound, a fail on the lower one.",
    ),
    "throughput": Term(
        "saturation throughput",
        "The most requests per second that one process can serve, at any concurrency: 1 divided by "
        "what each further request adds.",
    ),
    "step": Term(
        "longest step",
        "The longest time for which one callback held the event loop, without waits for a "
        "processor or for the GIL. The limit is max_lag.",
    ),
    "blocked-step": Term(
        "longest blocked",
        "The longest time for which one callback was blocked: off the processor, in a system call "
        "or at a lock. The limit is max_blocked.",
    ),
    "allowance": Term(
        "CPU allowance",
        "CPU time on the loop that each request may use: it never counts against scaling "
        "(cpu_allowance).",
    ),
    "cpu": Term("on the CPU", "The loop's thread runs callbacks."),
    "blocked": Term("blocked", "A callback waits off the processor, and nothing else can run."),
    "gil": Term("waiting for the GIL", "A callback waits while another thread runs Python code."),
    "gc": Term("garbage collector", "Python's cyclic collector runs on the loop's thread."),
    "descheduled": Term(
        "waiting for a processor",
        "The loop's thread could run, and the machine runs something else. This is noise and is "
        "charged to nobody.",
    ),
    "idle": Term("idle", "No callback is ready: the loop is free to serve other requests."),
    "own": Term("the plugin's own", "Time that measuring takes on the loop, charged to nobody."),
    "machine-factor": Term(
        "machine factor",
        "How much slower this machine runs Python code than the reference machine, at least 1. "
        "Limits of computing are multiplied by it, limits of waiting are not.",
    ),
    "guard": Term(
        "guard",
        "Looks, in one run of its own, for calls that can block the loop, however fast they were "
        "here.",
    ),
}
