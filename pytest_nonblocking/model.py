"""Frozen data shared by all parts of the plugin: measurements, limits and judgements.

This module imports nothing else of the package. Durations are seconds unless a name has another
unit.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple

Verdict = Literal["pass", "fail", "inconclusive", "not-measured"]
CONCLUSIVE: tuple[Verdict, ...] = ("pass", "fail")
"""The verdicts that settle a measurement."""
Reason = Literal["scaling", "lag", "blocked", "timeout", "guard"]
FOR_THREADS = frozenset(("run_sync_in_worker_thread", "to_thread_run_sync"))
"""Functions of anyio and trio that run a function in a thread and wait for it."""
Cause = Literal["blocking-call", "cpu-on-loop", "gil-contention", "thread-pool", "serialised-wait"]
CAUSES: tuple[Cause, ...] = (
    "blocking-call",
    "cpu-on-loop",
    "gil-contention",
    "thread-pool",
    "serialised-wait",
)
Category = Literal["network", "database", "sleep", "file", "process", "lock", "dns"]
"""What a blocking call waits for."""
CATEGORIES: tuple[Category, ...] = (
    "network",
    "database",
    "sleep",
    "file",
    "process",
    "lock",
    "dns",
)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request through the app, with its timestamps (``perf_counter_ns``).

    The time from ``last_byte_ns`` to ``app_return_ns`` is background work: it is reported but not
    part of the latency.
    """

    method: str
    path: str
    status: int | None
    start_ns: int
    response_start_ns: int | None
    last_byte_ns: int | None
    app_return_ns: int | None
    handler: Frame | None = None
    """A line of the function that handles it, None if no router names one."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One request that a copy sends."""

    method: str
    path: str
    """With the query; a credential's value there is its name in braces."""
    headers: tuple[tuple[str, str | None], ...] = ()
    """By lower-case names; None for a credential."""
    body: bytes = b""
    left_out: str | None = None
    """What the body is, if it is not kept: a stream, too long, or with a credential."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The loop-time budget of a window: how its wall time divides, in seconds.

    The parts up to ``own`` sum to the length of the window. ``own`` is the plugin's time on the
    loop and is never charged to the app. The fields after it describe the rest of the process.
    """

    cpu: float = 0.0
    blocked: float = 0.0
    gil: float = 0.0
    gc: float = 0.0
    descheduled: float = 0.0
    idle: float = 0.0
    own: float = 0.0
    other_cpu: float = 0.0
    """CPU time of the process's other threads."""
    other_delay: float = 0.0
    """Run-queue delay of the process's other threads."""
    child_cpu: float = 0.0
    """CPU time of child processes, live and reaped."""
    child_delay: float = 0.0
    """Run-queue delay of live child processes."""
    driver_cpu: float = 0.0
    """CPU time of the test's client threads, if it does not run on the loop."""
    idle_cpu: float = 0.0
    """The part of ``other_cpu`` used while the loop was idle."""
    gil_cpu: float = 0.0
    """The part of ``other_cpu`` used during callbacks that may have waited for the GIL."""
    gil_seen: float = 0.0
    """The part of ``gil_cpu`` in callbacks that were seen waiting for the GIL."""
    unwitnessed: float = 0.0
    """The part of ``blocked`` that no stack sample confirms, in callbacks too short for one."""

    @property
    def taken(self) -> float:
        """What the machine and the plugin took from the loop."""
        return self.descheduled + self.own

    @property
    def wall(self) -> float:
        """The sum of the parts."""
        return (
            self.cpu + self.blocked + self.gil + self.gc + self.descheduled + self.idle + self.own
        )


