"""Operations from an OpenAPI document, of version 3 or 2."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from ..accepts import METHODS
from .operation import Body, Link, Operation, Parameter, Schema, Scheme, names_in

_DEEPEST = 12
_DEPTHS, _PARTS = (12, 8, 6, 4, 3, 2, 1), 1000
"""To which depths a schema is tried to be read, and how many parts it may have then: one that
contains itself in several places grows without bounds."""
_PREFERRED = (
    "application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "text/plain",
)
_KEYWORDS = {
    *("type", "format", "items", "enum", "default", "pattern", "minimum", "maximum"),
    *("exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength"),
    *("minItems", "maxItems"),
}
"""The keywords of a schema that version 2 writes beside a parameter's name."""


class BrokenDocumentError(Exception):
    """The document is not a description of an API; the message says what is wrong with it."""


class _Document(dict[str, Any]):
    """A document, with the schemas that were read so far, by reference."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        super().__init__(raw)
        self.schemas: dict[str, Schema] = {}


def operations_in(raw: Any) -> list[Operation]:
    """Return the operations of the document ``raw``; raises BrokenDocumentError."""
    if not isinstance(raw, Mapping):
        raise BrokenDocumentError(f"it is a {type(raw).__name__}, not an object")
    document = _Document(raw)
    described = document.get("paths")
    if not isinstance(described, Mapping):
        raise BrokenDocumentError("it has no object `paths`")
    paths = {path: item for path, item in described.items() if not str(path).startswith("x-")}
    found = [one for path, item in paths.items() for one in _of_path(document, str(path), item)]
    links = _links(document, paths)
    return [replace(one, links=tuple(links.get(one.name, ()))) for one in found]


def _of_path(document: Mapping[str, Any], path: str, raw: Any) -> Iterator[Operation]:
    item = _resolved(document, raw)
    if not isinstance(item, Mapping):
        raise BrokenDocumentError(f"`paths` has no object for {path}")
    for method in METHODS:
        described = _resolved(document, item.get(method.lower()))
        if not isinstance(described, Mapping):
            continue
        try:
            yield _operation(document, method, path, item, described)
        except (TypeError, ValueError, AttributeError, LookupError) as error:
            raise BrokenDocumentError(f"{method} {path} is described wrongly: {error}") from error


def _operation(
    document: Mapping[str, Any],
    method: str,
    path: str,
    item: Mapping[str, Any],
    described: Mapping[str, Any],
) -> Operation:
    raw: dict[tuple[str, str], Mapping[str, Any]] = {}
    for one in (*_listed(item, "parameters"), *_listed(described, "parameters")):
        resolved = _resolved(document, one)
        if isinstance(resolved, Mapping):
            raw[str(resolved.get("in")), str(resolved.get("name"))] = resolved
    body = _body(document, described.get("requestBody"), raw)
    parameters = [
        _parameter(document, name, where, one)
        for (where, name), one in raw.items()
        if where in ("path", "query", "header", "cookie")
    ]
    known = {one.name for one in parameters if one.where == "path"}
    parameters += [Parameter(name, "path") for name in names_in(path) if name not in known]
    security = _security(document, described)
    known = {one.name for one in parameters}
    keys = [one.key for one in security if one.where == "query" and one.key not in known]
    parameters += [Parameter(key, "query", required=False) for key in keys]
    return Operation(method, path, tuple(parameters), body, security)


def _parameter(
    document: Mapping[str, Any], name: str, where: str, one: Mapping[str, Any]
) -> Parameter:
    schema = one.get("schema")
    if schema is None:
        content = one.get("content")
        first = next(iter(content.values()), None) if isinstance(content, Mapping) else None
        schema = first.get("schema") if isinstance(first, Mapping) else _version_2(one)
    required = bool(one.get("required")) or where == "path"
    examples = tuple(_examples(document, one))
    return Parameter(name, where, _schema(document, schema), examples, required)


def _version_2(one: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema of a parameter whose keywords stand beside its name."""
    return {name: value for name, value in one.items() if name in _KEYWORDS}


