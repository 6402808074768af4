"""The parameters that an app asks for when it refuses a request, although it describes none."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from .operation import Operation, Parameter
from .request import Answer

_STATUSES = (400, 422)
_READ = 2000
_WORDS = (
    # Missing value for required parameter 'run_id', Missing query parameter: run_id
    re.compile(r"(?:parameter|argument|field|param|key)s?:?\s+[`'\"]([A-Za-z_]\w*)[`'\"]"),
    re.compile(r"[Mm]issing (?:\w+ )*(?:parameter|argument|field|param|key)s?:?\s+([a-z]\w*)"),
    # "run_id" is required, 'run_id' must be given
    re.compile(r"[`'\"]([A-Za-z_]\w*)[`'\"]:? (?:\w+ ){0,3}(?:required|missing|must)\b"),
    # run_id is required; exactly one of run_id or name must be given
    re.compile(r"\b([a-z]\w*) (?:is|are) (?:required|missing)\b"),
    re.compile(r"\b(?:one of|[Ee]ither) ([a-z]\w*)\b"),
)
_NO_NAMES = {"the", "that", "this", "it", "is", "are", "be", "in", "following", "these", "a"}
_NO_NAMES |= {"field", "parameter", "value", "argument", "input", "body", "missing", "required"}


def demanded(answer: Answer, operation: Operation) -> list[Parameter]:
    """Return the parameters that an answer with an error names as missing, the first of its text.

    One that the operation describes as optional has its schema; any other is a query.
    """
    if answer.status not in _STATUSES:
        return []
    known = {(one.where, one.name): one for one in operation.parameters}
    found = list(_located(answer.json()))
    if not found:
        text = answer.content[:_READ].decode("utf-8", "replace").replace("\\", "")
        names = [match[1] for words in _WORDS for match in words.finditer(text)]
        found = [("query", name) for name in names if name.lower() not in _NO_NAMES][:1]
    taken = {one.name for one in operation.parameters if one.where == "path"}
    return [
        known.get((where, name), Parameter(name, where))
        for where, name in dict.fromkeys(found)
        if name not in taken
    ]


def _located(content: Any) -> Iterator[tuple[str, str]]:
    """Yield where pydantic misses a value, and its name."""
    errors = content.get("detail") if isinstance(content, Mapping) else None
    for one in errors if isinstance(errors, list) else ():
        if not isinstance(one, Mapping) or "missing" not in str(one.get("type")):
            continue
        place = one.get("loc")
        if isinstance(place, list) and len(place) == 2 and place[0] in ("query", "header"):
            yield str(place[0]), str(place[1])