@dataclass(frozen=True, slots=True)
class Pressure:
    """How long tasks anywhere on the machine waited for a core during a window.

    ``waiting`` is the growth of the kernel's CPU pressure counter (PSI), or a coarser bound where
    there is none. ``stolen`` is the time taken by a hypervisor.
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
    is_async: bool = False
    """Whether the function is a coroutine function or an async generator."""

    @property
    def leaf(self) -> str:
        """The unqualified name of the function, which is all that CPython 3.10 knows."""
        return self.function.rpartition(".")[2]


Stack = tuple[Frame, ...]
"""Frames from the outermost to the innermost."""

State = Literal["blocked", "sleep", "lock", "gil", "running", "handover", "unknown"]
"""What a thread does. ``sleep``: it waits for a timer; ``lock``: it waits for a lock other than the
GIL; ``handover``: it waits for a thread or process to start, or to accept work."""


@dataclass(frozen=True, slots=True)
class Step:
    """A callback that held the event loop for long, and the stacks sampled meanwhile."""

    wall: float
    cpu: float
    blocked: float
    gil: float
    copy: int | None
    samples: tuple[Sample, ...] = ()
    witnessed: bool = False
    """Whether a sample confirms that the callback waited in a blocking call."""
    began_ns: int = 0
    """The start of the callback (``perf_counter_ns``)."""
    unconfirmed: float = 0.0
    """Further seconds off the CPU that no sample confirms as blocked; reported but never judged."""

    @property
    def loop_time(self) -> float:
        """Seconds for which the callback itself held the loop: without noise and GIL waits."""
        return self.cpu + self.blocked


@dataclass(frozen=True, slots=True)
class Slices:
    """The CPU seconds of callbacks after which a task yielded to the loop at one place."""

    stack: Stack
    cpu: float
    times: int = 1


@dataclass(frozen=True, slots=True)
class Waiters:
    """Tasks that waited at one place during a burst.

    ``count`` is their number when most tasks waited anywhere, ``most`` the largest number seen
    here, 0 if unknown. ``waited`` is the queue length integrated over the burst without its first
    pass, in task-seconds. ``contended`` is the time in seconds between looks that saw a task wait
    here and next looks that did, too.
    """

    stack: Stack
    count: int
    waited: float = 0.0
    most: int = 0
    contended: float = 0.0


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool of worker threads at the time when its queue was longest."""

    name: Literal["anyio limiter", "asyncio default executor", "thread pool executor"]
    size: int
    busy: int
    waiting: int
    sized_by_cpu_count: bool = False
    waited: float = 0.0
    """Queue length integrated over the burst without its first pass, in task-seconds."""
    contended: float = 0.0
    """Seconds between looks that saw a queue and next looks that did, too."""


@dataclass(frozen=True, slots=True)
class Looks:
    """The watchdog's looks at the other threads and processes while the loop was idle.

    Durations are seconds that the looks stand for. ``wakes`` and ``late`` cover all looks,
    ``held``, ``maybe_held`` and ``tried`` those in which the loop was off the CPU, the other fields
    those in which it was idle.

    ``saturated`` is the time in which at least as many threads as cores were runnable without the
    GIL, and ``maybe_saturated`` the same counting the holder of the GIL. ``free`` is the number of
    threads runnable without the GIL, capped at the number of cores, integrated over time. ``used``
    is the CPU time of other threads, and ``used_alone`` the part of it in which one computed
    without the GIL while a core was free: between two looks that found fewer than cores and none
    that wanted or held the GIL. ``held`` is the time in which a thread other than the loop's held
    the GIL, and ``maybe_held`` that in which one may have. ``active`` is the time in which at least
    one thread or process was runnable or wanted the GIL, ``several`` that in which two or more
    could run at once on enough cores, and ``quiet`` that in which nothing was runnable, neither
    the loop's thread nor the test's clients. ``late`` is the run-queue delay of the
    watchdog itself. Without thread states, ``states`` is False and only ``held``, ``maybe_held``
    and ``late`` are meaningful.
    """

    count: int = 0
    watched: float = 0.0
    saturated: float = 0.0
    maybe_saturated: float = 0.0
    free: float = 0.0
    used: float = 0.0
    used_alone: float = 0.0
    active: float = 0.0
    several: float = 0.0
    quiet: float = 0.0
    held: float = 0.0
    maybe_held: float = 0.0
    tried: float = 0.0
    wakes: int = 0
    late: float = 0.0
    external: int = 0
    """The number of looks that found the loop, or a thread, waiting for a file descriptor."""
    states: bool = True

    def since(self, before: Looks) -> Looks:
        """Return the difference to an earlier total."""
        sums = {name: getattr(self, name) - getattr(before, name) for name in _TOTALS_OF_LOOKS}
        return Looks(**sums, states=self.states)

    def plus(self, other: Looks) -> Looks:
        """Return the sum of both."""
        sums = {name: getattr(self, name) + getattr(other, name) for name in _TOTALS_OF_LOOKS}
        return Looks(**sums, states=other.states)


_TOTALS_OF_LOOKS = tuple(field.name for field in fields(Looks) if field.name != "states")


@dataclass(frozen=True, slots=True)
class Sample:
    """A stack, the state of its thread, and the seconds that the sample stands for."""

    stack: Stack
    state: State
    weight: float


class CopyEnd(NamedTuple):
    """The end of one copy, in seconds since the release."""

    latency: float
    taken: float
    """What the machine and the plugin took from the loop until then."""


