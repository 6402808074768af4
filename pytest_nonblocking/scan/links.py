"""Values that links lead to: runtime expressions of a description, and addresses in answers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from .document import unescaped
from .operation import Operation
from .request import Answer

ADDRESS = ("/", "http://", "https://")
"""How a text that is an address begins."""
_EMBEDDED = re.compile(r"\{(\$[^{}]+)\}")
_BRACES = re.compile(r"\{[^}]*\}")
_MOST = 5
_ENOUGH = 500
"""Values of an answer in which addresses are looked for."""


def linked_values(expression: Any, sent: Mapping[str, Any], answer: Answer) -> list[Any]:
    """Return the values of a runtime expression for a request with the values ``sent``.

    An expression that leads into a list also gives the values beside it, up to 5, so that the
    copies differ. Empty if the answer has none.
    """
    if not isinstance(expression, str):
        return [expression]
    if expression.startswith("$"):
        return _usable(_evaluated(expression, sent, answer))
    missing = False

    def value(match: re.Match[str]) -> str:
        nonlocal missing
        found = _usable(_evaluated(match[1], sent, answer))
        missing = missing or not found
        return str(found[0]) if found else ""

    text = _EMBEDDED.sub(value, expression)
    return [] if missing else [text]


def _evaluated(expression: str, sent: Mapping[str, Any], answer: Answer) -> Iterator[Any]:
    place, _, pointer = expression.partition("#")
    whose, _, rest = place.partition(".")
    where, _, name = rest.partition(".")
    if place == "$statusCode":
        yield answer.status
    elif whose == "$response" and where == "header":
        yield answer.headers.get(name.lower())
    elif whose == "$response" and where == "body":
        yield from _pointed(answer.json(), pointer)
    elif whose == "$request" and where == "body":
        yield from _pointed(sent.get("body"), pointer)
    elif whose == "$request":
        yield sent.get(name)


def _pointed(whole: Any, pointer: str) -> Iterator[Any]:
    """Yield what a JSON pointer leads to, then the same of the other elements of lists."""
    if not pointer.strip("/"):
        yield whole
        return
    part, _, rest = pointer.removeprefix("/").partition("/")
    name = unescaped(part)
    if isinstance(whole, Mapping) and name in whole:
        yield from _pointed(whole[name], rest)
    elif isinstance(whole, list) and name.isdecimal():
        for one in (*whole[int(name) :], *whole[: int(name)]):
            yield from _pointed(one, rest)


def _usable(values: Iterator[Any]) -> list[Any]:
    """Return up to 5 different values, without those that no parameter can have."""
    found: dict[str, Any] = {}
    for value in values:
        if isinstance(value, (str, int, float)) and not isinstance(value, bool) and value != "":
            found.setdefault(str(value), value)
    return list(found.values())[:_MOST]


# Addresses


def addressed(
    answer: Answer, asked: str, operation: Operation, name: str, known: Sequence[Operation]
) -> list[Any]:
    """Return the values of the path's parameter ``name`` in the addresses that an answer contains.

    These are its ``Location`` and all texts of its JSON that are addresses, such as ``self`` and
    ``href``. ``asked`` is the address of the request. Addresses of other hosts, and those of the
    operations ``known`` that have no such parameter there, lead elsewhere.
    """
    location = answer.headers.get("location")
    texts = [urljoin(asked, location)] if location else []
    texts += [one for one in _texts(answer.json()) if one.startswith(ADDRESS)]
    values = (parameter_in(one, asked, operation, name, known) for one in texts)
    return _usable(values)


def parameter_in(
    address: str, asked: str, operation: Operation, name: str, known: Sequence[Operation]
) -> str | None:
    """Return the value of the path's parameter ``name`` in ``address``, None if it leads elsewhere.

    It leads to the operation, or to what is above it in the path: ``/users/7`` has the ``id`` of
    ``/users/{id}/posts``, too.
    """
    before, braces, after = operation.path.partition("{" + name + "}")
    if not braces or not re.search(r"\w", _BRACES.sub("", before)):
        return None  # any address fits a path of parameters only
    try:
        parts = urlsplit(urljoin(asked, address))
    except ValueError:
        return None
    if parts.hostname != urlsplit(asked).hostname:
        return None
    pattern = f"{_pattern(before)}([^/]+?){_pattern(after.partition('/')[0])}(?=/|$)"
    match = re.match(pattern, parts.path)
    if match is None or any(_has_part(one.path, before, match[1]) for one in known):
        return None
    return unquote(match[1])


def _pattern(template: str) -> str:
    """Return the regular expression of a part of a path with parameters."""
    return "[^/]+".join(map(re.escape, _BRACES.split(template)))


def _has_part(path: str, before: str, part: str) -> bool:
    """Return whether ``path`` has ``part`` where others have the parameter: ``/users/me``."""
    return path == before + part or path.startswith(f"{before}{part}/")


def _texts(answer: Any) -> Iterator[str]:
    """Yield the texts of an answer in their order, as far as it is looked at."""
    left = [answer]
    for _ in range(_ENOUGH):
        if not left:
            return
        one = left.pop()
        if isinstance(one, Mapping):
            left += reversed(list(one.values()))
        elif isinstance(one, list):
            left += reversed(one)
        elif isinstance(one, str):
            yield one
