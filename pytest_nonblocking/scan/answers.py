"""Values from the application's own answers: the ids of a list feed the operations of one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .operation import Operation, names_in

_MOST = 5
_KEYS = ("id", "uuid", "uid", "key", "slug", "name", "identifier", "code", "uri")
_CONTAINERS = ("items", "results", "data", "records", "objects", "content", "value", "nodes")
_QUERIES = ("search", "filter", "query", "list", "paginate")
_READING = ("get", "read", "fetch", "show", "describe", "info", "detail", "details", "view")
_MAKING = ("create", "add", "new", "register")
_LISTS = ("", "all", "index", *_QUERIES)
_NODES = 500
"""Parts of an answer in which a name is looked for."""


def sources(operation: Operation, name: str, operations: Iterable[Operation]) -> list[Operation]:
    """Return the operations whose answers may contain values for the parameter ``name``.

    First the collection that the parameter follows in the path, then lists of what it is named
    after, wherever they are; last the operation that creates one, if it is among ``operations``.
    """
    others = [one for one in operations if one is not operation]
    collections = _collections(operation, name)
    resource, stem = resource_of(operation, name), _stem(name)
    at_hand = {*names_in(collections[0])}
    ranked = []
    for one in others:
        if not reads(one) or not {*names_in(one.path)} <= at_hand:
            continue
        path = one.path.rstrip("/")
        if one.method == "GET" and path in collections:
            ranked.append((0, one))
        elif _lists(one, resource) or _lists(one, stem):
            is_below = any(path.startswith(before) for before in collections)
            ranked.append((1 if is_below else 2, one))
    ranked.sort(key=lambda pair: (pair[0], len(pair[1].parameters), len(pair[1].path)))
    found = [one for _, one in ranked]
    if not stem or stem == name or _is_plural(resource, stem):
        return [*found[:3], *_creating(operation, name, others)[:1]]
    # Of another kind than what it follows, as in `/runs/{flow_id}`; or of the same, abbreviated.
    named = [one for one in found if _lists(one, stem)]
    creating = [one for one in _creating(operation, name, others) if _lists(one, stem)]
    rest = [one for one in found if one not in named]
    return [*named[:2], *creating[:1], *rest[:2], *_creating(operation, name, others)[:1]]


def reads(operation: Operation) -> bool:
    """Return whether an operation lists: a GET, or a POST with a query in its body."""
    last = operation.path.rstrip("/").rpartition("/")[2]
    return operation.method == "GET" or (operation.method == "POST" and _plain(last) in _QUERIES)


def _creating(operation: Operation, name: str, others: Iterable[Operation]) -> list[Operation]:
    collections = _collections(operation, name)
    if not collections[0] and "{" + name + "}" not in operation.path:
        return []
    posts = [one for one in others if one.method == "POST" and not reads(one)]
    made = {f"{path}/{verb}" for path in collections for verb in _MAKING}
    found = [one for one in posts if one.path.rstrip("/") in {*collections, *made}]
    plain = [one for one in posts if not names_in(one.path)]
    named = [one for one in plain if _lists(one, _stem(name))]
    listed = [one for one in plain if _lists(one, resource_of(operation, name))]
    return [*found, *named, *listed]


def _collections(operation: Operation, name: str) -> list[str]:
    """Return the paths of the collection of a parameter.

    It is ``/flows`` of the paths ``/flows/name/{name}`` and ``/flows/get?name=``.
    """
    before = operation.path.partition("{" + name + "}")[0].rstrip("/")
    if before == operation.path.rstrip("/"):  # it is no part of the path
        kind, _, last = before.rpartition("/")
        return [kind if _plain(last) in _READING else ""]
    short = before
    keys = {*_KEYS, _plain(name)}
    while (last := short.rpartition("/")[2]) and _plain(last).removeprefix("by") in keys:
        short = short.rpartition("/")[0]
    return list(dict.fromkeys((before, short or before)))


def resource_of(operation: Operation, name: str) -> str:
    """Return the collection's segment before the parameter in the path, "" if there is none."""
    last = _collections(operation, name)[-1].rpartition("/")[2]
    return "" if "{" in last else last