def _body(
    document: Mapping[str, Any],
    described: Any,
    parameters: Mapping[tuple[str, str], Mapping[str, Any]],
) -> Body | None:
    """Return the body that a request needs, None if it needs none."""
    for (where, _), one in parameters.items():
        if where == "body":  # OpenAPI 2
            return Body("application/json", _schema(document, one.get("schema")))
    resolved = _resolved(document, described)
    content = resolved.get("content") if isinstance(resolved, Mapping) else None
    if not isinstance(content, Mapping) or not content:
        return None
    media_type = next((one for one in _PREFERRED if one in content), str(next(iter(content))))
    media = _resolved(document, content[media_type])
    if not isinstance(media, Mapping):
        return Body(media_type)
    examples = tuple(_examples(document, media))
    return Body(media_type, _schema(document, media.get("schema")), examples)


def _security(document: Mapping[str, Any], described: Mapping[str, Any]) -> tuple[Scheme, ...]:
    required = described.get("security", document.get("security"))
    alternatives = [one for one in required or () if isinstance(one, Mapping)]
    if not all(alternatives):  # an empty alternative: no credentials are needed
        return ()
    names = dict.fromkeys(str(name) for one in alternatives for name in one)
    return tuple(_scheme(document, name) for name in names)


def _scheme(document: Mapping[str, Any], name: str) -> Scheme:
    known = _at(document, document.get("components"), "securitySchemes")
    known = known or document.get("securityDefinitions")  # OpenAPI 2
    described = _known(document, _at(document, known, name))
    if not isinstance(described, Mapping):
        return Scheme(name)
    kind, where, key = (described.get(one) for one in ("type", "in", "name"))
    if kind == "apiKey" and where in ("header", "cookie", "query") and key:
        return Scheme(name, str(where), str(key), "...")
    scheme = str(described.get("scheme") or "bearer" if kind == "http" else kind).capitalize()
    return Scheme(name, text=f"{scheme} ...") if kind in ("http", "basic") else Scheme(name)


