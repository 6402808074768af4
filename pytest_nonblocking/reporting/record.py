"""The JSON report, schema version 1: what every writer, the baseline and the command line take.

The published schema, ``report.schema.json``, is generated from these classes by ``make schema``.
"""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple

from ..accepts import LARGEST
from ..model import Category, Cause, Reason, Verdict

SCHEMA_VERSION = 1
_WEB = "^https?://"
_ROUTE = "^(.+):([0-9]{1,9}) in (.+)$"

Deciding = Literal["max_serial_fraction", "max_lag", "max_blocked", "timeout"]
"""The settings that limit a figure on which a verdict rests."""
NotNegative = Annotated[float, {"minimum": 0}]
Count = Annotated[int, {"minimum": 0}]
Positive = Annotated[int, {"minimum": 1}]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """What wrote the report."""

    OPEN: ClassVar[bool] = True
    name: Literal["pytest-nonblocking"]
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Where the measurements were made."""

    OPEN: ClassVar[bool] = True
    python: str
    implementation: str = ""
    platform: str
    cpu_count: int | None = None
    loop: str
    clock: str
    machine_factor: Annotated[float, {"minimum": 1}]
    tracer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The run of pytest that made the report: when, how, and of which code."""

    OPEN: ClassVar[bool] = True
    started: Annotated[str, {"description": "Date and time with the offset from UTC (ISO 8601)."}]
    duration_s: NotNegative
    command: str
    app: Annotated[str | None, {"description": "The setting app, if it is set."}] = None
    commit: Annotated[
        str | None,
        {"description": 'The commit under test, with the suffix "-dirty" for changed files.'},
    ] = None
    ci: Annotated[str | None, {"description": "The name of the CI service."}] = None
    ci_url: Annotated[str | None, {"description": "The page of the CI run.", "pattern": _WEB}] = (
        None
    )
    source_url: Annotated[
        str | None,
        {
            "description": "Precedes a path of the report in the address of the file at the "
            "commit, in a CI run.",
            "pattern": _WEB,
        },
    ] = None
    rootdir: Annotated[
        str | None,
        {"description": "The folder to which paths are relative; null in a CI run."},
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Lines of a file, from line number ``first`` on."""

    first: Positive
    lines: tuple[str, ...]


class Place(NamedTuple):
    """A line that a reader can open."""

    file: str
    line: int
    function: str
    library: bool = False

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Culprit:
    """The place to which the cost goes, and the library calls below it."""

    file: str
    line: Positive
    function: str
    code: str
    calls: tuple[str, ...]
    samples: Count
    of: Count
    library: Annotated[
        bool,
        {
            "description": "Whether the place is in a library: no line of the user's is below the "
            "handler."
        },
    ]
    route: Annotated[
        str | None,
        {
            "description": 'The definition of the handler, "file:line in function", where the '
            "place is none of its lines.",
            "pattern": _ROUTE,
        },
    ]
    source: Annotated[Source | None, {"description": "The lines around the culprit's."}] = None

    @property
    def place(self) -> Place:
        """The place, or the handler's where the place is in a library.

        Which function of a library costs most may change with its version; the handler stays.
        """
        if self.library and self.route and (found := re.match(_ROUTE, self.route)):
            return Place(found[1], int(found[2]), found[3])
        return Place(self.file, self.line, self.function, self.library)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The figure that was judged: an estimate, its bounds, and the limit."""

    fraction: NotNegative
    low: NotNegative
    high: NotNegative
    limit: NotNegative


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """The figure on which the verdict rests, and the setting that limits it."""

    TOGETHER: ClassVar[tuple[str, ...]] = ("low", "high")
    setting: Deciding
    unit: Literal["fraction", "ms"]
    value: NotNegative
    low: Annotated[float | None, {"minimum": 0}] = None
    high: Annotated[float | None, {"minimum": 0}] = None
    limit: Annotated[
        float,
        {"minimum": 0, "description": "The limit as it was applied, on a slower machine extended."},
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A cause, and its share of the excess."""

    cause: Cause
    share: Annotated[float, {"minimum": 0, "maximum": 1}]


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Quantiles of the latencies, None where no copy finished."""

    min: float | None
    p50: float | None
    p95: float | None
    max: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The loop-time budget in milliseconds, by the names of ``model.Budget``."""

    cpu: float
    blocked: float
    gil: float
    gc: float
    descheduled: float
    idle: float
    own: float
    other_cpu: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One run: its makespan, and the median latency of its copies, None if none finished."""

    makespan_ms: float
    p50_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """All runs at one concurrency."""

    concurrency: Positive
    rounds: Positive
    makespan_ms: float
    latency_ms: Latency
    budget_ms: Budget
    pressure_ms: NotNegative
    residual_ms: float
    runs: Annotated[
        tuple[Round, ...], {"description": "Each run at this concurrency, in order."}
    ] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The value of a setting, and where it came from."""

    value: Annotated[object, {"minimum": 0, "maximum": LARGEST}]
    from_: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """When a copy ended, and its steps as start, length and blocked time."""

    end_ms: float | None
    steps_ms: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """One burst, copy by copy."""

    concurrency: Positive
    makespan_ms: float
    copies: tuple[Copy, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A stack, the outermost frame first, and how often it was seen."""

    frames: Annotated[tuple[str, ...], {"minItems": 1}]
    count: Positive
    user: Annotated[
        tuple[bool, ...], {"description": "For each frame, whether it is in the user's own code."}
    ] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A line that makes blocking calls of one category, found by the guard."""

    category: Category
    functions: Annotated[
        tuple[str, ...],
        {
            "description": "The functions that block, slow ones first and quick ones as called.",
            "minItems": 1,
        },
    ]
    file: str
    line: Positive
    function: str
    code: str
    calls: Annotated[
        tuple[str, ...], {"description": "The calls from the line to the first of the functions."}
    ]
    times: Count
    took_ms: NotNegative
    library: bool
    route: Annotated[
        str | None, {"description": "The definition of the handler.", "pattern": _ROUTE}
    ]
    accused: Annotated[
        bool,
        {"description": "Whether guard=fail fails a test for it: its category is not allowed."},
    ]
    fix: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request that a copy sends."""

    method: str
    path: Annotated[
        str,
        {
            "description": "Path and query. The value of a parameter that is named like a "
            "credential is that name in braces."
        },
    ]
    headers: Annotated[
        dict[str, str | None],
        {"description": "By lower-case names; null for a credential, which is left out."},
    ]
    body: str = ""
    encoding: Annotated[
        Literal["text", "base64"],
        {"description": "How the body is written: base64 where it is not printable text."},
    ] = "text"
    left_out: Annotated[
        str | None, {"description": "What the body is, if it is not in the report."}
    ] = None

    @property
    def content(self) -> bytes:
        """The body."""
        return b64decode(self.body) if self.encoding == "base64" else self.body.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """The figures of an earlier run of a test."""

    started: str
    commit: str | None
    verdict: Verdict
    serial_ms: float | None
    max_lag_ms: NotNegative


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One measurement."""

    nodeid: str
    target: str = ""
    verdict: Verdict
    reasons: Annotated[tuple[Reason, ...], {"uniqueItems": True}]
    cause: Cause | None
    culprit: Culprit | None
    message: Annotated[str | None, {"description": "The whole text of a failure."}] = None
    fix: Annotated[str | None, {"description": "What to do about the cause of a failure."}] = None
    accepted_by: Annotated[
        Literal["baseline"] | None,
        {"description": "What accepts the failure: the test does not fail for it."},
    ] = None
    allowed: Annotated[
        tuple[str, ...],
        {"description": "The causes that were found and are accepted by the setting allow."},
    ] = ()
    guard: Annotated[
        tuple[Finding, ...],
        {
            "description": "Calls on the event loop that block, however fast they were, "
            "slow ones first."
        },
    ] = ()
    notes: tuple[str, ...]
    serial_fraction: float | None
    judged: Judged | None
    figure: Figure | None = None
    why: Annotated[str | None, {"description": "What keeps a pass within its limits."}] = None
    causes: tuple[Share, ...]
    alone_ms: Annotated[
        float | None,
        {
            "description": "How long a single run takes, without what the machine and the plugin "
            "took of it."
        },
    ] = None
    serial_ms: float | None
    ceiling_rps: float | None
    max_lag_ms: NotNegative
    max_blocked_ms: NotNegative
    wall_s: NotNegative
    levels: tuple[Level, ...]
    limits: dict[str, Limit]
    timeline: Annotated[
        Timeline | None,
        {
            "description": "One burst: for each of its first 100 copies, when it ended and its "
            "long callbacks as [start, length, blocked], in milliseconds from the release. "
            "Blocked time includes what no sample confirms."
        },
    ] = None
    stacks: Annotated[
        tuple[Stack, ...],
        {
            "description": "Where what the cause names was seen: the most common stacks, from the "
            "first line of the user's on."
        },
    ] = ()
    requests: Annotated[
        tuple[Request, ...],
        {
            "description": "What one copy sends through nonblocking_client, in order, without its "
            "set-up."
        },
    ] = ()
    history: Annotated[
        tuple[Past, ...],
        {"description": "Up to 50 earlier runs from the history file, the oldest first."},
    ] = ()

    @property
    def place(self) -> Place | None:
        """The one place that a table or another tool shows."""
        return None if self.culprit is None else self.culprit.place

    @property
    def line_of_repository(self) -> tuple[str, int]:
        """The culprit's file and line, or the test's file where the place is in a library."""
        place = self.place
        if place is None or place.library:  # which is no file of the repository's
            return self.nodeid.partition("::")[0], 1
        return place.file, place.line


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A record and where it was made: what crosses between the processes of xdist."""

    record: Record
    environment: Environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The whole report."""

    OPEN: ClassVar[bool] = True
    schema_version: Literal[1]
    tool: Tool
    environment: Environment
    tests: tuple[Record, ...]
    session: Session | None = None
