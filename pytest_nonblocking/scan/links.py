"""Values that links lead to: runtime expressions of a description, and addresses in answers."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, unquote, urljoin, urlsplit

from .document import unescaped
from .operation import Operation, names_in
from .request import Answer

ADDRESS = ("/", "http://", "https://")
"""How a text that is an address begins."""
_EMBEDDED = re.compile(r"\{(\$[^{}]+)\}")
_BRACES = re.compile(r"\{[^}]*\}")
_IN_PAGE = re.compile(r"""\b(?:href|src|action)\s*=\s*["']([^"'#]+)""", re.IGNORECASE)
_IN_SCRIPT = re.compile(r"""(?:["']|&quot;)(/[^"'\s<>\\]+?)(?=["']|&quot;)""")
"""Addresses in links and forms, and in scripts: in an import map, or in data for the page."""
_LOGINS = {"login", "signin", "logon", "auth", "authorize", "oauth", "oauth2", "sso", "saml"}
_LOGOUTS = {"logout", "signout", "logoff", "signoff"}
"""Words in the paths of a page to log in, and of one to log out, which often leads there."""
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

    ``asked`` is the address of the request. Addresses of other hosts, and those of the operations
    ``known`` that have no such parameter there, lead elsewhere.
    """
    found = _addresses(answer, asked)
    return _usable(parameter_in(one, asked, operation, name, known) for one in found)


def leading(
    answer: Answer, asked: str, operation: Operation, known: Sequence[Operation]
) -> list[dict[str, str]]:
    """Return the values by name in the addresses of an answer that lead to ``operation``.

    Up to 5, with the values of its query. An address is left out if another of the operations
    ``known`` says more of it: ``/users/me`` leads to no ``/users/{id}``.
    """
    own, is_fixed = len(names_in(operation.path)), re.search(r"\w", _BRACES.sub("", operation.path))
    closer = [o for o in known if o.method == "GET" and len(names_in(o.path)) < own]
    names = {one.name for one in operation.parameters if one.where == "query"}
    found: list[dict[str, str]] = []
    for address in _addresses(answer, asked):
        parts = _split(address, asked)
        values = None if parts is None else _matched(operation, parts.path)
        if not values or any(_matched(one, parts.path) is not None for one in closer):
            continue
        if not is_fixed and "." in parts.path.rpartition("/")[2]:
            continue  # any address fits a path of parameters only, that of a style sheet, too
        query = {name: value for name, value in parse_qsl(parts.query) if name in names}
        if "{" in "".join(values.values()):
            continue  # to be filled in; a query such as `?block={0},{1}` is left to the other steps
        values |= {name: value for name, value in query.items() if "{" not in value}
        if values not in found:
            found.append(values)
    return found[:_MOST]


def sharing(
    answer: Answer, asked: str, operation: Operation, name: str, known: Sequence[Operation]
) -> list[Any]:
    """Return the values of the path's parameter ``name`` in addresses of other operations.

    ``/files/full/{path}`` has the ``path`` of ``/files/block/{path}``, too. Both begin alike.
    """
    first = operation.path.split("/")[1]
    alike = [one for one in known if one.method == "GET" and one.path.split("/")[1] == first]
    parts = [_split(address, asked) for address in _addresses(answer, asked)]
    found = [matching(one.path, alike) for one in parts if one is not None]
    return _usable(pair[1][name] for pair in found if pair and "{" not in pair[1].get(name, "{"))


def paths_in(answer: Answer, asked: str) -> Iterator[str]:
    """Yield the paths in the addresses of an answer, without that of a logout."""
    for address in _addresses(answer, asked):
        parts = _split(address, asked)
        if parts is not None and "{" not in parts.path and not is_logout(parts.path):
            yield parts.path or "/"


def matching(path: str, operations: Iterable[Operation]) -> tuple[Operation, dict[str, str]] | None:
    """Return the operation with the fewest parameters that has ``path``, and their values."""
    pairs = [(one, _matched(one, path)) for one in operations]
    known = [(one, values) for one, values in pairs if values is not None]
    return min(known, key=lambda pair: len(pair[1]), default=None)


def _matched(operation: Operation, path: str) -> dict[str, str] | None:
    """Return the path's parameters in the path of an address, None if it is another path."""
    match = re.fullmatch(_pattern(operation.path.rstrip("/"), operation) + "/?", path)
    names = names_in(operation.path)
    return None if match is None else dict(zip(names, map(unquote, match.groups()), strict=False))


def to_login(answer: Answer, path: str) -> Answer:
    """Return ``answer`` with what is wrong with it if it leads from ``path`` to a login.

    The login itself may lead on to that of another host, and the logout leads to it.
    """
    location = answer.headers.get("location") if 300 <= answer.status < 400 else None
    if not location or _has_word(path, _LOGINS | _LOGOUTS):
        return answer
    try:
        target = urlsplit(location).path
    except ValueError:
        return answer
    if not _has_word(target, _LOGINS):
        return answer
    return replace(answer, error=f"with a redirect to {target}", to_login=True)


def is_login(path: str) -> bool:
    """Return whether ``path`` is that of a login, or of a token."""
    return _has_word(path, {*_LOGINS, "token", "session", "sessions"})


def is_logout(path: str) -> bool:
    """Return whether ``path`` is that of a logout, which ends the session of a login."""
    return _has_word(path, _LOGOUTS)


def _has_word(path: str, words: set[str]) -> bool:
    joined = re.sub(r"\b(log|sign)[-_](in|on|out|off)\b", r"\1\2", path.lower())
    return not words.isdisjoint(re.split(r"[^a-z0-9]+", joined))


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
    if (parts := _split(address, asked)) is None:
        return None
    if name in _with_slashes(operation):
        values = _matched(operation, parts.path)
        return None if values is None else values[name]
    inside = _pattern(after.partition("/")[0], operation)
    pattern = f"{_pattern(before, operation)}(?P<own>[^/]+?){inside}(?=/|$)"
    match = re.match(pattern, parts.path)
    if match is None or any(_has_part(one.path, before, match["own"]) for one in known):
        return None
    return unquote(match["own"])


def _split(address: str, asked: str) -> Any:
    """Return the parts of an address, None if it is one of another host, or none."""
    try:
        parts = urlsplit(urljoin(asked, address))
    except ValueError:
        return None
    return parts if parts.hostname == urlsplit(asked).hostname else None


def _pattern(template: str, operation: Operation) -> str:
    """Return the regular expression of a part of a path, with a group for each parameter."""
    slashes = _with_slashes(operation)
    names = [braces[1:-1] for braces in _BRACES.findall(template)]
    groups = ["(.+)" if name in slashes else "([^/]+)" for name in names]
    fixed = [re.escape(part) for part in _BRACES.split(template)]
    return "".join(part for pair in zip(fixed, [*groups, ""], strict=True) for part in pair)


def _with_slashes(operation: Operation) -> set[str]:
    return {one.name for one in operation.parameters if one.takes_slashes}


def _has_part(path: str, before: str, part: str) -> bool:
    """Return whether ``path`` has ``part`` where others have the parameter: ``/users/me``."""
    return path == before + part or path.startswith(f"{before}{part}/")


def _addresses(answer: Answer, asked: str) -> Iterator[str]:
    """Yield the addresses in an answer: its ``Location``, those of its JSON, or of its page."""
    if location := answer.headers.get("location"):
        yield urljoin(asked, location)
    content = answer.json()
    if content is not None:
        yield from (one for one in _texts(content) if one.startswith(ADDRESS))
    elif "html" in answer.headers.get("content-type", ""):
        page = answer.content.decode("utf-8", "replace")
        for places in (_IN_PAGE, _IN_SCRIPT):
            yield from (html.unescape(match[1]).strip() for match in places.finditer(page))


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
