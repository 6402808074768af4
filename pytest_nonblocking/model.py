"""Plain data that flows through the plugin: what was measured and what was decided.

Everything here is frozen and knows nothing of the rest of the package. Durations are seconds
unless a name carries another unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Verdict = Literal["pass", "fail", "inconclusive", "not-measured"]
CONCLUSIVE: tuple[Verdict, ...] = ("pass", "fail")
"""The verdicts that prove something."""
Reason = Literal["scaling", "lag", "blocked", "timeout"]
Cause = Literal["blocking-call", "cpu-on-loop", "gil-contention", "thread-pool", "serialised-wait"]
CAUSES: tuple[Cause, ...] = (
    "blocking-call",
    "cpu-on-loop",
    "gil-contention",
    "thread-pool",
    "serialised-wait",
)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request through the ASGI transport, with separate stamps (``perf_counter_ns``).

    ``app_return_ns`` later than ``last_byte_ns`` is background work: it is reported, never
    charged to the latency of the response.
    """

    method: str
    path: str
    status: int | None
    start_ns: int
    response_start_ns: int | None
    last_byte_ns: int | None
    app_return_ns: int | None


@dataclass(frozen=True, slots=True)
class Budget:
    """The loop-time budget of a window: its parts sum to the length of the window.

    ``own`` is the time that the plugin itself takes on the loop; it is charged to nobody. The
    fields below ``own`` describe the rest of the process and are not part of the sum.
    """

    cpu: float = 0.0
    blocked: float = 0.0
    gil: float = 0.0
    gc: float = 0.0
    descheduled: float = 0.0
    idle: float = 0.0
    own: float = 0.0
    other_cpu: float = 0.0
    """Processor time of the process's other threads."""
    other_delay: float = 0.0
    """Run-queue delay of the process's other threads."""
    child_cpu: float = 0.0
    """Processor time of the child processes, live and reaped."""
    child_delay: float = 0.0
    """Run-queue delay of the live child processes."""
    driver_cpu: float = 0.0
    """Processor time of the test's own side of the requests, where that is in other threads."""
    idle_cpu: float = 0.0
    """The part of ``other_cpu`` that was used while the loop was idle."""
    gil_cpu: float = 0.0
    """The part of ``other_cpu`` that was used in steps that may have waited for the GIL."""
    gil_seen: float = 0.0
    """The part of ``gil_cpu`` in steps that were seen to wait for the GIL."""
    unwitnessed: float = 0.0
    """The share of ``blocked`` in steps too short for a stack sample to have confirmed it."""

    @property
    def wall(self) -> float:
        """The sum of the parts in seconds."""
        return (
            self.cpu + self.blocked + self.gil + self.gc + self.descheduled + self.idle + self.own
        )


@dataclass(frozen=True, slots=True)
class Pressure:
    """For how long the machine kept any task waiting in a window, in seconds.

    ``waiting`` is the growth of the kernel's pressure counter, or a coarser bound where there is
    none; ``stolen`` is what a hypervisor took.
    """

    waiting: float = 0.0
    stolen: float = 0.0


@dataclass(frozen=True, slots=True)
class Frame:
    """One line of a sampled stack."""

    file: str
    line: int
    function: str
    module: str


Stack = tuple[Frame, ...]
"""Frames from the outermost to the innermost."""

State = Literal["blocked", "sleep", "lock", "gil", "running", "handover", "unknown"]
"""What a thread does. ``sleep``: it waits for nothing but time; ``lock``: it waits for a lock other
than the GIL; ``handover``: it waits until a thread or process has begun, or has taken its work."""


@dataclass(frozen=True, slots=True)
class Step:
    """One callback of the event loop that kept it for long, and the stacks seen meanwhile."""

    wall: float
    cpu: float
    blocked: float
    gil: float
    copy: int | None
    samples: tuple[Sample, ...] = ()
    witnessed: bool = False
    """Whether a sample taken during the step confirms that it waited in a blocking call."""
    began_ns: int = 0
    """When it began (``perf_counter_ns``)."""

    @property
    def loop_time(self) -> float:
        """Seconds for which the step itself kept the loop: noise and waits for the GIL excluded."""
        return self.cpu + self.blocked


