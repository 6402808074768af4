"""Frozen dataclasses as plain data, read back from it, and described by a JSON Schema.

The types of the fields are the only definition. A field without a default is required, a class
with ``OPEN`` ignores fields that it does not know, all or none of the fields that ``TOGETHER``
names have a value, and ``Annotated[…, {…}]`` adds keywords of JSON
Schema, which are checked on reading too. A name that Python reserves is written with a final
``_``.
"""

from __future__ import annotations

import functools
import math
import re
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin
from typing import get_type_hints as hints_of

from ..originals import as_before, json
from . import escaped

T = TypeVar("T")
_LARGEST = 2**53
"""The largest number that every reader of JSON takes for the same."""
_SCALARS: dict[Any, tuple[str, str]] = {
    str: ("string", "a string"),
    bool: ("boolean", "true or false"),
    int: ("integer", "a whole number"),
    float: ("number", "a number"),
}


class DoesNotFitError(ValueError):
    """Plain data is not what was asked for; the text names the field."""


class _Field(NamedTuple):
    name: str
    key: str
    kind: Any
    required: bool


@functools.cache
def _fields(kind: Any) -> tuple[_Field, ...]:
    hints = hints_of(kind, include_extras=True)
    return tuple(
        _Field(one.name, one.name.rstrip("_"), hints[one.name], one.default is MISSING)
        for one in fields(kind)
    )


def to_plain(value: Any) -> Any:
    """Return ``value`` as dicts, lists, strings, numbers and None."""
    if is_dataclass(value):
        kind: Any = type(value)
        return {one.key: to_plain(getattr(value, one.name)) for one in _fields(kind)}
    if isinstance(value, dict):
        return {key: to_plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(one) for one in value]
    return value


def text_of(value: Any) -> str:
    """Return ``value`` as the text of a JSON file."""
    return json.dumps(to_plain(value), indent=2, ensure_ascii=False) + "\n"


def compact_text(values: Sequence[object]) -> str:
    """Return ``values`` as one line of JSON."""
    return one_line(values)


def one_line(value: object) -> str:
    """Return ``value`` as one line of JSON in ASCII."""
    plain = to_plain(value)
    with as_before(json):
        return json.dumps(plain, separators=(",", ":"))


def from_text(kind: type[T], text: str) -> list[T]:
    """Return the values in a ``compact_text``; raises DoesNotFitError."""
    return [from_plain(kind, one) for one in json.loads(text)]


def from_plain(kind: type[T], value: object) -> T:
    """Return plain data as a ``kind``, its control characters escaped; raises DoesNotFitError."""
    try:
        read: T = _read(kind, value, "")
    except RecursionError:
        raise DoesNotFitError("it is nested too deeply") from None
    return read


