"""Values that schemathesis generates from the schemas of an operation (the extra ``scan``)."""

from __future__ import annotations

import importlib.util
from typing import Any

from .operation import Operation

_EXAMPLES = 3
_CONTAINERS = {
    "path": "path_parameters",
    "query": "query",
    "header": "headers",
    "cookie": "cookies",
}


def is_installed() -> bool:
    """Return whether values can be generated."""
    return importlib.util.find_spec("schemathesis") is not None


def generated(operation: Operation) -> list[dict[str, Any]]:
    """Return up to 3 sets of values by name, the body as ``body``; always the same ones.

    Empty if the schemas allow none. Takes a second for the import, and up to seconds for a schema.
    """
    import schemathesis  # type: ignore[import-not-found,unused-ignore]  # an extra
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis import GenerationMode  # type: ignore[import-not-found,unused-ignore]

    described = schemathesis.openapi.from_dict(_document(operation))
    strategy = described[operation.path][operation.method].as_strategy(
        generation_mode=GenerationMode.POSITIVE
    )
    found: list[dict[str, Any]] = []

    @settings(
        max_examples=_EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def keep(case: Any) -> None:
        values = {
            one.name: (getattr(case, _CONTAINERS[one.where]) or {}).get(one.name)
            for one in operation.parameters
            if one.required
        }
        found.append(values | ({"body": case.body} if operation.body else {}))

    try:
        keep()
    except Exception:  # a schema that contradicts itself, or that the library does not support
        return found
    return found


def _document(operation: Operation) -> dict[str, Any]:
    """Return a description of ``operation`` alone."""
    described: dict[str, Any] = {
        "parameters": [
            {"name": one.name, "in": one.where, "required": True, "schema": dict(one.schema)}
            for one in operation.parameters
            if one.required
        ],
        "responses": {"default": {"description": ""}},
    }
    if operation.body is not None:
        content = {operation.body.media_type: {"schema": dict(operation.body.schema)}}
        described["requestBody"] = {"required": True, "content": content}
    return {
        "openapi": "3.1.0",
        "info": {"title": "", "version": ""},
        "paths": {operation.path: {operation.method.lower(): described}},
    }