@dataclass(frozen=True, slots=True)
class Run:
    """One closed burst of ``concurrency`` copies of the scenario; a single run is a burst of 1."""

    concurrency: int
    makespan: float
    latencies: tuple[float, ...]
    """Seconds from the release to the end of each copy, in the order of their ends."""
    budget: Budget
    taken: tuple[float, ...] = ()
    """The seconds of each latency that the machine and the plugin took from the loop."""
    released_ns: int = 0
    """The release of the copies (``perf_counter_ns``)."""
    ended: tuple[int, ...] = ()
    """The indices of the copies in the order of their ends."""
    steps: tuple[Step, ...] = ()
    samples: tuple[Sample, ...] = ()
    slices: tuple[Slices, ...] = ()
    """The work of callbacks that no sample shows, most CPU first."""
    thread_samples: tuple[Sample, ...] = ()
    waiters: tuple[Waiters, ...] = ()
    pools: tuple[Pool, ...] = ()
    workers: tuple[Sample, ...] = ()
    """Samples of worker threads, taken together with those of waiting tasks."""
    contended: tuple[Sample, ...] = ()
    """Where worker threads were seen to wait for locks; the weight is the time in seconds between
    looks that saw one wait there and next looks that did, too."""
    queued: float = 0.0
    """Share of the unfinished copies that had nothing to run late in the burst."""
    looks: Looks = Looks()
    after: Budget = Budget()
    """The budget from the end of the last copy until the app had no request in progress."""
    after_looks: Looks = Looks()
    pressure: Pressure = Pressure()
    slowdowns: tuple[float, ...] = ()
    """Slowdowns relative to the reference machine before and after the run, at least 1; empty if
    the calibration's holds."""
    requests: int = 0
    background: float = 0.0
    exchanges: tuple[Exchange, ...] = ()
    residences: tuple[float, ...] = ()
    """Residence times: the seconds that each request spent in the app."""
    timed_out: bool = False
    stuck: Stack | None = None
    """The stack of the callback that held the loop at the timeout, None if the loop was idle."""
    given_up: tuple[Stack, ...] = ()
    """The stacks of the tasks that ignored their cancellation, and stay suspended for ever."""
    opened: int = 0
    """The file descriptors that were opened during the run and stayed open: a pool that fills."""
    started: int = 0
    """The worker threads that were started during the run: each pays for its first call."""

    @property
    def undisturbed(self) -> float:
        """How long it took in seconds, without the time taken by the machine and the plugin."""
        return self.makespan - self.budget.taken

    @property
    def undisturbed_latencies(self) -> list[float]:
        """How long the copies took in seconds, without what the machine and the plugin took."""
        pairs = itertools.zip_longest(self.latencies, self.taken, fillvalue=0.0)
        return [max(0.0, latency - taken) for latency, taken in pairs]

    @property
    def residual(self) -> float:
        """The seconds that the budget does not account for."""
        return self.makespan - self.budget.wall


@dataclass(frozen=True, slots=True)
class Calibration:
    """Properties of the machine and the interpreter.

    ``factor`` is the slowdown of Python code relative to the reference machine, at least 1.
    ``tracer`` is the coverage tool or debugger that was suspended. ``cores`` is the number of cores
    that this process may use, by its affinity and its quota. ``switch_interval`` is the
    interpreter's, in seconds.
    """

    factor: float = 1.0
    tracer: str | None = None
    cores: float = 1.0
    switch_interval: float = 0.005
    clock: str = "schedstat"
    loop: str = "asyncio"

    @property
    def knows_delays(self) -> bool:
        """Whether the system reports run-queue delays, whatever else it lacks."""
        return self.clock.startswith("schedstat")


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit and its origin: a marker, a flag, a file or the default."""

    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a verdict; the fields are the settings of the same names."""

    concurrency: int = 50
    max_serial_fraction: float = 0.1
    max_lag: float = 0.020
    max_blocked: float = 0.005
    cpu_allowance: float = 0.005
    allow: tuple[str, ...] = ()
    timeout: float = 30.0
    guard: str = "note"
    guard_categories: tuple[str, ...] = ("network", "database", "sleep", "process", "lock", "dns")
    guard_allow: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BlockingCall:
    """Calls of one function that may block, from one stack, in the guarded run.

    ``function`` is its public name, such as "socket.recv_into". ``stack`` ends with the Python code
    that called it. ``seconds`` is the time that all of the ``times`` calls took here.
    """

    function: str
    category: Category
    stack: Stack
    times: int
    seconds: float
    instead: str | None = None
    """What to await in place of the function, None where that is not known."""


@dataclass(frozen=True, slots=True)
class Guarded:
    """What the guard saw in one run of its own."""

    calls: tuple[BlockingCall, ...] = ()
    requests: int = 0
    unmeasured: str | None = None
    """Why not all calls are known, None if they are."""
    unknown: frozenset[Category] = frozenset(CATEGORIES)
    """The categories of which calls are not known, if ``unmeasured`` says why."""
    databases: frozenset[str] = frozenset()
    """Packages that are clients of databases: their sockets and locks wait for the database."""


@dataclass(frozen=True, slots=True)
class Exemption:
    """Code whose calls are not the app's fault: a module and those below it.

    Without ``functions`` it is all of the module's code, without ``categories`` each kind of call.
    """

    module: str
    functions: frozenset[str] = frozenset()
    categories: frozenset[Category] = frozenset()


