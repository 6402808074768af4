"""Labelled handlers: what the plugin must say of each, and at which lines."""

from __future__ import annotations

import importlib
import pkgutil

from .labels import Case

__all__ = ["Case", "cases"]


def cases() -> list[Case]:
    """Return all cases of all modules, by name."""
    found: dict[str, Case] = {}
    for module in pkgutil.iter_modules(__path__):
        labels = getattr(importlib.import_module(f"{__name__}.{module.name}"), "labels", None)
        for case in labels.cases if labels else []:
            if case.name in found:
                raise ValueError(f"two cases are named {case.name}")
            found[case.name] = case
    return sorted(found.values())
