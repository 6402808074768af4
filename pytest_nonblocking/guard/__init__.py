"""The guard: which calls of an app can block the loop, however fast they are on this machine."""

from .computing import advice_for
from .profile import CallProfile
from .rules import OR, Rules, load_shipped, rules_of
from .table import counterpart, instead_of

__all__ = [
    "OR",
    "CallProfile",
    "Rules",
    "advice_for",
    "counterpart",
    "instead_of",
    "load_shipped",
    "rules_of",
]