@dataclass(frozen=True, slots=True)
class Waiters:
    """Tasks that waited at one place, by all looks at the burst together.

    ``waited`` is the queue length integrated over the burst without its first pass, in seconds.
    """

    stack: Stack
    count: int
    waited: float = 0.0


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool of worker threads as it was seen when it was fullest."""

    name: Literal["anyio limiter", "asyncio default executor", "thread pool executor"]
    size: int
    busy: int
    waiting: int
    sized_by_cpu_count: bool = False
    waited: float = 0.0
    """The length of its queue integrated over the burst without its first pass, in seconds."""


@dataclass(frozen=True, slots=True)
class Looks:
    """What a watching thread saw of the other threads and processes while the loop was idle.

    Every duration is the time in seconds for which the looks stand. ``wakes`` and ``late`` are of
    all looks, ``held`` and ``tried`` of those in which the loop was idle or waited for the GIL,
    the others of those in which it was idle.

    ``saturated`` is the time in which as many threads as there are cores ran or wanted to run
    without the GIL, and ``maybe_saturated`` the same with the holder of the GIL counted as one of
    them. ``free`` is the integral of how many ran without the GIL, at most as many as there are
    cores. ``held`` is the time in which some thread held the GIL. ``late`` is by how much the
    watching thread itself woke up late because the machine did not run it. Without thread states
    only ``held`` and ``late`` are known, and ``states`` is False.
    """

    count: int = 0
    watched: float = 0.0
    saturated: float = 0.0
    maybe_saturated: float = 0.0
    free: float = 0.0
    held: float = 0.0
    tried: float = 0.0
    wakes: int = 0
    late: float = 0.0
    external: int = 0
    """How many looks found the loop waiting for a file descriptor of another process."""
    states: bool = True

    def since(self, before: Looks) -> Looks:
        """Return what was added after ``before``."""
        return Looks(
            self.count - before.count,
            self.watched - before.watched,
            self.saturated - before.saturated,
            self.maybe_saturated - before.maybe_saturated,
            self.free - before.free,
            self.held - before.held,
            self.tried - before.tried,
            self.wakes - before.wakes,
            self.late - before.late,
            self.external - before.external,
            self.states,
        )

    def plus(self, other: Looks) -> Looks:
        """Return the sums of both."""
        return Looks(
            self.count + other.count,
            self.watched + other.watched,
            self.saturated + other.saturated,
            self.maybe_saturated + other.maybe_saturated,
            self.free + other.free,
            self.held + other.held,
            self.tried + other.tried,
            self.wakes + other.wakes,
            self.late + other.late,
            self.external + other.external,
            other.states,
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """A stack, what its thread was doing, and the time in seconds for which the sample stands."""

    stack: Stack
    state: State
    weight: float


@dataclass(frozen=True, slots=True)
class Run:
    """One closed burst of ``concurrency`` copies of the scenario (a lone run is a burst of 1)."""

    concurrency: int
    makespan: float
    latencies: tuple[float, ...]
    """Seconds from the release until each copy ended, in the order in which they ended."""
    budget: Budget
    released_ns: int = 0
    """When the copies were released (``perf_counter_ns``)."""
    ended: tuple[int, ...] = ()
    """The indices of the copies in the order in which they ended."""
    steps: tuple[Step, ...] = ()
    samples: tuple[Sample, ...] = ()
    yields: tuple[tuple[Stack, float], ...] = ()
    """Where tasks gave the loop back after steps of a millisecond or more, and the steps' CPU."""
    thread_samples: tuple[Sample, ...] = ()
    waiters: tuple[Waiters, ...] = ()
    pools: tuple[Pool, ...] = ()
    workers: tuple[Sample, ...] = ()
    """What worker threads were seen to do whenever it was looked at where the tasks wait."""
    queued: float = 0.0
    """Share of the unfinished copies, late in the burst, that had nothing to run: they waited."""
    looks: Looks = Looks()
    after: Budget = Budget()
    """The budget from the end of the last copy until the application worked on no request."""
    after_looks: Looks = Looks()
    pressure: Pressure = Pressure()
    slowdowns: tuple[float, ...] = ()
    """How many times slower than the reference this process computed before and after the run, 1
    or more; empty where that of the calibration holds."""
    requests: int = 0
    background: float = 0.0
    exchanges: tuple[Exchange, ...] = ()
    residences: tuple[float, ...] = ()
    """For how many seconds each request was in the application."""
    timed_out: bool = False
    stuck: Stack | None = None
    """Where the loop itself was stuck when the time-out came."""

    @property
    def residual(self) -> float:
        """What the parts of the budget do not account for, in seconds."""
        return self.makespan - self.budget.wall


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the machine and the interpreter are like.

    ``factor`` is the machine factor, 1.0 or more: how many times slower than the reference this
    interpreter executes Python. ``tracer`` is the coverage tool or debugger that was suspended.
    ``cores`` is how many processors this
    process may use, by its affinity and its quota. ``switch_interval`` is the interpreter's.
    """

    factor: float = 1.0
    tracer: str | None = None
    cores: float = 1.0
    switch_interval: float = 0.005
    clock: str = "schedstat"
    loop: str = "asyncio"


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit and where it came from."""

    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class Limits:
    """The numbers on which a verdict rests; the fields are the settings of the same names."""

    concurrency: int = 50
    max_serial_fraction: float = 0.1
    max_lag: float = 0.020
    max_blocked: float = 0.005
    cpu_allowance: float = 0.005
    allow: tuple[str, ...] = ()
    timeout: float = 30.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """All runs of one scenario, in the order in which they were made within each kind."""

    singles: tuple[Run, ...] = ()
    bursts: tuple[Run, ...] = ()
    calibration: Calibration = Calibration()
    unmeasured: str | None = None
    """Why nothing could be measured, where that is so."""
    scaling_unmeasured: str | None = None
    """Why there are lone runs only, where that is so."""
    watched: bool = False
    """Whether this is the only run of a test of which only lag and blocking are judged."""

    @property
    def runs(self) -> tuple[Run, ...]:
        """The single runs, then the bursts."""
        return (*self.singles, *self.bursts)

    def bursts_of(self, concurrency: int) -> tuple[Run, ...]:
        """Return the bursts of ``concurrency`` copies."""
        return tuple(run for run in self.bursts if run.concurrency == concurrency)


