"""Values from the application's own answers: the ids of a list feed the operations of one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .operation import Operation, names_in

_MOST = 5
_KEYS = ("id", "uuid", "uid", "key", "slug", "name", "identifier", "code", "uri")
_CONTAINERS = ("items", "results", "data", "records", "objects", "content", "value", "nodes")
_LISTS = ("", "list", "all", "search", "filter", "index")


def sources(operation: Operation, name: str, operations: Iterable[Operation]) -> list[Operation]:
    """Return the operations whose answers may contain values for the parameter ``name``.

    First the collection that the parameter follows in the path, then lists of what it is named
    after, wherever they are; last the operation that creates one, if it is among ``operations``.
    """
    others = [one for one in operations if one is not operation]
    reading = [one for one in others if one.method == "GET"]
    before = operation.path.partition("{" + name + "}")[0].rstrip("/")
    resource = resource_of(operation, name)
    at_hand = {*names_in(before)}
    ranked = []
    for one in reading:
        if not {*names_in(one.path)} <= at_hand:
            continue
        path = one.path.rstrip("/")
        if before != operation.path.rstrip("/") and path == before:
            ranked.append((0, one))
        elif _lists(one, resource) or _lists(one, _stem(name)):
            ranked.append((1 if path.startswith(before) else 2, one))
    ranked.sort(key=lambda pair: (pair[0], len(pair[1].parameters), len(pair[1].path)))
    creating = []
    if "{" + name + "}" in operation.path:
        creating = [o for o in others if o.method == "POST" and o.path.rstrip("/") == before]
    return [*(one for _, one in ranked[:3]), *creating[:1]]


def resource_of(operation: Operation, name: str) -> str:
    """Return the segment before the parameter in the path, "" if there is none."""
    before = operation.path.partition("{" + name + "}")[0].rstrip("/")
    last = before.rpartition("/")[2]
    return "" if "{" in last or before == operation.path.rstrip("/") else last


def _lists(operation: Operation, resource: str) -> bool:
    """Return whether ``operation`` looks like the list of a resource."""
    if not resource:
        return False
    segments = [s for s in operation.path.split("/") if s and "{" not in s]
    last = segments[-1] if segments else ""
    if _plain(last) in _LISTS and len(segments) > 1:
        last = segments[-2]
    return _plain(last) in _plurals(_plain(resource))


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
    found: dict[str, Any] = {}
    for record in _records(answer, resource):
        value = _of_record(record, name)
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


def _records(answer: Any, resource: str) -> Iterator[Any]:
    """Yield what an answer lists: its elements, or those of the list within it."""
    if isinstance(answer, list):
        yield from answer
        return
    if not isinstance(answer, Mapping):
        return
    names = sorted(
        answer,
        key=lambda key: (
            _plain(str(key)) not in _plurals(_plain(resource)),
            _plain(str(key)) not in _CONTAINERS,
        ),
    )
    for key in names:
        inside = answer[key]
        if isinstance(inside, list) and inside:
            yield from inside
            return
        if isinstance(inside, Mapping) and _plain(str(key)) in _plurals(_plain(resource)):
            yield from (
                dict(one, id=name) if isinstance(one, Mapping) else name
                for name, one in inside.items()
            )
            return
        if isinstance(inside, Mapping) and _plain(str(key)) in _CONTAINERS:
            yield from _records(inside, resource)
            return
    if all(isinstance(one, Mapping) for one in answer.values()):
        yield from answer
    else:
        yield answer
