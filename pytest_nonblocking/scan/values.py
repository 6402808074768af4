"""Values that a description allows: declared ones, then the simplest that fits a schema."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from .operation import Schema

_FORMATS = {
    "date": "2024-01-01",
    "date-time": "2024-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "PT1S",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "email": "user@example.com",
    "hostname": "example.com",
    "ipv4": "127.0.0.1",
    "ipv6": "::1",
    "uri": "https://example.com/",
    "url": "https://example.com/",
}
_COMMON = ("string", "0", "a", "A", "00", "0,0", "1.0", "a-a", "a/a", *_FORMATS.values())
"""Texts of which one may fit a pattern."""
_LONGEST = 1000
_DEEPEST = 8


GUESS = "made from the schema"
GIVEN = "given by nonblocking_scan"
"""Where a value is from, if it is not declared and not from an answer."""


class Value(NamedTuple):
    """A value for a parameter or a body, and the step of the ladder that it comes from.

    ``along`` are the values of outer parameters with which it was found.
    """

    value: Any
    source: str
    along: Mapping[str, Value] = {}


_WRONG = (TypeError, ValueError, AttributeError, LookupError, OverflowError)
"""What a keyword of another type than it must have raises."""


def declared(schema: Schema, examples: tuple[Any, ...]) -> list[Value]:
    """Return the values that a description declares: examples, the default, the enumeration."""
    found = [Value(example, "an example of the description") for example in examples]
    try:
        return [*found, *_declared_in(schema)]
    except _WRONG:
        return found


def _declared_in(schema: Schema, depth: int = 0) -> Iterator[Value]:
    for name in ("example", "x-example"):
        if name in schema:
            yield Value(schema[name], "an example of the description")
    many = schema.get("examples")
    for example in many if isinstance(many, (list, tuple)) else ():
        yield Value(example, "an example of the description")
    if schema.get("default") is not None:
        yield Value(schema["default"], "the default")
    if "const" in schema:
        yield Value(schema["const"], "the only value")
    enumerated = schema.get("enum")
    for one in enumerated if isinstance(enumerated, (list, tuple)) else ():
        yield Value(one, "an enumerated value")
    if depth < _DEEPEST:
        for name in ("anyOf", "oneOf", "allOf"):
            for one in schema.get(name) or ():
                yield from _declared_in(one, depth + 1)


def simplest(schema: Schema) -> Any:
    """Return a simple value that fits ``schema``, None if there is none to be guessed."""
    try:
        return _simplest(schema, 0)
    except _WRONG:
        return None


def _simplest(schema: Schema, depth: int) -> Any:
    for found in _declared_in(schema):
        return found.value
    for name in ("anyOf", "oneOf"):
        for one in schema.get(name) or ():
            if one.get("type") != "null":
                return _simplest(one, depth + 1)
    if schema.get("allOf"):
        return _merged(schema, depth)
    if depth > _DEEPEST:
        return None
    kinds = schema.get("type")
    if isinstance(kinds, (list, tuple)):
        kinds = next((one for one in kinds if one != "null"), None)
    return _of_type(kinds or ("object" if "properties" in schema else "string"), schema, depth)


def _merged(schema: Schema, depth: int) -> Any:
    parts = [one for one in schema["allOf"] if isinstance(one, Mapping)]
    whole: dict[str, Any] = {}
    for one in (*parts, {name: value for name, value in schema.items() if name != "allOf"}):
        for name, value in one.items():
            if name == "properties":
                value = {**whole.get(name, {}), **value}
            elif name == "required":
                value = [*whole.get(name, []), *value]
            whole[name] = value
    return _simplest(whole, depth + 1)


def _of_type(kind: Any, schema: Schema, depth: int) -> Any:
    if kind == "integer":
        return int(_number(schema))
    if kind == "number":
        return float(_number(schema))
    if kind == "boolean":
        return True
    if kind == "array":
        items = schema.get("items")
        count = max(int(schema.get("minItems") or 0), 1 if depth == 0 else 0)
        return [_simplest(items or {}, depth + 1)] * count
    if kind == "object":
        properties = schema.get("properties") or {}
        names = schema.get("required") or ()
        return {name: _simplest(properties.get(name) or {}, depth + 1) for name in names}
    if kind == "null":
        return None
    return _text(schema)


def _number(schema: Schema) -> float:
    least = schema.get("minimum")
    if least is None and schema.get("exclusiveMinimum") is not None:
        above = schema["exclusiveMinimum"]
        least = schema.get("minimum", 0) if isinstance(above, bool) else above
        least += 1
    number = 1.0 if least is None else float(least)
    most = schema.get("maximum")
    number = number if most is None else min(number, float(most))
    step = schema.get("multipleOf")
    return number if not step else -(-number // step) * step


def _text(schema: Schema) -> str | None:
    if "pattern" in schema:
        return _fitting(schema)
    text = _FORMATS.get(str(schema.get("format")), "string")
    least, most = int(schema.get("minLength") or 0), schema.get("maxLength")
    text = text.ljust(least, "g")
    return text if most is None else text[: int(most)]


def _fitting(schema: Schema) -> str | None:
    """Return the first common text that fits a pattern, None if it is to be generated."""
    least, most = int(schema.get("minLength") or 0), int(schema.get("maxLength") or _LONGEST)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            fits = re.compile(str(schema["pattern"])).search
        except re.error:  # of another dialect
            return None
    return next((one for one in _COMMON if least <= len(one) <= most and fits(one)), None)