@dataclass(frozen=True, slots=True)
class Culprit:
    """The place to which the cost goes, and the library calls below it.

    It is a line of the user's own, or else, where ``library`` says so, one of a library, with the
    calls that lead there. Where most samples agree on no place it is the definition of the handler,
    which is ``route`` then too.
    """

    file: str
    line: int
    function: str
    code: str
    calls: tuple[str, ...]
    samples: int
    of: int
    counted: Literal["samples", "copies", "threads"] = "samples"
    """What ``samples`` and ``of`` count: stacks, each by the time that it stands for, copies that
    wait, or looks at worker threads."""
    library: bool = False
    route: Frame | None = None
    """The definition of the route's handler, where the place is none of the user's own lines."""

    @property
    def is_route(self) -> bool:
        """Whether no place is agreed on, and only the handler is known."""
        return self.route is not None and not self.library


@dataclass(frozen=True, slots=True)
class Judged:
    """The figure that was judged: an estimate, its bounds, and the limit, all as fractions."""

    fraction: float
    low: float
    high: float
    limit: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the evidence proves."""

    verdict: Verdict
    reasons: tuple[Reason, ...] = ()
    cause: Cause | None = None
    causes: tuple[tuple[Cause, float], ...] = ()
    """All causes with their shares of the excess, the largest first."""
    serial: float | None = None
    """Serial demand per request, S, in seconds; its inverse is the ceiling in requests/s."""
    serial_fraction: float | None = None
    excess: float | None = None
    """The part of the serial demand that is judged, in seconds."""
    judged: Judged | None = None
    max_lag: float = 0.0
    max_blocked: float = 0.0
    allowed: tuple[str, ...] = ()
    offloaded: float = 0.0
    """CPU per request in worker threads and processes that run in parallel, in seconds."""
    one_off: float = 0.0
    """The longest step over a limit that did not come back in most runs, in seconds."""
    near: str = ""
    """What lies too near its limit to tell, in words, where the verdict is inconclusive for it."""
    guilty_runs: int = 0
    judged_runs: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """The verdict of one scenario with everything that a report tells about it."""

    nodeid: str
    target: str
    judgement: Judgement
    evidence: Evidence
    limits: dict[str, Limit]
    culprit: Culprit | None = None
    notes: tuple[str, ...] = ()
    wall: float = 0.0
    packages: frozenset[str] = frozenset()
    """The top-level packages that the application is made of."""
