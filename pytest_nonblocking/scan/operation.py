"""An operation of an application: a method, a path, and what a request to it needs."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

WEBSOCKET = "WEBSOCKET"
ARGUMENT = "argument"
"""Where a parameter of a tool is: in the body of the call."""

Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Parameter:
    """A parameter of a request, and the values that its description declares.

    ``where`` is "path", "query", "header", "cookie" or ARGUMENT. One that is not required is sent
    only if the user gives it.
    """

    name: str
    where: str
    schema: Schema = field(default_factory=dict)
    examples: tuple[Any, ...] = ()
    required: bool = True

    @property
    def takes_slashes(self) -> bool:
        """Whether it stands for the rest of a path, as ``{name:path}`` does."""
        return self.where == "path" and self.schema.get("format") == "path"


@dataclass(frozen=True)
class Body:
    """The body that a request must have, as one media type."""

    media_type: str
    schema: Schema = field(default_factory=dict)
    examples: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Link:
    """A value for a parameter, which an answer of the operation named ``source`` gives.

    ``where`` is where the parameter is, "" if the description leaves that open. ``expression`` is a
    runtime expression such as ``$response.body#/id``, or the value itself.
    """

    source: str
    parameter: str
    where: str
    expression: Any

    def gives(self, parameter: Parameter) -> bool:
        """Return whether it gives the value of ``parameter``."""
        return self.parameter == parameter.name and self.where in ("", parameter.where)


@dataclass(frozen=True)
class Scheme:
    """A security scheme: its name, and the header, cookie or query with which a request meets it.

    ``where`` and ``key`` say which, and ``text`` is how its value begins.
    """

    name: str
    where: str = "header"
    key: str = "Authorization"
    text: str = "Bearer ..."


@dataclass(frozen=True)
class Operation:
    """One operation; ``path`` has its parameters in braces, as in ``/users/{id}``.

    ``security`` are the schemes of which one is required, and is empty if none is. ``endpoint``
    is the handler, None if it is not known. ``links`` lead from other operations to this one.
    ``tool`` is the name of a tool of an MCP server, "" for all other operations.
    """

    method: str
    path: str
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    security: tuple[Scheme, ...] = ()
    endpoint: Callable[..., Any] | None = None
    links: tuple[Link, ...] = ()
    tool: str = ""

    def below(self, prefix: str) -> Operation:
        """Return the operation of an app that is mounted at ``prefix``, with its parameters."""
        below = plain_path(prefix) if prefix else ""
        own = {one.name for one in self.parameters if one.where == "path"}
        outer = [one for one in path_parameters(below and prefix) if one.name not in own]
        links = []
        for one in self.links:
            method, _, path = one.source.partition(" ")
            links.append(replace(one, source=f"{method} {below}{path}"))
        parameters = (*outer, *self.parameters)
        return replace(self, path=below + self.path, parameters=parameters, links=tuple(links))

    def at_host(self, host: str) -> Operation:
        """Return the operation of an app that is there for a ``host`` only, "" for any."""
        if not host:
            return self
        named = {"type": "string", "default": re.sub(r"\{[^}]*\}", "a", host)}
        return replace(self, parameters=(*self.parameters, Parameter("Host", "header", named)))

    @property
    def name(self) -> str:
        """The method and the path, by which users select operations."""
        return f"{self.method} {self.path}"

    def matches(self, pattern: str) -> bool:
        """Return whether ``pattern`` selects the operation: a path, or a method and a path.

        ``*`` stands for any characters; braces are ordinary ones.
        """
        word = pattern.strip()
        subject = self.name if " " in word or word == "*" else self.path
        return fnmatch.fnmatchcase(subject, word.replace("[", "[[]"))


_BRACES = re.compile(r"\{([^}:]+)(?::[^}]*)?\}")
_ANGLES = re.compile(r"<(?:[^<>:]*:)?([^<>:]+)>")
_COLONS = re.compile(r"(?<=/):([A-Za-z_]\w*)")
_CONVERTED = re.compile(r"\{([^}:]+):(\w+)[^}]*\}|<(\w+)(?:\([^)]*\))?:([^<>:]+)>")


def plain_path(path: str) -> str:
    """Return ``path`` with its parameters as ``{name}``, whichever framework wrote it."""
    path = _ANGLES.sub(r"{\1}", path)
    path = _BRACES.sub(r"{\1}", path)
    path = _COLONS.sub(r"{\1}", path)
    return path if path.startswith("/") else "/" + path


def names_in(path: str) -> list[str]:
    """Return the names of the parameters of ``path``, in order."""
    return re.findall(r"\{([^}]+)\}", path)


_TYPES = {"int": "integer", "integer": "integer", "float": "number", "decimal": "number"}


def path_parameters(path: str) -> tuple[Parameter, ...]:
    """Return the parameters of a framework's ``path``, with the types of their converters."""
    types = {}
    for in_braces, first, second, in_angles in _CONVERTED.findall(path):
        types[in_braces or in_angles] = first or second
    found = []
    for name in names_in(plain_path(path)):
        kind = types.get(name, "str")
        schema: dict[str, Any] = {"type": _TYPES.get(kind, "string")}
        if kind in ("uuid", "date", "datetime", "path"):
            schema["format"] = "date-time" if kind == "datetime" else kind
        found.append(Parameter(name, "path", schema))
    return tuple(found)


def selected(operations: Iterable[Operation], patterns: Iterable[str]) -> list[Operation]:
    """Return the operations that one of ``patterns`` selects."""
    words = list(patterns)
    return [one for one in operations if any(one.matches(word) for word in words)]
