"""The guard: which calls of an app can block the loop, however fast they are on this machine."""

from .profile import CallProfile
from .rules import Rules, rules_of
from .table import counterpart, instead_of

__all__ = ["CallProfile", "Rules", "counterpart", "instead_of", "rules_of"]
