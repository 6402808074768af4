"""What the guard looks for: the table, the user's own functions, and what libraries ship."""

from __future__ import annotations

import functools
import inspect
import itertools
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from types import CodeType
from typing import Any, NamedTuple

from ..accepts import DOTTED
from ..model import CATEGORIES, Category, Exemption
from . import conditions
from .conditions import Condition
from .table import RUNTIMES, TABLE, InPython

GROUP = "pytest_nonblocking.guard"
"""The entry points by which libraries ship rules."""
OR = " or "
"""What stands between the names of a function that has several: which was called is not known."""


class Rule(NamedTuple):
    """One function; ``owner`` is its module or class, and ``shown`` its public name.

    ``instead`` is what a library ships; for functions of the table, it depends on the loop.
    ``in_python`` says that it may be a Python function, and whether only its decorator runs.
    """

    owner: str
    name: str
    shown: str
    category: Category
    when: Condition = conditions.always
    instead: str | None = None
    in_python: InPython = ""


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules by the name of the function and then by its owner, and all exemptions.

    ``problems`` are messages about shipped rules that were left out.
    """

    by_name: Mapping[str, dict[str, tuple[Rule, ...]]]
    exempt: tuple[Exemption, ...]
    problems: tuple[str, ...] = ()

    def in_python(self) -> dict[CodeType, Rule]:
        """Return the rules of the Python functions that are imported, by their code.

        What one decorator has made of several functions is called by the name of their class, and
        one function that has several names by all of them.
        """
        found: dict[CodeType, Rule] = {}
        owners = itertools.chain.from_iterable(map(dict.values, self.by_name.values()))
        for rule in itertools.chain.from_iterable(owners):
            if rule.in_python and (code := _code_of(rule)) is not None:
                found[code] = _shared(found[code], rule) if code in found else rule
        return found


def rules_of(calls: Mapping[str, str]) -> Rules:
    """Return all rules; ``calls`` are the user's own, from dotted names to categories."""
    shipped = load_shipped()
    own = [_of_name(name, category) for name, category in calls.items()]  # type: ignore[arg-type]  # checked
    by_name: defaultdict[str, defaultdict[str, tuple[Rule, ...]]]
    by_name = defaultdict(lambda: defaultdict(tuple))
    for rule in (*own, *shipped.rules, *_of_table()):
        by_name[rule.name][rule.owner] += (rule,)
    return Rules(
        {name: dict(owners) for name, owners in by_name.items()},
        (*RUNTIMES, *shipped.exempt),
        tuple(shipped.problems),
    )


def _of_table() -> Iterator[Rule]:
    for row in TABLE:
        for name in row.names:
            shown = row.public(name)
            yield Rule(row.owner, name, shown, row.category, row.when, in_python=row.in_python)


def _of_name(dotted: str, category: Category, instead: str | None = None) -> Rule:
    owner, _, name = dotted.rpartition(".")
    return Rule(owner, name, dotted, category, instead=instead, in_python="function")


def _shared(first: Rule, other: Rule) -> Rule:
    """Return the rule of code for which there are two."""
    if other.in_python == "decorated":
        return other._replace(shown=other.owner) if first.owner == other.owner else other
    if other.shown in first.shown.split(OR):
        return first
    return first._replace(shown=f"{first.shown}{OR}{other.shown}")


def _code_of(rule: Rule) -> CodeType | None:
    """Return the code of a Python function in a module that is imported, None for any other."""
    parts = rule.owner.split(".")
    for length in range(len(parts), 0, -1):
        owner: Any = sys.modules.get(".".join(parts[:length]))
        if owner is not None:
            for name in (*parts[length:], rule.name):
                owner = inspect.getattr_static(owner, name, None)
            owner = getattr(owner, "__func__", owner)
            if rule.in_python == "function":
                owner = inspect.unwrap(owner)  # its decorator may have others
            return getattr(owner, "__code__", None)
    return None


class _Shipped(NamedTuple):
    rules: list[Rule]
    exempt: list[Exemption]
    problems: list[str]


@functools.cache
def load_shipped() -> _Shipped:
    """Return what the installed libraries ship; a library's mistake costs only its own rules."""
    all_of_them = _Shipped([], [], [])
    for point in metadata.entry_points(group=GROUP):
        try:
            found = read_shipped(point.load())
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever importing it raises: SystemExit, too
            why = f"{type(error).__name__}: {error}"
            all_of_them.problems.append(f"guard rules {point.value} are left out: {why}")
            continue
        all_of_them.rules.extend(found.rules)
        all_of_them.exempt.extend(found.exempt)
    return all_of_them


def read_shipped(data: Any) -> _Shipped:
    """Return the rules in ``data``; raises ValueError if they are malformed.

    ``data`` is a mapping with ``calls``, from dotted names of C functions to a category or to a
    mapping with ``category`` and ``instead``; and with ``exempt``, names of modules whose calls
    are not reported.
    """
    if not isinstance(data, Mapping) or not set(data) <= {"calls", "exempt"}:
        raise ValueError("it must be a mapping with the keys calls and exempt")
    calls, exempt = data.get("calls", {}), data.get("exempt", ())
    if not isinstance(calls, Mapping) or not _are_names(calls, DOTTED):
        raise ValueError("calls must be a mapping from dotted names of functions")
    if isinstance(exempt, str) or not isinstance(exempt, Iterable):
        raise ValueError("exempt must be a list of names of modules")
    modules = list(exempt)
    if not _are_names(modules):
        raise ValueError("exempt must be a list of names of modules")
    rules = [_read_rule(name, facts) for name, facts in calls.items()]
    return _Shipped(rules, [Exemption(module) for module in modules], [])


def _are_names(names: Iterable[Any], pattern: str = ".+") -> bool:
    return all(isinstance(one, str) and re.fullmatch(pattern, one) for one in names)


def _read_rule(name: str, facts: Any) -> Rule:
    known = {"category": facts} if isinstance(facts, str) else facts
    if not isinstance(known, Mapping) or not set(known) <= {"category", "instead"}:
        raise ValueError(f"{name} must have a category, or a mapping of category and instead")
    category, instead = known.get("category", "network"), known.get("instead")
    if category not in CATEGORIES or not isinstance(instead, (str, type(None))):
        raise ValueError(f"the category of {name} must be one of {', '.join(CATEGORIES)}")
    return _of_name(name, category, instead)
