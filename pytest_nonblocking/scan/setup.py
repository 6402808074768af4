"""What the user gives to a scan: headers, cookies, values, and a set-up that runs once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import pytest

from .operation import Operation

Before = Callable[[Any], Awaitable[object]]


class Scan:
    """Inputs of the scanned operations; return one from a fixture ``nonblocking_scan``.

    ``headers`` and ``cookies``, mappings of names to text, are sent with each request. ``inputs``
    maps a pattern such as ``GET /users/{id}``, ``/users/*`` or ``*`` to values by the names of
    parameters; the name ``body`` is the request's body. A callable is called with the index of the
    copy, from 0 to N-1, and returns the value. Of several patterns for one operation, later ones
    win. ``before`` is a coroutine function that gets the client once before the copies, to log in
    or to create data; its requests are not measured. Raises pytest.UsageError for values of other
    types, for a value that is ``...``, and in the scan for a pattern that matches no operation.
    """

    def __init__(
        self,
        *,
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
        inputs: Mapping[str, Mapping[str, Any]] | None = None,
        before: Before | None = None,
    ) -> None:
        self.headers: dict[str, str] = _of_text("headers", headers)
        self.cookies: dict[str, str] = _of_text("cookies", cookies)
        self.inputs: dict[str, Mapping[str, Any]] = _checked_inputs(inputs)
        if before is not None and not callable(before):
            raise pytest.UsageError(
                f"nonblocking_scan: before is {before!r}, but must be a coroutine function that "
                "takes the client"
            )
        self.before: Before | None = before

    def values_for(self, operation: Operation) -> dict[str, Any]:
        """Return the values that the user gives for ``operation``; later patterns win.

        Of a pattern for many operations, each takes the values that it has a parameter for.
        """
        names = {one.name for one in operation.parameters}
        found: dict[str, Any] = {}
        for pattern, values in self.inputs.items():
            if operation.matches(pattern):
                for_all = "*" in pattern
                found.update(
                    {n: v for n, v in values.items() if not for_all or n in names or n == "body"}
                )
        return found

    def check(self, operations: Iterable[Operation]) -> None:
        """Raise pytest.UsageError for a pattern that selects none of ``operations``."""
        known = list(operations)
        for pattern in self.inputs:
            if not any(one.matches(pattern) for one in known):
                raise pytest.UsageError(
                    f"nonblocking_scan: the pattern {pattern!r} of inputs matches none of the "
                    f"{len(known)} operations of the app"
                )


def for_copy(values: Mapping[str, Any], copy: int) -> dict[str, Any]:
    """Return ``values`` with each callable replaced by what it returns for ``copy``."""
    return {name: value(copy) if callable(value) else value for name, value in values.items()}


def _of_text(name: str, given: Any) -> dict[str, str]:
    mapping = {} if given is None else given
    if not isinstance(mapping, Mapping) or not all(
        isinstance(part, str) for pair in mapping.items() for part in pair
    ):
        raise pytest.UsageError(
            f"nonblocking_scan: {name} is {given!r}, but must be a mapping of names to text"
        )
    return dict(mapping)


def _checked_inputs(given: Any) -> dict[str, Mapping[str, Any]]:
    mapping = {} if given is None else given
    if not isinstance(mapping, Mapping):
        raise pytest.UsageError(
            f"nonblocking_scan: inputs is {given!r}, but must map patterns such as "
            "'GET /users/{id}' to values"
        )
    for pattern, values in mapping.items():
        if not isinstance(pattern, str) or not isinstance(values, Mapping):
            raise pytest.UsageError(
                f"nonblocking_scan: inputs for {pattern!r} are {values!r}, but must be a mapping "
                "of parameters' names to values, such as {'id': 1}"
            )
        for name, value in values.items():
            if value is ...:
                raise pytest.UsageError(
                    f"nonblocking_scan: {name!r} of {pattern!r} is still `...`: give it a value"
                )
    return dict(mapping)
