"""The profile function of one run: sees each C function that Python code calls on one thread.

Nothing is patched and nothing is raised. A fault ends the profile and never reaches the app.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from types import CodeType, FrameType, ModuleType
from typing import Any, NamedTuple

from ..clocks import CLOCKS
from ..model import BlockingCall, Category, Guarded, Stack
from ..originals import sys, threading
from ..sentinel.stacks import DEEPEST, stack_of
from .rules import Rule, Rules
from .sites import Site
from .table import DATABASES

_OWN = "pytest_nonblocking."
_MOST_STACKS = 1000
"""The stacks that are recorded of each category, so that none uses up the places of another."""
_SYSTEM = {"nt": "posix"}
_mro_of, _module_of, _qualname_of = (
    vars(type)[name].__get__ for name in ("__mro__", "__module__", "__qualname__")
)
"""What reads a class as CPython does, whatever its metaclass says."""
_Key = tuple[Rule, tuple[tuple[CodeType, int], ...]]


@dataclass(slots=True)
class _Count:
    """The calls from one stack."""

    stack: Stack
    times: int = 0
    nanoseconds: int = 0


class _Running(NamedTuple):
    """A call that has not returned."""

    frame: FrameType
    """The code that made it; that of the function itself if it is in Python."""
    counted: _Count
    began_ns: int
    in_python: bool

    def ends_with(self, frame: FrameType, event: str) -> bool:
        return self.frame is frame and (event == "return" or not self.in_python)


class CallProfile:
    """Records the calls of one thread that may block, from ``install`` to ``remove``."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        # A code's own hash is that of all its constants. The values keep the codes alive.
        self._in_python = {id(code): (code, rule) for code, rule in rules.in_python().items()}
        # A metaclass of the app's may forbid the hash. The values keep the classes alive.
        self._by_type: dict[tuple[int, str], tuple[type, tuple[Rule, ...]]] = {}
        self._counts: defaultdict[Category, dict[_Key, _Count]] = defaultdict(dict)
        self._full: set[Category] = set()
        self._running: list[_Running] = []
        self._is_over = self._is_dropped = False
        self.is_paused = False  # while a set-up runs, which is none of the run
        self._fault: Exception | None = None
        self._other: str | None = None
        self._function: Any = None
        self._thread = 0

    def install(self) -> None:
        """Begin, on the thread to be profiled, unless another profiler is set there."""
        if (there := sys.getprofile()) is not None:
            self._other = _name_of(there)
            return
        self._thread = threading.get_ident()
        self._function = self._seen
        sys.setprofile(self._function)

    def forget(self) -> None:
        """Discard the calls so far: they prepared the run; on the thread that is profiled."""
        self._counts.clear()
        self._full.clear()

    def end(self) -> None:
        """Record nothing more; the thread drops the profile with its next event."""
        self._is_over = True

    def remove(self) -> None:
        """End it and, on the thread that is profiled, drop it at once. May be called twice."""
        self._is_over = True
        if threading.get_ident() != self._thread:
            return
        there = sys.getprofile()
        if there == self._function:
            sys.setprofile(None)
        elif there is not None or not self._is_dropped:
            self._other = "meanwhile" if there is None else _name_of(there)
        self._running.clear()

    def guarded(self, requests: int) -> Guarded:
        """Return the result of a run with ``requests``."""
        if self._fault is not None:
            why = f"{type(self._fault).__name__}: {self._fault}"
            return Guarded(unmeasured=f"internal error in the guard ({why}); please report it")
        if self._other is not None:
            return Guarded(unmeasured=f"another profiler is set, or was set ({self._other})")
        calls = (
            BlockingCall(
                rule.shown,
                rule.category,
                count.stack,
                count.times,
                count.nanoseconds / 1e9,
                rule.instead,
            )
            for counts in self._counts.values()
            for (rule, _), count in counts.items()
        )
        return Guarded(
            tuple(calls),
            requests,
            self._why_incomplete(),
            frozenset(self._full),
            DATABASES,
        )

    def _why_incomplete(self) -> str | None:
        if not self._full:
            return None
        return (
            f"{', '.join(sorted(self._full))} calls came from more than {_MOST_STACKS} stacks, and "
            "those from further stacks are not known: make fewer of them in the test"
        )

    # On the profiled thread

    def _seen(self, frame: FrameType, event: str, called: Any) -> None:
        if self._is_over:
            self._drop()
            return
        try:
            if event == "c_call":
                if called.__name__ in self._rules.by_name:
                    self._enter(frame, called)
            elif event == "call":
                if self._in_python and id(frame.f_code) in self._in_python:
                    self._enter_python(frame)
            elif self._running and self._running[-1].ends_with(frame, event):
                self._leave()
        except Exception as error:
            self._fault = error
            self._is_over = True
            self._drop()

    def _drop(self) -> None:
        self._is_dropped = True
        sys.setprofile(None)

    def _enter(self, frame: FrameType, called: Any) -> None:
        if self._running and self._running[-1].frame is frame and not self._running[-1].in_python:
            self._leave()  # its return was not seen
        rule = self._rule_of(frame, called)
        if rule is not None:
            self._count(rule, frame, frame, in_python=False)

    def _enter_python(self, frame: FrameType) -> None:
        _, rule = self._in_python[id(frame.f_code)]
        if frame.f_back is not None:
            self._count(rule, frame.f_back, frame, in_python=True)

    def _count(self, rule: Rule, caller: FrameType, frame: FrameType, *, in_python: bool) -> None:
        """Count a call by ``caller``, and time it until ``frame`` sees its end."""
        is_within = bool(self._running) and self._running[-1].in_python
        if self.is_paused or is_within or _is_ours(caller):
            return
        key = rule, tuple(_positions(caller))
        counts = self._counts[rule.category]
        count = counts.get(key)
        if count is None:
            if len(counts) >= _MOST_STACKS:
                self._full.add(rule.category)
                return
            count = counts[key] = _Count(stack_of(caller))
        count.times += 1
        self._running.append(_Running(frame, count, CLOCKS.wall_ns(), in_python))

    def _leave(self) -> None:
        ended = self._running.pop()
        ended.counted.nanoseconds += CLOCKS.wall_ns() - ended.began_ns

    def _rule_of(self, frame: FrameType, called: Any) -> Rule | None:
        owner, name = called.__self__, called.__name__
        kind = type(owner)  # isinstance would ask an object of the app's for its __class__
        if owner is None or issubclass(kind, ModuleType):
            rules = self._rules_at(called.__module__, name)
        else:
            kind = owner if issubclass(kind, type) else kind
            if (id(kind), name) not in self._by_type:
                self._by_type[id(kind), name] = kind, self._rules_of_type(kind, name)
            _, rules = self._by_type[id(kind), name]
        if not rules:
            return None
        site = Site(frame, called)
        return next((rule for rule in rules if _holds(rule, site)), None)

    def _rules_of_type(self, kind: type, name: str) -> tuple[Rule, ...]:
        for one in _mro_of(kind):
            # Not by a metaclass, nor what the class has for its instances.
            module, qualname = _module_of(one), _qualname_of(one)
            if type(module) is str and (rules := self._rules_at(f"{module}.{qualname}", name)):
                return rules
        return ()

    def _rules_at(self, owner: str | None, name: str) -> tuple[Rule, ...]:
        owner = owner or ""
        return self._rules.by_name[name].get(_SYSTEM.get(owner, owner), ())


def _is_ours(frame: FrameType) -> bool:
    module = frame.f_globals.get("__name__")
    return type(module) is str and module.startswith(_OWN)


def _holds(rule: Rule, site: Site) -> bool:
    try:
        return rule.when(site)
    except Exception:  # of a closed file or connection: the call fails, too
        return False


def _positions(frame: FrameType | None) -> Any:
    for _ in range(DEEPEST):
        if frame is None:
            return
        yield frame.f_code, frame.f_lasti
        frame = frame.f_back


def _name_of(profiler: Any) -> str:
    kind = profiler if hasattr(profiler, "__qualname__") else type(profiler)
    return f"{kind.__module__}.{kind.__qualname__}"
