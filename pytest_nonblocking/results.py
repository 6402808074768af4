"""Plain data that flows through the plugin: what was measured and what was decided.

Everything here is frozen and knows nothing of the rest of the package. Durations are seconds
unless a name carries another unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Word = Literal["pass", "fail", "inconclusive", "not-measured"]
CONCLUSIVE: tuple[Word, ...] = ("pass", "fail")
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
    """The loop-time budget of a window: ``wall`` is the sum of the six parts, exactly.

    The remaining fields tell about the rest of the process and are not part of the sum:
    ``other_cpu`` and ``other_delay`` are processor time and run-queue delay of the process's
    other threads, ``child_cpu`` and ``child_delay`` the same for its child processes.
    """

    cpu: float = 0.0
    blocked: float = 0.0
    gil: float = 0.0
    gc: float = 0.0
    descheduled: float = 0.0
    idle: float = 0.0
    other_cpu: float = 0.0
    other_delay: float = 0.0
    child_cpu: float = 0.0
    child_delay: float = 0.0
    driver_cpu: float = 0.0
    """Processor time of the test's own side of the requests, where that is in other threads."""
    unwitnessed: float = 0.0
    """The share of ``blocked`` in steps too short for a stack sample to have confirmed it."""

    @property
    def wall(self) -> float:
        """The length of the window in seconds."""
        return self.cpu + self.blocked + self.gil + self.gc + self.descheduled + self.idle


@dataclass(frozen=True, slots=True)
class Frame:
    """One line of a sampled stack."""

    file: str
    line: int
    function: str
    module: str


Stack = tuple[Frame, ...]
"""Frames from the outermost to the innermost."""


@dataclass(frozen=True, slots=True)
class Step:
    """One callback of the event loop that kept it for long, and the stacks seen meanwhile."""

    wall: float
    cpu: float
    blocked: float
    gil: float
    copy: int | None
    stacks: tuple[Stack, ...] = ()
    witnessed: bool = False
    """Whether a sample taken during the step confirms that it waited in a blocking call."""
    began_ns: int = 0
    """When it began (``perf_counter_ns``)."""

    @property
    def keep(self) -> float:
        """Seconds for which the step itself kept the loop: noise and waits for the GIL excluded."""
        return self.cpu + self.blocked


@dataclass(frozen=True, slots=True)
class Waiters:
    """Tasks that waited at one line when the burst was in its middle, or when it timed out."""

    stack: Stack
    count: int


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool of worker threads as it was seen when it was fullest."""

    name: Literal["anyio limiter", "asyncio default executor", "thread pool executor"]
    size: int
    busy: int
    waiting: int
    sized_by_cpu_count: bool = False


@dataclass(frozen=True, slots=True)
class GilUse:
    """What a watching thread saw of the GIL while the loop slept.

    Of ``watched`` seconds it waited ``waited`` for the GIL when it had nothing to do but wake up.
    ``wanting`` and ``running`` count the other threads that it saw waiting for the GIL, and
    running without it; both are 0 where the system does not tell.
    """

    watched: float = 0.0
    waited: float = 0.0
    wanting: int = 0
    running: int = 0

    def since(self, before: GilUse) -> GilUse:
        """Return what was added after ``before``."""
        return GilUse(
            self.watched - before.watched,
            self.waited - before.waited,
            self.wanting - before.wanting,
            self.running - before.running,
        )


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
    samples: tuple[Stack, ...] = ()
    yields: tuple[tuple[Frame, int], ...] = ()
    """Lines at which tasks gave the loop back after steps of a millisecond or more."""
    thread_samples: tuple[Stack, ...] = ()
    waiters: tuple[Waiters, ...] = ()
    pool: Pool | None = None
    """The fullest pool with work waiting when ``waiters`` was seen."""
    pools: tuple[Pool, ...] = ()
    workers: tuple[Stack, ...] = ()
    """The stacks of all threads but the loop's when the fullest pool had work waiting."""
    queued: float = 0.0
    """Share of the unfinished copies, late in the burst, that had nothing to run: they waited."""
    gil: GilUse = GilUse()
    requests: int = 0
    background: float = 0.0
    exchanges: tuple[Exchange, ...] = ()
    stays: tuple[float, ...] = ()
    """For how many seconds each request was in the application."""
    timed_out: bool = False
    stuck: Stack | None = None
    """Where the loop itself was stuck when the time-out came."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the machine and the plugin's own driver cost.

    ``factor`` is the machine factor, 1.0 or more: how many times slower than the reference this
    interpreter executes Python. ``tracer`` is the coverage tool or debugger that was suspended.
    ``driver_cpu`` is the driver's own loop CPU per request.
    """

    factor: float = 1.0
    tracer: str | None = None
    driver_cpu: float = 0.0
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

    solos: tuple[Run, ...] = ()
    bursts: tuple[Run, ...] = ()
    calibration: Calibration = Calibration()
    unmeasured: str | None = None
    """Why nothing could be measured, where that is so."""
    scaling_unmeasured: str | None = None
    """Why there are lone runs only, where that is so."""
    watched: bool = False
    """Whether this is the one run of a test of which nothing but lag was asked."""


@dataclass(frozen=True, slots=True)
class Culprit:
    """The line in the user's own code to which the cost goes, and the library calls below it."""

    file: str
    line: int
    function: str
    code: str
    calls: tuple[str, ...]
    samples: int
    of: int


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the evidence proves."""

    word: Word
    reasons: tuple[Reason, ...] = ()
    cause: Cause | None = None
    serial: float | None = None
    """Serial demand per request, S, in seconds; its inverse is the ceiling in requests/s."""
    serial_fraction: float | None = None
    excess: float | None = None
    """The part of the serial demand that is judged, in seconds."""
    excess_fraction: float | None = None
    max_lag: float = 0.0
    max_blocked: float = 0.0
    allowed: tuple[str, ...] = ()
    offloaded: float = 0.0
    """CPU per request in worker threads and processes that run in parallel, in seconds."""
    one_off: float = 0.0
    """The longest step over a limit that did not come back in most runs, in seconds."""
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
