"""What a thread's bytecode shows where the system does not report what threads wait for."""

from __future__ import annotations

import dis
import functools
import itertools
from types import CodeType

_ENTERS = ("SETUP_WITH", "BEFORE_WITH")
"""Instructions that call ``__enter__``, on CPython 3.10 and up to 3.13."""
_ACQUIRES = frozenset(("acquire", "__enter__"))


@functools.lru_cache(maxsize=512)
def acquires_a_lock(code: CodeType, instruction: int) -> bool:
    """Return whether ``code`` acquires a lock at this byte of it, by the name of what it calls.

    A thread whose innermost Python code is there waits for a lock in C: other context managers of C
    are entered at once. A call whose arguments are calls is not recognized.
    """
    until = list(itertools.takewhile(lambda i: i.offset <= instruction, dis.get_instructions(code)))
    last = until.pop() if until else None
    if last is None or "CALL" not in last.opname:
        return last is not None and last.opname in _ENTERS
    loads = itertools.takewhile(lambda i: not i.opname.startswith("CALL"), reversed(until))
    return any(not _ACQUIRES.isdisjoint(one.argrepr.split()) for one in loads)