@dataclass(frozen=True, slots=True)
class Evidence:
    """All runs of one scenario, in order within each kind."""

    singles: tuple[Run, ...] = ()
    bursts: tuple[Run, ...] = ()
    calibration: Calibration = Calibration()
    unmeasured: str | None = None
    """Why nothing could be measured, None if it could."""
    scaling_unmeasured: str | None = None
    """Why there are single runs only, None if there are bursts."""
    watched: bool = False
    """Whether this is the only run of a test of which only lag and blocking are judged."""
    guarded: Guarded | None = None
    """What the guard saw, None if it is off or its run was not made."""
    sent: tuple[Sent, ...] = ()
    """What one copy sends, in order, through the fixture nonblocking_client."""

    @property
    def runs(self) -> tuple[Run, ...]:
        """The single runs, then the bursts."""
        return (*self.singles, *self.bursts)

    @property
    def late(self) -> Run | None:
        """The run that timed out, None if none did."""
        return next((run for run in self.runs if run.timed_out), None)

    def bursts_of(self, concurrency: int) -> tuple[Run, ...]:
        """Return the bursts of ``concurrency`` copies."""
        return tuple(run for run in self.bursts if run.concurrency == concurrency)


@dataclass(frozen=True, slots=True)
class Culprit:
    """The place that causes a fail, and the library calls below it.

    It is a line of user code; or, if ``library`` is set, a line of a library with the calls that
    lead to it; or, if no line has a majority of the samples, the definition of the function that
    most have in common, else of the handler, which is ``route`` too.
    """

    file: str
    line: int
    function: str
    code: str
    calls: tuple[str, ...]
    samples: int
    of: int
    counted: Literal["samples", "copies", "threads"] = "samples"
    """What ``samples`` and ``of`` count: stack samples weighted by time, waiting copies, or samples
    of worker threads."""
    library: bool = False
    route: Frame | None = None
    """The definition of the route's handler, if the place is not a line of user code."""
    blocks_in: str | None = None
    """The function that blocks there, such as "socket.recv_into", if the guard knows it."""

    @property
    def is_route(self) -> bool:
        """Whether only the handler is known."""
        return self.route is not None and not self.library


@dataclass(frozen=True, slots=True)
class Finding:
    """A line that makes blocking calls of one category, however fast they were here.

    ``functions`` are their names, slow ones first and quick ones as they are called, and ``calls``
    those that lead from the line to the first of them. ``library`` and ``route`` are a culprit's.
    """

    category: Category
    functions: tuple[str, ...]
    file: str
    line: int
    function: str
    code: str
    calls: tuple[str, ...]
    times: int
    seconds: float
    library: bool = False
    route: Frame | None = None
    instead: str | None = None

    def is_accused(self, limits: Limits) -> bool:
        """Return whether ``guard="fail"`` fails a test for it."""
        chosen = self.category in limits.guard_categories
        return chosen and self.category not in limits.guard_allow


@dataclass(frozen=True, slots=True)
class Judged:
    """The judged figure: its estimate, its bounds and the limit, as fractions of T(1)."""

    fraction: float
    low: float
    high: float
    limit: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on one scenario, with the figures behind it."""

    verdict: Verdict
    reasons: tuple[Reason, ...] = ()
    cause: Cause | None = None
    causes: tuple[tuple[Cause, float], ...] = ()
    """All causes with their shares of the excess, largest first."""
    serial: float | None = None
    """Bottleneck demand S in seconds per request; 1 / S is the saturation throughput."""
    serial_fraction: float | None = None
    excess: float | None = None
    """The judged part of the bottleneck demand, in seconds per request."""
    judged: Judged | None = None
    max_lag: float = 0.0
    max_blocked: float = 0.0
    allowed: tuple[str, ...] = ()
    offloaded: float = 0.0
    """CPU seconds per request in worker threads and processes that run in parallel."""
    one_off: float = 0.0
    """Loop time of the longest callback over a limit that most runs did not repeat, in seconds."""
    near: str = ""
    """A message about the figure that is too near its limit, if the verdict is inconclusive."""
    may_be_random: bool = False
    """Whether it is inconclusive only because waits of random length look like the queue."""
    guilty_runs: int = 0
    judged_runs: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """The judgement of one scenario with everything that a report contains."""

    nodeid: str
    target: str
    judgement: Judgement
    evidence: Evidence
    limits: dict[str, Limit]
    culprit: Culprit | None = None
    notes: tuple[str, ...] = ()
    wall: float = 0.0
    packages: frozenset[str] = frozenset()
    """The top-level packages of the application."""
    findings: tuple[Finding, ...] = ()
    """What the guard found, slow ones first."""
    message: str | None = None
    """The whole text of a fail."""
