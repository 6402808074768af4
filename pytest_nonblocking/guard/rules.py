"""What the guard looks for: the table, the user's own functions, and what libraries ship."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any, NamedTuple

from ..model import CATEGORIES, Category, Exemption
from . import conditions
from .conditions import Condition
from .table import RUNTIMES, TABLE

GROUP = "pytest_nonblocking.guard"
"""The entry points by which libraries ship rules."""


class Rule(NamedTuple):
    """One C function; ``owner`` is its module or class, and ``shown`` its public name.

    ``instead`` is what a library ships; for functions of the table, it depends on the loop.
    """

    owner: str
    name: str
    shown: str
    category: Category
    when: Condition = conditions.always
    instead: str | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules by the name of the function and then by its owner, and all exemptions.

    ``problems`` are messages about shipped rules that were left out.
    """

    by_name: Mapping[str, Mapping[str, tuple[Rule, ...]]]
    exempt: tuple[Exemption, ...]
    problems: tuple[str, ...] = ()


def rules_of(calls: Mapping[str, str]) -> Rules:
    """Return all rules; ``calls`` are the user's own, from dotted names to categories."""
    shipped = _shipped()
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
            yield Rule(row.owner, name, row.public(name), row.category, row.when)


def _of_name(dotted: str, category: Category, instead: str | None = None) -> Rule:
    owner, _, name = dotted.rpartition(".")
    return Rule(owner, name, dotted, category, instead=instead)


class _Shipped(NamedTuple):
    rules: list[Rule]
    exempt: list[Exemption]
    problems: list[str]


@functools.cache
def _shipped() -> _Shipped:
    """Return what the installed libraries ship; a library's mistake costs only its own rules."""
    all_of_them = _Shipped([], [], [])
    for point in metadata.entry_points(group=GROUP):
        try:
            found = read_shipped(point.load())
        except Exception as error:  # whatever importing it raises
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
    if not isinstance(calls, Mapping) or not _are_names(calls):
        raise ValueError("calls must be a mapping from dotted names of functions")
    if isinstance(exempt, str) or not isinstance(exempt, Iterable):
        raise ValueError("exempt must be a list of names of modules")
    modules = list(exempt)
    if not _are_names(modules):
        raise ValueError("exempt must be a list of names of modules")
    rules = [_read_rule(name, facts) for name, facts in calls.items()]
    return _Shipped(rules, [Exemption(module) for module in modules], [])


def _are_names(names: Iterable[Any]) -> bool:
    return all(isinstance(one, str) and one for one in names)


def _read_rule(name: str, facts: Any) -> Rule:
    known = {"category": facts} if isinstance(facts, str) else facts
    if not isinstance(known, Mapping) or not set(known) <= {"category", "instead"}:
        raise ValueError(f"{name} must have a category, or a mapping of category and instead")
    category, instead = known.get("category", "network"), known.get("instead")
    if category not in CATEGORIES or not isinstance(instead, (str, type(None))):
        raise ValueError(f"the category of {name} must be one of {', '.join(CATEGORIES)}")
    return _of_name(name, category, instead)