def _read(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        read = _read(arguments[0], value, where)
        _check(arguments[1], value, where)
        return read
    if origin in (Union, UnionType):
        return None if value is None else _read(_not_none(arguments), value, where)
    if origin is Literal:
        if not any(value == one and type(value) is type(one) for one in arguments):
            _refuse(where, f"one of {', '.join(map(str, arguments))}", value)
        return value
    if origin is tuple:
        if not isinstance(value, list):
            _refuse(where, "an array", value)
        if arguments[1] is not ... and len(value) != len(arguments):
            _refuse(where, f"an array of {len(arguments)}", value)
        return tuple(_read(arguments[0], one, f"{where}[{n}]") for n, one in enumerate(value))
    if kind in _SCALARS:
        return _scalar(kind, value, where)
    if kind is object:
        return _escaped(value)
    if not isinstance(value, dict):
        _refuse(where, "an object", value)
    if origin is dict:
        return {
            escaped.line(key): _read(arguments[1], one, f"{where}[{reprlib.repr(key)}]")
            for key, one in value.items()
        }
    return kind(**_read_fields(kind, value, where))


def _read_fields(kind: Any, value: dict[str, Any], where: str) -> dict[str, Any]:
    known = _fields(kind)
    unknown = value.keys() - {one.key for one in known}
    if unknown and not getattr(kind, "OPEN", False):
        raise DoesNotFitError(f"{where or 'it'} has an unknown field {reprlib.repr(min(unknown))}")
    read = {}
    for one in known:
        if one.key in value:
            inner = f"{where}.{one.key}" if where else one.key
            read[one.name] = _read(one.kind, value[one.key], inner)
        elif one.required:
            raise DoesNotFitError(f"{where or 'it'} has no {one.key!r}")
    together = getattr(kind, "TOGETHER", ())
    missing = [name for name in together if read.get(name) is None]
    if missing and len(missing) < len(together):
        raise DoesNotFitError(
            f"{where or 'it'} has no {missing[0]!r}: all or none of {', '.join(together)} must "
            "have a value"
        )
    return read


def _scalar(kind: Any, value: Any, where: str) -> Any:
    if kind in (str, bool):
        fits = type(value) is kind
    else:
        fits = isinstance(value, (int, float)) and not isinstance(value, bool)
        fits = fits and -_LARGEST <= value <= _LARGEST  # NaN is not
        fits = fits and (kind is float or value == int(value))
    if not fits:
        _refuse(where, _SCALARS[kind][1], value)
    return escaped.lines(value) if kind is str else kind(value)


def _escaped(value: Any) -> Any:
    if isinstance(value, dict):
        return {escaped.line(key): _escaped(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_escaped(one) for one in value]
    return escaped.lines(value) if isinstance(value, str) else value


def _check(keywords: Mapping[str, Any], value: Any, where: str) -> None:
    number = isinstance(value, (int, float))
    if number and not value >= keywords.get("minimum", -math.inf):  # NaN is not
        _refuse(where, f"{keywords['minimum']} or more", value)
    if number and value > keywords.get("maximum", math.inf):
        _refuse(where, f"{keywords['maximum']} or less", value)
    if isinstance(value, str) and not re.search(keywords.get("pattern", ""), value):
        _refuse(where, f"like {keywords['pattern']}", value)
    if isinstance(value, list) and len(value) < keywords.get("minItems", 0):
        _refuse(where, f"an array of {keywords['minItems']} or more", value)
    if isinstance(value, list) and "uniqueItems" in keywords and len(set(value)) < len(value):
        _refuse(where, "an array without repetitions", value)


def _refuse(where: str, wanted: str, value: object) -> None:
    raise DoesNotFitError(f"{where or 'it'} must be {wanted}, not {reprlib.repr(value)}")


def _not_none(arguments: tuple[Any, ...]) -> Any:
    (inner,) = (one for one in arguments if one is not NoneType)
    return inner


def schema_of(kind: type, title: str) -> dict[str, Any]:
    """Return the JSON Schema of ``kind`` as plain data."""
    definitions: dict[str, Any] = {}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        **_object(kind, definitions),
        "$defs": definitions,
    }


def _object(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    known = _fields(kind)
    closed = {} if getattr(kind, "OPEN", False) else {"additionalProperties": False}
    return {
        "type": "object",
        "required": [one.key for one in known if one.required],
        **closed,
        **_together(getattr(kind, "TOGETHER", ())),
        "properties": {one.key: _schema(one.kind, definitions) for one in known},
    }


def _together(names: Sequence[str]) -> dict[str, Any]:
    if not names:
        return {}
    nothing = {"properties": {name: {"const": None} for name in names}}
    values = {name: {"not": {"const": None}} for name in names}
    return {"oneOf": [nothing, {"required": list(names), "properties": values}]}


def _schema(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return {**arguments[1], **_schema(arguments[0], definitions)}
    if origin in (Union, UnionType):
        inner = _schema(_not_none(arguments), definitions)
        if "enum" in inner:
            return {"enum": [*inner["enum"], None]}
        if "const" in inner:
            return {"enum": [inner["const"], None]}
        if "type" in inner:
            return inner | {"type": [inner["type"], "null"]}
        return {"oneOf": [{"type": "null"}, inner]}
    if origin is Literal:
        return {"const": arguments[0]} if len(arguments) == 1 else {"enum": list(arguments)}
    if origin is tuple:
        count = len(arguments)
        size = {} if arguments[1] is ... else {"minItems": count, "maxItems": count}
        return {"type": "array", **size, "items": _schema(arguments[0], definitions)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(arguments[1], definitions)}
    if kind in _SCALARS:
        return {"type": _SCALARS[kind][0]}
    if kind is object:
        return {}
    name = kind.__name__.lower()
    if name not in definitions:
        definitions[name] = {}  # keeps the order in which a reader meets them
        definitions[name] = _object(kind, definitions)
    return {"$ref": f"#/$defs/{name}"}
