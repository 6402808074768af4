"""The message of a report for an error that ended a measurement."""

from __future__ import annotations

from ..sentinel import NoDescriptorLeftError, NoThreadLeftError, UnsupportedLoopError
from ..tasks import TaskFactoryError

_NOT_OURS = (NoDescriptorLeftError, NoThreadLeftError, TaskFactoryError, UnsupportedLoopError)
"""Errors that the user can fix; their messages say how."""


def describe_fault(fault: BaseException, where: str = "the sentinel") -> str:
    """Return the report's message for a fault in ``where``."""
    if isinstance(fault, _NOT_OURS):
        return str(fault)
    return f"internal error in {where} ({type(fault).__name__}: {fault}); please report it"