def _examples(document: Mapping[str, Any], one: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the values of ``example``, ``examples`` and their ``x-`` spellings."""
    for name in ("example", "x-example"):
        if name in one:
            yield one[name]
    for name in ("examples", "x-examples"):
        many = one.get(name)
        if isinstance(many, Mapping):
            for named in many.values():
                resolved = _resolved(document, named)
                is_object = isinstance(resolved, Mapping) and "value" in resolved
                yield resolved["value"] if is_object else resolved
        elif isinstance(many, (list, tuple)):
            yield from many


# Links


def _links(document: Mapping[str, Any], paths: Mapping[Any, Any]) -> dict[str, list[Link]]:
    """Return the links by the names of the operations to which they lead."""
    described = {
        f"{method} {path}": operation
        for path, item in paths.items()
        for method in METHODS
        if isinstance(operation := _known(document, _at(document, item, method.lower())), Mapping)
    }
    ids = {str(one["operationId"]): name for name, one in described.items() if "operationId" in one}
    found: dict[str, list[Link]] = {}
    for source, operation in described.items():
        for link in _links_of(document, operation):
            target = ids.get(str(link.get("operationId"))) or _referred(link.get("operationRef"))
            values = link.get("parameters")
            for name, expression in values.items() if isinstance(values, Mapping) else ():
                where, _, rest = str(name).partition(".")
                qualified = rest and where in ("path", "query", "header", "cookie")
                parameter = (rest, where) if qualified else (str(name), "")
                found.setdefault(target, []).append(Link(source, *parameter, expression))
    return found


def _links_of(
    document: Mapping[str, Any], operation: Mapping[str, Any]
) -> Iterator[Mapping[str, Any]]:
    """Yield the links of the responses that the scan takes for answers."""
    responses = operation.get("responses")
    for status, response in responses.items() if isinstance(responses, Mapping) else ():
        if str(status)[:1] in ("2", "3", "d"):  # the last is "default"
            links = _at(document, response, "links")
            for link in links.values() if isinstance(links, Mapping) else ():
                if isinstance(known := _known(document, link), Mapping):
                    yield known


def _referred(reference: Any) -> str:
    """Return the name of the operation of ``#/paths/~1users~1{id}/get``, "" if it is elsewhere."""
    parts = unquote(str(reference)).split("/")
    if len(parts) != 4 or parts[:2] != ["#", "paths"]:
        return ""
    return f"{parts[3].upper()} {unescaped(parts[2])}"


def _at(document: Mapping[str, Any], one: Any, name: str) -> Any:
    known = _known(document, one)
    return known.get(name) if isinstance(known, Mapping) else None


def _known(document: Mapping[str, Any], one: Any) -> Any:
    """Return what ``one`` refers to, None where that is missing: links are not needed."""
    try:
        return _resolved(document, one)
    except BrokenDocumentError:
        return None


def _listed(one: Mapping[str, Any], name: str) -> list[Any]:
    found = one.get(name)
    return list(found) if isinstance(found, (list, tuple)) else []


class _TooLargeError(Exception):
    """A schema has too many parts."""


def _schema(document: Mapping[str, Any], raw: Any) -> Schema:
    """Return the schema with its references replaced, as deep as it stays of a bounded size."""
    reference = raw.get("$ref") if isinstance(raw, Mapping) else None
    if isinstance(document, _Document) and isinstance(reference, str):
        if reference not in document.schemas:
            document.schemas[reference] = _read(document, raw)
        return document.schemas[reference]
    return _read(document, raw)


def _read(document: Mapping[str, Any], raw: Any) -> Schema:
    for deepest in _DEPTHS:
        try:
            return _expanded(document, raw, deepest, [_PARTS])
        except _TooLargeError:
            continue
    return {}


def _expanded(document: Mapping[str, Any], raw: Any, depth: int, left: list[int]) -> Schema:
    """Return the schema down to ``depth``; raises _TooLargeError once nothing is ``left``."""
    left[0] -= 1
    if left[0] < 0:
        raise _TooLargeError
    schema = _resolved(document, raw)
    if not isinstance(schema, Mapping) or depth < 0:
        return {}
    found = dict(schema)
    for name in ("items", "additionalProperties"):
        if isinstance(found.get(name), Mapping):
            found[name] = _expanded(document, found[name], depth - 1, left)
    for name in ("anyOf", "oneOf", "allOf", "prefixItems"):
        if isinstance(found.get(name), (list, tuple)):
            found[name] = [_expanded(document, one, depth - 1, left) for one in found[name]]
    properties = found.get("properties")
    if isinstance(properties, Mapping):
        required = found.get("required") or ()
        found["properties"] = {
            name: _expanded(document, one, depth - (1 if name in required else 4), left)
            for name, one in properties.items()
        }
    return found


def schema_in(raw: Any) -> Schema:
    """Return a schema whose references are to parts of itself, with them replaced."""
    return _schema(raw if isinstance(raw, Mapping) else {}, raw)


def _resolved(document: Mapping[str, Any], one: Any) -> Any:
    """Return what ``one`` refers to within the document."""
    for _ in range(_DEEPEST):
        reference = one.get("$ref") if isinstance(one, Mapping) else None
        if not isinstance(reference, str):
            return one
        if not reference.startswith("#/"):
            raise BrokenDocumentError(f"it refers to {reference}, which is not part of it")
        found: Any = document
        for part in reference[2:].split("/"):
            name = unescaped(unquote(part))
            if isinstance(found, Mapping) and name in found:
                found = found[name]
            elif isinstance(found, list) and name.isdecimal() and int(name) < len(found):
                found = found[int(name)]
            else:
                raise BrokenDocumentError(f"it refers to {reference}, which it does not contain")
        one = found
    raise BrokenDocumentError(f"its reference {reference} leads back to itself")


def unescaped(part: str) -> str:
    """Return a part of a JSON pointer as it is meant."""
    return part.replace("~1", "/").replace("~0", "~")
