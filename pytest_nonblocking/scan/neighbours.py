"""What the answers of an app's other operations hold for one operation: addresses and names."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from . import answers, links
from .operation import Operation, Parameter, names_in
from .prepared import Prepared

_NEAREST = 15


class Neighbours:
    """Reads values for ``operation`` from what the other ``operations`` answer to ``client``."""

    def __init__(self, operation: Operation, operations: Sequence[Operation], client: Any) -> None:
        self._operation = operation
        self._operations = operations
        self._client = client

    def nearest(self, known: Collection[Operation]) -> list[Operation]:
        """Return 15 operations to ask, those that need nothing and are close by first.

        The ``known`` ones, whose answers are at hand, come before them.
        """
        own = self._operation.path.split("/")

        def rank(one: Operation) -> tuple[int, int, int, int]:
            pairs = list(zip(own, one.path.split("/"), strict=False))
            shared = next((n for n, (a, b) in enumerate(pairs) if a != b), len(pairs))
            required = sum(parameter.required for parameter in one.parameters)
            return len(names_in(one.path)), required, -shared, len(one.path)

        others = [one for one in self._operations if one.method == "GET"]
        others = [one for one in others if one is not self._operation and one.body is None]
        return [*known, *sorted(others, key=rank)[:_NEAREST]]

    def leading(self, prepared: Prepared) -> list[dict[str, str]]:
        """Return the values in the addresses of an answer that lead to this operation."""
        asked = self._address(prepared)
        return links.leading(prepared.answer, asked, self._operation, self._operations)

    def named(self, prepared: Prepared, name: str) -> list[Any]:
        """Return the values in an answer that are named like the parameter ``name``."""
        resource = answers.resource_of(self._operation, name)
        return answers.named_in(prepared.answer.json(), name, resource)

    def shared(self, prepared: Prepared, name: str) -> list[Any]:
        """Return the values of ``name`` in addresses of operations that have it as well."""
        if answers.is_common(name) or name not in names_in(self._operation.path):
            return []
        asked, answer = self._address(prepared), prepared.answer
        return links.sharing(answer, asked, self._operation, name, self._operations)

    def listed(self, prepared: Prepared, parameter: Parameter) -> list[Any]:
        """Return the values for ``parameter`` in what lists or creates what it is named after."""
        name, found = parameter.name, []
        if parameter.where == "path":
            asked, answer = self._address(prepared), prepared.answer
            found = links.addressed(answer, asked, self._operation, name, self._operations)
        resource = answers.resource_of(self._operation, name)
        return found or answers.values_in(prepared.answer.json(), name, resource)

    def linked(
        self, prepared: Prepared, parameter: Parameter, expression: str | Mapping[str, Any]
    ) -> list[Any]:
        """Return the values for ``parameter`` that the ``expression`` of a described link gives.

        Of a value that is the address of the operation, it is the part of the parameter.
        """
        asked, name = self._address(prepared), parameter.name

        def part_of(value: Any) -> Any:
            if parameter.where != "path" or not str(value).startswith(links.ADDRESS):
                return value
            found = links.parameter_in(value, asked, self._operation, name, self._operations)
            return found or value

        return [*map(part_of, links.linked_values(expression, prepared.values, prepared.answer))]

    def _address(self, prepared: Prepared) -> str:
        return str(self._client.base_url.join(prepared.requests[0].path))