def _lists(operation: Operation, resource: str) -> bool:
    """Return whether ``operation`` looks like the list of a resource."""
    if not resource:
        return False
    segments = [s for s in operation.path.split("/") if s and "{" not in s]
    last = segments[-1] if segments else ""
    if _plain(last) in _LISTS and len(segments) > 1:
        last = segments[-2]
    return _is_plural(last, resource)


def _is_plural(word: str, of: str) -> bool:
    return _plain(word) in _plurals(_plain(of))


def _plurals(word: str) -> set[str]:
    forms = {word, f"{word}s", f"{word}es", word.removesuffix("s"), word.removesuffix("es")}
    if word.endswith("y"):
        forms.add(f"{word[:-1]}ies")
    return forms - {""}


def _stem(name: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_")
    if len(words) > 1 and words[-1] in _KEYS:
        words.pop()
    return "_".join(words)


def _plain(word: str) -> str:
    return re.sub(r"[^a-z0-9]", "", word.lower())


def values_in(answer: Any, name: str, resource: str) -> list[Any]:
    """Return up to 5 different values for the parameter ``name`` from the JSON of ``answer``."""
    return _usable(_of_record(record, name) for record in _records(answer, name, resource))


def named_in(answer: Any, name: str, resource: str) -> list[Any]:
    """Return up to 5 values that an answer names like the parameter, however deep they are.

    ``flow_run_id`` is what has that name, or the ids of a list ``flow_runs``. For a name that
    anything may have, such as ``id``, the list is that of the ``resource``.
    """
    stem = _stem(name)
    common = is_common(name)
    lists = {_plain(resource if common else stem)} - {""}
    found: list[Any] = []
    left = [answer]
    for _ in range(_NODES):
        if not left:
            break
        one = left.pop(0)
        if isinstance(one, list):
            left += one
        for key, value in one.items() if isinstance(one, Mapping) else ():
            if not common and _plain(str(key)) == _plain(name):
                found.append(value)
            if isinstance(value, list) and any(_is_plural(str(key), word) for word in lists):
                found += (_of_record(record, name) for record in value)
            left.append(value)
    return _usable(found)


def is_common(name: str) -> bool:
    """Return whether anything may have a parameter ``name``, such as ``id``."""
    return _stem(name) == name and _plain(name) in _KEYS


def _usable(values: Iterable[Any]) -> list[Any]:
    found: dict[str, Any] = {}
    for value in values:
        if isinstance(value, (str, int)) and not isinstance(value, bool) and value != "":
            found.setdefault(str(value), value)
    return list(found.values())[:_MOST]


def _of_record(record: Any, name: str) -> Any:
    if not isinstance(record, Mapping):
        return record
    keys = {_plain(str(key)): key for key in record}
    stem = _plain(_stem(name))
    tail = _plain(name).removeprefix(stem)
    for wanted in (_plain(name), tail, *_KEYS, stem):
        if wanted and wanted in keys and not isinstance(record[keys[wanted]], (Mapping, list)):
            return record[keys[wanted]]
    return None


def _records(answer: Any, name: str, resource: str) -> Iterator[Any]:
    """Yield what an answer lists: its elements, or those of the list within it, or itself."""
    if isinstance(answer, list):
        yield from answer
        return
    if not isinstance(answer, Mapping):
        return
    names = sorted(
        answer,
        key=lambda key: (
            not _is_plural(str(key), resource),
            _plain(str(key)) not in _CONTAINERS,
        ),
    )
    for key in names:
        inside = answer[key]
        is_named = _is_plural(str(key), resource) or _plain(str(key)) in _CONTAINERS
        if not is_named and _has_own(answer, name):
            break  # a record, which may have lists of its own
        if isinstance(inside, list) and inside:
            yield from inside
            return
        if isinstance(inside, Mapping) and _is_plural(str(key), resource):
            yield from (
                dict(one, id=name) if isinstance(one, Mapping) else name
                for name, one in inside.items()
            )
            return
        if isinstance(inside, Mapping) and _plain(str(key)) in _CONTAINERS:
            yield from _records(inside, name, resource)
            return
    if all(isinstance(one, Mapping) for one in answer.values()):
        yield from answer
    else:
        yield answer


def _has_own(record: Mapping[Any, Any], name: str) -> bool:
    """Return whether ``record`` has the parameter itself: by its name, or as its id."""
    keys = {_plain(str(key)) for key in record}
    return bool(keys & {_plain(name), _plain(name).removeprefix(_plain(_stem(name)))})
